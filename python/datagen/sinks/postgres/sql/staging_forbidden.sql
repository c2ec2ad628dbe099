-- Why tables may not be built in one schema and moved to another, as others would notice:
-- subscribers would miss rows, event triggers see statements that are not the user's, and new
-- tables lack the rights that are the default of their schema.
SELECT CASE
    WHEN NOT has_database_privilege(current_database(), 'CREATE')
        THEN 'the role may not create a schema'
    WHEN NOT has_schema_privilege(%(schema)s::regnamespace, 'CREATE')
        THEN 'the role may not create tables'
    WHEN EXISTS (SELECT FROM pg_publication) THEN 'the database has a publication'
    WHEN EXISTS (SELECT FROM pg_replication_slots WHERE database = current_database())
        THEN 'the database has a replication slot'
    WHEN EXISTS (SELECT FROM pg_event_trigger WHERE evtenabled <> 'D')
        THEN 'the database has an event trigger'
    WHEN EXISTS (SELECT FROM pg_default_acl
                 WHERE defaclnamespace = %(schema)s::regnamespace AND defaclobjtype = 'r')
        THEN 'the schema has default privileges'
END
