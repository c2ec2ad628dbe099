-- The columns of the tables that exist, with their types as format_type writes them.
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
    || CASE WHEN a.attgenerated = '' THEN '' ELSE ' GENERATED' END, a.attnotnull
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname = ANY(%(tables)s)
AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
