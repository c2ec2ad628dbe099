-- Code that runs with the rights of the role that loads, in tables of a role that might not have
-- them: triggers, defaults, rules, expressions of indexes, and CHECKs that are not those of ours.
WITH tables AS (
    SELECT c.oid, c.relname, c.relowner, NOT o.rolsuper AS others
    FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner
    WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname = ANY(%(tables)s)
)
SELECT relname, pg_get_userbyid(owner), what FROM (
    SELECT t.relname, CASE WHEN others THEN t.relowner ELSE p.proowner END,
        'trigger ' || g.tgname
    FROM tables t JOIN pg_trigger g ON g.tgrelid = t.oid JOIN pg_proc p ON p.oid = g.tgfoid
    JOIN pg_roles o ON o.oid = p.proowner
    WHERE NOT g.tgisinternal AND g.tgenabled <> 'D' AND (others OR NOT o.rolsuper)
    UNION ALL SELECT t.relname, t.relowner, 'the default of a column'
    FROM tables t JOIN pg_attrdef d ON d.adrelid = t.oid WHERE others
    UNION ALL SELECT t.relname, t.relowner, 'rule ' || r.rulename
    FROM tables t JOIN pg_rewrite r ON r.ev_class = t.oid WHERE others
    UNION ALL SELECT t.relname, t.relowner, 'index ' || x.indexrelid::regclass::text
    FROM tables t JOIN pg_index x ON x.indrelid = t.oid
    WHERE others AND (x.indexprs IS NOT NULL OR x.indpred IS NOT NULL)
    UNION ALL SELECT t.relname, t.relowner, 'constraint ' || k.conname
    FROM tables t JOIN pg_constraint k ON k.conrelid = t.oid
    WHERE others AND k.contype = 'c' AND pg_get_constraintdef(k.oid) NOT IN (
        SELECT pg_get_constraintdef(o.oid) FROM pg_constraint o
        WHERE o.conrelid = to_regclass('pg_temp.datagen_' || t.relname) AND o.conname = k.conname
    )
) AS code (relname, owner, what) ORDER BY 1, 3 LIMIT 1
