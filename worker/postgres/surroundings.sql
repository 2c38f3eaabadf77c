-- A gate's session keeps the search_path that it was given, since a pooler hands it on to others: everything is
-- qualified here, operators too.

-- name: surroundings
-- What a gate's session stands on, and what its role may read; reads no table of Tidegate's, so that it never fails.
SELECT
    pg_catalog.pg_backend_pid() AS pid,
    pg_catalog.pg_is_in_recovery() AS standby,
    current_user::pg_catalog.text AS role,
    s.oid IS NOT NULL AS has_schema,
    coalesce(pg_catalog.has_schema_privilege(s.oid, 'USAGE'), false) AS may_use_schema,
    r.oid IS NOT NULL AS has_readiness,
    coalesce(pg_catalog.has_table_privilege(r.oid, 'SELECT'), false) AS may_read_readiness,
    coalesce(pg_catalog.has_schema_privilege(s.oid, 'USAGE'), false) AND (
        SELECT pg_catalog.count(*) FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace OPERATOR(pg_catalog.=) s.oid
            AND c.relname OPERATOR(pg_catalog.=) ANY (ARRAY['job', 'target', 'bundle']::pg_catalog.name[])
            AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
    ) OPERATOR(pg_catalog.=) 3 AS may_read_jobs
FROM (VALUES (1)) AS one (row)
LEFT JOIN pg_catalog.pg_namespace AS s ON s.nspname OPERATOR(pg_catalog.=) :'schema'
LEFT JOIN pg_catalog.pg_class AS r
    ON r.relnamespace OPERATOR(pg_catalog.=) s.oid AND r.relname OPERATOR(pg_catalog.=) 'readiness';

-- name: job
-- The job of the wanted bundle of a target; none until a worker has opened it, though an older bundle has one. $1:
-- target, null for the only one.
SELECT j.state, b.label, j.failure OPERATOR(pg_catalog.->>) 'message' AS message
FROM :"schema".job AS j
JOIN :"schema".target AS t ON t.id OPERATOR(pg_catalog.=) j.target_id
JOIN :"schema".bundle AS b ON b.id OPERATOR(pg_catalog.=) j.bundle_id
WHERE ($1::pg_catalog.text IS NULL OR t.name OPERATOR(pg_catalog.=) $1)
    AND b.id OPERATOR(pg_catalog.=) (
        SELECT w.id FROM :"schema".bundle AS w
        WHERE w.line OPERATOR(pg_catalog.=) t.line AND w.withdrawn_at IS NULL AND w.wanted_seq IS NOT NULL
        ORDER BY w.wanted_seq DESC LIMIT 1
    )
ORDER BY j.id DESC
LIMIT 1;
