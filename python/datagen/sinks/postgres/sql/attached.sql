-- What tables that exist have and freshly made ones would not: properties of the table, of a
-- column; dependent objects (views, triggers, policies, indexes and more) and what a table depends
-- on; comments, labels, subscriptions.
WITH tables AS (
    SELECT * FROM pg_class
    WHERE relnamespace = %(schema)s::regnamespace AND relname = ANY(%(tables)s)
), parts (class, object) AS (
    SELECT 'pg_class'::regclass::oid, oid FROM tables
    UNION ALL SELECT 'pg_class'::regclass, t.oid
        FROM pg_class t JOIN tables ON t.oid = tables.reltoastrelid WHERE t.reloptions IS NULL
    UNION ALL SELECT 'pg_class'::regclass, indexrelid
        FROM pg_index JOIN tables ON indrelid = reltoastrelid
    UNION ALL SELECT 'pg_type'::regclass, t.oid
        FROM pg_type t JOIN tables ON t.oid = reltype OR t.typelem = reltype
    UNION ALL SELECT 'pg_constraint'::regclass, k.oid
        FROM pg_constraint k JOIN tables ON tables.oid = k.conrelid
    UNION ALL SELECT 'pg_trigger'::regclass, g.oid
        FROM pg_trigger g JOIN tables ON tables.oid = g.tgrelid
        WHERE g.tgisinternal AND g.tgenabled = 'O'
    UNION ALL SELECT 'pg_class'::regclass, i.oid
        FROM pg_index x JOIN tables ON tables.oid = x.indrelid JOIN pg_class i ON i.oid = indexrelid
        WHERE i.relname = ANY(%(indexes)s) AND i.reltablespace = 0 AND i.reloptions IS NULL
        AND NOT x.indisclustered AND NOT x.indisreplident
)
(
    SELECT relname || ' itself' FROM (
        SELECT relname, to_jsonb(tables) - %(own)s::text[] FROM tables
        EXCEPT SELECT relname, to_jsonb(c) - %(own)s::text[]
        FROM pg_class c WHERE relnamespace = %(staging)s::regnamespace
    ) AS changed
) UNION ALL (
    SELECT relname || '.' || attname FROM (
        SELECT relname, attname, to_jsonb(a) - %(own)s::text[]
        FROM tables JOIN pg_attribute a ON a.attrelid = tables.oid WHERE NOT a.attisdropped
        EXCEPT SELECT relname, attname, to_jsonb(a) - %(own)s::text[]
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = %(staging)s::regnamespace
    ) AS changed
) UNION ALL (
    SELECT pg_describe_object(d.classid, d.objid, d.objsubid)
    FROM pg_depend d JOIN parts ON (d.refclassid, d.refobjid) = (class, object)
    WHERE (d.classid, d.objid) NOT IN (SELECT class, object FROM parts)
) UNION ALL (
    SELECT pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid)
    FROM pg_depend d JOIN tables ON d.classid = 'pg_class'::regclass AND d.objid = tables.oid
    WHERE d.refclassid <> 'pg_namespace'::regclass
    AND (d.refclassid, d.refobjid) NOT IN (SELECT class, object FROM parts)
) UNION ALL (
    SELECT 'comment ' || description
    FROM pg_description JOIN parts ON (classoid, objoid) = (class, object)
) UNION ALL (
    SELECT 'label ' || label FROM pg_seclabel JOIN parts ON (classoid, objoid) = (class, object)
) UNION ALL (
    SELECT 'subscription' FROM pg_subscription_rel JOIN tables ON srrelid = tables.oid
)
