-- Foreign keys of tables of the user's own that refer to one of ours.
SELECT k.conrelid::regclass::text, k.conname, p.relname
FROM pg_constraint k JOIN pg_class p ON p.oid = k.confrelid
JOIN pg_class c ON c.oid = k.conrelid
WHERE k.contype = 'f' AND p.relnamespace = %(schema)s::regnamespace AND p.relname = ANY(%(tables)s)
AND NOT (c.relnamespace = p.relnamespace AND c.relname = ANY(%(tables)s)) ORDER BY 1, 2
