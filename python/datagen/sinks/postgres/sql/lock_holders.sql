-- Sessions that hold a lock on a table, or the advisory lock of loads.
SELECT DISTINCT a.pid, a.usename, a.application_name, coalesce(host(a.client_addr), ''), a.state,
       round(extract(epoch FROM clock_timestamp() - a.xact_start))::int
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND l.pid <> pg_backend_pid() AND l.database = (
    SELECT oid FROM pg_database WHERE datname = current_database()
) AND CASE WHEN %(table)s::text IS NULL
    THEN l.locktype = 'advisory' AND (l.classid::bigint << 32 | l.objid::bigint) = %(lock)s
    ELSE l.locktype = 'relation' AND l.relation = to_regclass(%(table)s)
END ORDER BY 1
