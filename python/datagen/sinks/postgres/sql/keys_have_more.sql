-- Whether keys or their indexes have something that would be lost if they were made anew.
WITH tables AS (
    SELECT oid FROM pg_class WHERE relnamespace = %(schema)s::regnamespace AND relname = ANY(%(tables)s)
)
SELECT EXISTS (
    SELECT FROM tables JOIN pg_index x ON x.indrelid = tables.oid
    JOIN pg_class i ON i.oid = x.indexrelid
    WHERE i.relname = ANY(%(indexes)s) AND (
        i.reloptions IS NOT NULL OR i.reltablespace <> 0 OR x.indisclustered OR x.indisreplident
        OR obj_description(i.oid, 'pg_class') IS NOT NULL
    )
) OR EXISTS (
    SELECT FROM tables JOIN pg_constraint k ON k.conrelid = tables.oid
    WHERE k.contype IN ('p', 'u', 'f') AND obj_description(k.oid, 'pg_constraint') IS NOT NULL
) OR EXISTS (
    SELECT FROM tables JOIN pg_trigger g ON g.tgrelid = tables.oid
    WHERE g.tgisinternal AND g.tgenabled <> 'O'
)
