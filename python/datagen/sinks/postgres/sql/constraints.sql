-- The primary, unique and foreign keys, CHECKs and exclusions of the tables that exist.
SELECT c.relname, k.conname, pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname = ANY(%(tables)s)
AND k.contype IN ('p', 'u', 'f', 'c', 'x') ORDER BY k.conname
