-- name: grounds
-- What of a survey differs from target to target of one database. $1: schemas, $2: version tables. What the session's
-- role may and who owns what is asked as the survey asks it.
SELECT
    u.schema, u.name,
    n.oid IS NOT NULL AS has_schema,
    t.oid IS NOT NULL AS has_table,
    o.rolname::text AS table_owner,
    coalesce(o.rolsuper, false) AS is_superuser_table_owner,
    coalesce(pg_has_role(session_user, o.oid, 'MEMBER'), false) AS is_member_table_owner,
    coalesce(pg_has_role(session_user, o.oid, one.acting), false) AS may_act_as_table_owner,
    coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE'), false)
        AS may_create_in_schema,
    coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(t.oid, 'SELECT'), false) AS may_read_table,
    coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(t.oid, 'SELECT')
        AND has_table_privilege(t.oid, 'INSERT') AND has_table_privilege(t.oid, 'DELETE'), false) AS may_write_table,
    coalesce(t.relkind <> 'r' OR t.relhastriggers OR t.relhasrules OR t.relrowsecurity, false) AS may_have_intruders
FROM unnest($1::text[], $2::text[]) AS u (schema, name)
CROSS JOIN (
    SELECT CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END AS acting
) AS one
LEFT JOIN pg_namespace AS n ON n.nspname = u.schema
LEFT JOIN pg_class AS t ON t.relnamespace = n.oid AND t.relname = u.name
LEFT JOIN pg_roles AS o ON o.oid = t.relowner;

-- name: observed
-- The target half's query `observe` for many targets. $1: targets; :observe asks for one, whose name is u.target.
SELECT u.target, o.* FROM unnest($1::text[]) AS u (target) CROSS JOIN LATERAL (:observe) AS o;

-- name: jobs
-- Rows of the home half for many targets. $1: what it calls them, $2: the wanted bundle's id.
SELECT
    t.name, t.id AS t_id, t.line AS t_line, t.paused_by AS t_paused_by, t.paused_at AS t_paused_at,
    job.id AS job_id, job.state AS job_state, job.attempts AS job_attempts, job.worker AS job_worker,
    job.applied AS job_applied, job.started_at AS job_started_at, job.finished_at AS job_finished_at,
    job.failure::text AS job_failure
FROM :"schema".target AS t
LEFT JOIN :"schema".job ON job.target_id = t.id AND job.bundle_id = $2
WHERE t.name = ANY ($1::text[]);

-- name: recorded
-- What was recorded under an epoch, and the seconds since a moment. $1: target, $2: epoch, $3: the moment.
SELECT l.version, l.duration_ms, extract(epoch FROM clock_timestamp() - $3::timestamptz)::float8 AS since
FROM :"schema".ledger AS l WHERE l.target = $1 AND l.epoch = $2 ORDER BY l.version;
