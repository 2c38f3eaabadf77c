-- name: sight
-- Everything that a decision needs, of both halves, in one row and one snapshot. $1: target, $2: line of a target that
-- is not known yet; :observe is the target half's query of that name, and :control_versions likewise.
SELECT
    o.*, c.*,
    t.id AS t_id, t.line AS t_line, t.paused_by AS t_paused_by, t.paused_at AS t_paused_at,
    b.*,
    job.id AS job_id, job.state AS job_state, job.attempts AS job_attempts, job.worker AS job_worker,
    job.applied AS job_applied, job.started_at AS job_started_at, job.finished_at AS job_finished_at,
    job.failure::text AS job_failure
FROM (:observe) AS o
CROSS JOIN (:control_versions) AS c
LEFT JOIN :"schema".target AS t ON t.name = $1
LEFT JOIN LATERAL (
    SELECT id, label, digest, names, checksums, required::text[] AS required, serves, order_policy, wanted_seq,
        false AS withdrawn, intent, published_at, published_by, wanted_at
    FROM :"schema".bundle
    WHERE line = coalesce(t.line, $2) AND withdrawn_at IS NULL AND wanted_seq IS NOT NULL
    ORDER BY wanted_seq DESC LIMIT 1
) AS b ON true
LEFT JOIN :"schema".job ON job.target_id = t.id AND job.bundle_id = b.id;

-- name: first_sight
-- The same, if there is nothing but the wanted bundle: no version table, target or fingerprint, and no other bundle on
-- the line; and only if the role owns the control schema, which somebody else may have made empty, and nobody put
-- anything on it. :sight is the query of that name, $3 and $4 are the version table's schema and name.
SELECT s.* FROM (:sight) AS s
WHERE NOT EXISTS (SELECT FROM :"schema".target WHERE name = $1)
    AND NOT EXISTS (SELECT FROM :"schema".bundle AS other WHERE other.line = $2 AND other.id <> s.id)
    AND NOT EXISTS (SELECT FROM :"schema".fingerprint)
    AND NOT EXISTS (
        SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = $3 AND c.relname = $4
    )
    AND EXISTS (
        SELECT FROM pg_namespace AS c JOIN pg_roles AS o ON o.oid = c.nspowner
        WHERE c.nspname = :'schema' AND o.rolname = current_user AND NOT :strangers
    );

-- name: sight_of_target
-- The target half's part of it, where the home half lies in another database. $1: target.
SELECT o.*, c.* FROM (:observe) AS o CROSS JOIN (:control_versions) AS c;

-- name: sight_of_home
-- The home half's part of it. $1: target, $2: line of a target that is not known yet.
SELECT
    t.id AS t_id, t.line AS t_line, t.paused_by AS t_paused_by, t.paused_at AS t_paused_at,
    b.*,
    job.id AS job_id, job.state AS job_state, job.attempts AS job_attempts, job.worker AS job_worker,
    job.applied AS job_applied, job.started_at AS job_started_at, job.finished_at AS job_finished_at,
    job.failure::text AS job_failure
FROM (VALUES (1)) AS one (row)
LEFT JOIN :"schema".target AS t ON t.name = $1
LEFT JOIN LATERAL (
    SELECT id, label, digest, names, checksums, required::text[] AS required, serves, order_policy, wanted_seq, false AS withdrawn,
        intent, published_at, published_by, wanted_at
    FROM :"schema".bundle
    WHERE line = coalesce(t.line, $2) AND withdrawn_at IS NULL AND wanted_seq IS NOT NULL
    ORDER BY wanted_seq DESC LIMIT 1
) AS b ON true
LEFT JOIN :"schema".job ON job.target_id = t.id AND job.bundle_id = b.id;
