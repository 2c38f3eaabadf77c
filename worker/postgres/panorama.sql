-- name: panorama
-- What a person is shown of a target besides what deciding needs, in one row; each list is an object of JSON, bounded,
-- newest first. $1: target, $2: the keys of its lock, $3: how our own applications' names begin, $4: how many lines of
-- the history; :bundles is one of the two queries below. Names of roles and applications are shown to every role,
-- addresses and starts only to those that may see them.
SELECT
    (:bundles)::text AS bundles,
    (
        SELECT coalesce(json_agg(h ORDER BY h.id DESC), '[]')
        FROM (
            SELECT id, at, action, version, name, bundle, mode, duration_ms, role, worker
            FROM :"schema".history WHERE target = $1 ORDER BY id DESC LIMIT $4
        ) AS h
    )::text AS steps,
    (
        SELECT coalesce(json_agg(s ORDER BY s.since, s.pid), '[]')
        FROM (
            SELECT a.pid, a.application_name AS application, coalesce(a.usename::text, '') AS role,
                CASE WHEN a.backend_start IS NOT NULL THEN coalesce(host(a.client_addr), 'local') END AS address,
                a.backend_start AS since
            FROM pg_stat_activity AS a
            WHERE a.datname = current_database() AND starts_with(a.application_name, $3 || ' ')
            ORDER BY a.backend_start, a.pid LIMIT 200
        ) AS s
    )::text AS sessions,
    (
        SELECT row_to_json(h)
        FROM (
            SELECT coalesce(a.usename::text, '') AS role, coalesce(a.application_name, '') AS application, l.pid
            FROM pg_locks AS l
            JOIN pg_stat_activity AS a ON a.pid = l.pid
            WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
                AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
                AND ((l.classid::bigint << 32) | l.objid::bigint) = ANY ($2::text[]::bigint[])
            ORDER BY l.pid LIMIT 1
        ) AS h
    )::text AS lock,
    clock_timestamp() AS at;

-- name: bundles
-- Those of a line, which :line is; $1: target, :most: how many.
SELECT coalesce(json_agg(b ORDER BY b.id DESC), '[]')
FROM (
    SELECT b.id, b.label, b.published_at, b.published_by, b.withdrawn_at IS NOT NULL AS withdrawn,
        b.wanted_seq IS NOT NULL AND b.withdrawn_at IS NULL AND NOT EXISTS (
            SELECT FROM :"schema".bundle AS later
            WHERE later.line = b.line AND later.withdrawn_at IS NULL AND later.wanted_seq > b.wanted_seq
        ) AS wanted,
        (SELECT count(*) FROM unnest(b.names) AS u (name) WHERE u.name LIKE '%.up.%') AS migrations,
        job.state, coalesce(job.attempts, 0) AS attempts, coalesce(job.applied, 0) AS applied, job.worker,
        job.started_at, job.finished_at
    FROM :"schema".bundle AS b
    LEFT JOIN :"schema".target AS t ON t.name = $1
    LEFT JOIN :"schema".job ON job.target_id = t.id AND job.bundle_id = b.id
    WHERE b.line = :line ORDER BY b.id DESC LIMIT :most
) AS b;

-- name: no_bundles
-- None, where the home half lies in another database.
SELECT '[]';
