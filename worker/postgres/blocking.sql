-- name: behind
-- Sessions of the application that wait behind a backend, whether for what it holds, for what it waits for itself, or
-- behind one another; who waits longest comes first. $1: the backend, $2: how our own applications' names begin.
-- The names of roles and applications are shown to every role, the kind of a backend only to those that may see it.
WITH RECURSIVE waiting AS MATERIALIZED (
    SELECT l.pid, min(l.waitstart) AS since, pg_blocking_pids(l.pid) AS blockers
    FROM pg_locks AS l
    WHERE NOT l.granted AND l.locktype <> 'advisory' AND l.pid <> $1
    GROUP BY l.pid
),
behind AS (
    SELECT w.pid FROM waiting AS w WHERE $1 = ANY (w.blockers)
    UNION
    SELECT w.pid FROM behind AS b JOIN waiting AS w ON b.pid = ANY (w.blockers)
)
SELECT a.pid, a.usename::text AS role, coalesce(a.application_name, '') AS application,
    coalesce(extract(epoch FROM clock_timestamp() - w.since), 0)::float8 AS seconds
FROM behind AS b
JOIN waiting AS w USING (pid)
JOIN pg_stat_activity AS a USING (pid)
WHERE a.datname = current_database() AND a.usesysid IS NOT NULL
    AND coalesce(a.backend_type, 'client backend') = 'client backend'
    AND NOT starts_with(coalesce(a.application_name, ''), $2)
ORDER BY seconds DESC, a.pid;

-- name: ahead
-- Whom a backend waits for: who holds comes before who only waits in front of it. $1: the backend. A prepared
-- transaction has the pid 0; an autovacuum's kind and purpose are hidden from many roles, and that it has no role is not.
SELECT u.pid, coalesce(a.usename::text, '') AS role, coalesce(a.application_name, '') AS application,
    coalesce(a.state, 'unknown') AS state,
    coalesce(to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'unknown') AS since,
    extract(epoch FROM clock_timestamp() - a.query_start)::float8 AS query_seconds,
    CASE
        WHEN u.pid = 0 THEN 'prepared transaction'
        WHEN a.usesysid IS NOT NULL OR a.pid IS NULL THEN 'client'
        WHEN a.query LIKE '%(to prevent wraparound)' THEN 'autovacuum to prevent wraparound'
        ELSE 'autovacuum'
    END AS kind
FROM (SELECT DISTINCT p.pid FROM unnest(pg_blocking_pids($1)) AS p (pid)) AS u
LEFT JOIN pg_stat_activity AS a ON a.pid = u.pid
ORDER BY EXISTS (SELECT FROM pg_locks AS l WHERE l.pid = u.pid AND NOT l.granted), a.xact_start, u.pid
LIMIT 1;

-- name: progress
-- What the server tells of a backend's long command. An index build counts by phase: lockers while it waits for others,
-- then rows where it knows them, else blocks. $1: the backend.
SELECT command, phase,
    CASE WHEN lockers_total > 0 AND phase LIKE 'waiting%' THEN lockers_done
        WHEN tuples_total > 0 THEN tuples_done ELSE blocks_done END AS done,
    CASE WHEN lockers_total > 0 AND phase LIKE 'waiting%' THEN lockers_total
        WHEN tuples_total > 0 THEN tuples_total ELSE blocks_total END AS total,
    CASE WHEN lockers_total > 0 AND phase LIKE 'waiting%' THEN 'lockers'
        WHEN tuples_total > 0 THEN 'rows' ELSE 'blocks' END AS unit
FROM pg_stat_progress_create_index WHERE pid = $1 AND command IS NOT NULL AND phase IS NOT NULL
UNION ALL
SELECT command, phase, heap_blks_scanned, heap_blks_total, 'blocks'
FROM pg_stat_progress_cluster WHERE pid = $1 AND command IS NOT NULL AND phase IS NOT NULL
UNION ALL
SELECT 'VACUUM', phase, heap_blks_scanned, heap_blks_total, 'blocks'
FROM pg_stat_progress_vacuum WHERE pid = $1 AND phase IS NOT NULL
UNION ALL
SELECT 'ANALYZE', phase, sample_blks_scanned, sample_blks_total, 'blocks'
FROM pg_stat_progress_analyze WHERE pid = $1 AND phase IS NOT NULL
UNION ALL
SELECT command, 'copying', bytes_processed, bytes_total, 'bytes'
FROM pg_stat_progress_copy WHERE pid = $1 AND command IS NOT NULL
LIMIT 1;

-- name: cancel
-- Cancel what a backend runs, if it holds our lock: on another server the same number may be anybody. $1: the backend,
-- $2: our key.
SELECT pg_cancel_backend(l.pid)
FROM pg_locks AS l
WHERE l.pid = $1 AND l.granted AND l.locktype = 'advisory' AND l.objsubid = 1
    AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
    AND ((l.classid::bigint << 32) | l.objid::bigint) = $2::bigint;

-- name: control_holder
-- Who has a lock on a table of the control schema, or failing that any advisory lock of the database, which would
-- block a statement of ours.
SELECT l.pid, coalesce(a.usename::text, '') AS role, coalesce(a.application_name, '') AS application,
    coalesce(a.state, 'unknown') AS state,
    coalesce(to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'unknown') AS since,
    CASE WHEN l.pid IS NULL THEN 'prepared transaction' WHEN a.usesysid IS NULL THEN 'autovacuum' ELSE 'client' END
        AS kind
FROM pg_locks AS l
LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
LEFT JOIN pg_class AS c ON c.oid = l.relation AND l.locktype = 'relation'
LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
    AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
    AND (n.nspname = :'schema' AND l.mode <> 'AccessShareLock' OR l.locktype = 'advisory')
ORDER BY l.locktype = 'advisory', l.mode <> 'AccessExclusiveLock', a.xact_start
LIMIT 1;
