-- CHECKs of another text. Goes behind attached.sql; reading them takes a lock on the tables.
UNION ALL (
    SELECT conname FROM (
        SELECT relname, conname, pg_get_constraintdef(k.oid)
        FROM tables JOIN pg_constraint k ON k.conrelid = tables.oid WHERE k.contype = 'c'
        EXCEPT SELECT relname, conname, pg_get_constraintdef(k.oid)
        FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid
        WHERE c.relnamespace = %(staging)s::regnamespace
    ) AS changed
)
