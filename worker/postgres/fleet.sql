-- name: sync
-- Write what differs of the declared targets; those of a source in $7 that are not declared are marked as gone.
-- $1: names, $2: lines, $3: databases, $4: schemas, $5: version tables, $6: sources, $7: sources that were read whole,
-- $8: paths, each as one text with a line's end between the schemas. What differs is found by EXCEPT, whose price is
-- linear whatever the server takes the tables' sizes for; what is as declared is not even locked.
WITH declared AS MATERIALIZED (
    SELECT d.name, d.line, d.database, d.schema, d.version_table, d.source,
        CASE WHEN d.path <> '' THEN string_to_array(d.path, chr(10)) END AS path
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $8::text[])
        AS d (name, line, database, schema, version_table, source, path)
), known AS (
    SELECT name, line, database, schema, version_table, source, path FROM :"schema".target
    WHERE source IS NOT NULL AND gone_at IS NULL
), written AS (
    INSERT INTO :"schema".target AS t (name, line, database, schema, version_table, source, path)
    SELECT name, line, database, schema, version_table, source, path FROM declared
    EXCEPT SELECT name, line, database, schema, version_table, source, path FROM known
    ON CONFLICT (name) DO UPDATE SET line = excluded.line, database = excluded.database, schema = excluded.schema,
        version_table = excluded.version_table, source = excluded.source, path = excluded.path, gone_at = NULL
    RETURNING 1
), gone AS (
    UPDATE :"schema".target AS t SET gone_at = clock_timestamp()
    FROM (SELECT name FROM known WHERE source = ANY ($7::text[]) EXCEPT SELECT name FROM declared) AS g
    WHERE t.name = g.name AND t.gone_at IS NULL
    RETURNING 1
)
SELECT (SELECT count(*) FROM written) AS written, (SELECT count(*) FROM gone) AS gone;

-- name: reopen
-- Have workers look again where a job was made to be tried again, by a command for one target.
UPDATE :"schema".target AS t SET settled = NULL, outcome = NULL, problem = NULL, forgiven = false
FROM :"schema".job AS j
WHERE j.target_id = t.id AND j.bundle_id = t.settled AND j.state = 'pending' AND t.source IS NOT NULL;

-- name: registered
-- The databases of the targets that add_target() registered.
SELECT DISTINCT database FROM :"schema".target WHERE source = 'add_target' AND gone_at IS NULL;

-- name: sizes
-- How many targets follow each line.
SELECT line, count(*) AS targets FROM :"schema".target
WHERE source = ANY ($1::text[]) AND gone_at IS NULL GROUP BY line;

-- name: claim
-- Take a lease of due targets that nobody else works at. $1: worker, $2: lines, $3: their budgets, null for none,
-- $4: sources, $5: databases, $6: how many, $7: the lease's seconds, $8: names or null for all. Three ranges of one
-- index are read, each no further than it must, so that the price does not grow with what is done. The lease of a
-- worker whose connection is gone is worth nothing.
WITH asked AS (
    SELECT a.line, b.id AS bundle, b.label
    FROM unnest($2::text[], $3::text[]) AS a (line, budget)
    CROSS JOIN LATERAL (
        SELECT id, label FROM :"schema".bundle
        WHERE line = a.line AND withdrawn_at IS NULL AND wanted_seq IS NOT NULL ORDER BY wanted_seq DESC LIMIT 1
    ) AS b
    WHERE a.budget IS NULL OR a.budget::bigint > (
        SELECT count(*) FROM :"schema".target AS f
        WHERE f.line = a.line AND f.settled = b.id AND f.outcome IN ('failed', 'refused', 'in_doubt')
            AND f.gone_at IS NULL AND NOT f.forgiven)
), dead AS (
    SELECT c.id FROM :"schema".target AS c
    WHERE c.claimed_until IS NOT NULL AND (c.claimed_until < clock_timestamp()
        OR c.claimed_pid NOT IN (SELECT s.pid FROM pg_stat_activity AS s))
), due AS (
    SELECT d.id, a.bundle, a.label FROM asked AS a
    CROSS JOIN LATERAL (
        SELECT * FROM (
            SELECT t.id FROM :"schema".target AS t
            WHERE t.line = a.line AND t.settled IS NULL AND t.source IS NOT NULL AND t.gone_at IS NULL
                AND t.paused_at IS NULL AND t.source = ANY ($4::text[]) AND t.database = ANY ($5::text[])
                AND ($8::text[] IS NULL OR t.name = ANY ($8::text[]))
                AND (t.claimed_until IS NULL OR t.id IN (SELECT id FROM dead))
            ORDER BY t.settled, t.id LIMIT $6 FOR UPDATE SKIP LOCKED
        ) AS range_new
        UNION ALL
        SELECT * FROM (
            SELECT t.id FROM :"schema".target AS t
            WHERE t.line = a.line AND t.settled < a.bundle AND t.source IS NOT NULL AND t.gone_at IS NULL
                AND t.paused_at IS NULL AND t.source = ANY ($4::text[]) AND t.database = ANY ($5::text[])
                AND ($8::text[] IS NULL OR t.name = ANY ($8::text[]))
                AND (t.claimed_until IS NULL OR t.id IN (SELECT id FROM dead))
            ORDER BY t.settled, t.id LIMIT $6 FOR UPDATE SKIP LOCKED
        ) AS range_older
        UNION ALL
        SELECT * FROM (
            SELECT t.id FROM :"schema".target AS t
            WHERE t.line = a.line AND t.settled > a.bundle AND t.source IS NOT NULL AND t.gone_at IS NULL
                AND t.paused_at IS NULL AND t.source = ANY ($4::text[]) AND t.database = ANY ($5::text[])
                AND ($8::text[] IS NULL OR t.name = ANY ($8::text[]))
                AND (t.claimed_until IS NULL OR t.id IN (SELECT id FROM dead))
            ORDER BY t.settled, t.id LIMIT $6 FOR UPDATE SKIP LOCKED
        ) AS range_newer
    ) AS d
    LIMIT $6
)
UPDATE :"schema".target AS t
SET claimed_by = $1, claimed_pid = pg_backend_pid(), claimed_until = clock_timestamp() + $7::float8 * interval '1 second'
FROM due AS d
WHERE t.id = d.id
RETURNING t.id, t.name, t.line, t.database, t.schema, t.version_table, t.source, t.path, d.bundle, d.label;

-- name: settled
-- Targets that are taken to be as wanted, in order. $1: sources, $2: names or null for all, $3: the last id that was
-- read, $4: how many.
SELECT t.id, t.name, t.line, t.database, t.schema, t.version_table, t.source, t.path, b.id AS bundle, b.label
FROM :"schema".target AS t
JOIN (
    SELECT DISTINCT ON (line) line, id, label FROM :"schema".bundle
    WHERE withdrawn_at IS NULL AND wanted_seq IS NOT NULL ORDER BY line, wanted_seq DESC
) AS b ON b.line = t.line AND b.id = t.settled
WHERE t.id > $3 AND t.source = ANY ($1::text[]) AND ($2::text[] IS NULL OR t.name = ANY ($2::text[]))
    AND t.outcome = 'succeeded' AND t.gone_at IS NULL AND t.paused_at IS NULL AND t.claimed_by IS NULL
ORDER BY t.id LIMIT $4;

-- name: unsettle
-- Have targets looked at again that nobody works at, and that came to no other end meanwhile. $1: ids, $2: the bundles
-- that they were settled with.
UPDATE :"schema".target AS t SET settled = NULL, outcome = NULL
FROM unnest($1::text[], $2::text[]) AS u (id, bundle)
WHERE t.id = u.id::bigint AND t.settled = u.bundle::bigint AND t.claimed_by IS NULL;

-- name: renew
-- Renew a worker's leases, which are from now on those of this connection. $1: worker, $2: the lease's seconds.
UPDATE :"schema".target
SET claimed_until = clock_timestamp() + $2::float8 * interval '1 second', claimed_pid = pg_backend_pid()
WHERE claimed_until IS NOT NULL AND claimed_by = $1;

-- name: give_back
-- Say what came of claimed targets, and give the leases back; one that is to be tried later stays out of reach till
-- then. $1: worker, $2: ids, $3: bundles that they came to an end with, or null, $4: outcomes, $5: problems (jsonb) or
-- null, $6: seconds before which they are not tried again.
UPDATE :"schema".target AS t
SET claimed_by = NULL,
    claimed_until = CASE WHEN u.pause <> '0' THEN clock_timestamp() + u.pause::float8 * interval '1 second' END,
    settled = coalesce(u.bundle::bigint, t.settled), outcome = u.outcome, problem = u.problem::jsonb, forgiven = false
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) AS u (id, bundle, outcome, problem, pause)
WHERE t.id = u.id::bigint AND t.claimed_by = $1;

-- name: finish
-- Record jobs that ended well, made if need be; open jobs of their targets for other bundles are not needed any more. A
-- job of a later epoch is not touched, and one whose target is gone is not made. $1: worker, $2: targets, $3: bundles, $4: epochs, $5: migrations applied, $6:
-- seconds.
WITH done AS (
    SELECT u.target::bigint AS target_id, u.bundle::bigint AS bundle_id, u.epoch::bigint AS epoch, u.applied::int AS applied,
        u.seconds::float8 * interval '1 second' AS took
    FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) AS u (target, bundle, epoch, applied, seconds)
    JOIN :"schema".target AS t ON t.id = u.target::bigint
), gone AS (
    UPDATE :"schema".job AS other SET state = 'superseded', finished_at = clock_timestamp()
    FROM done AS d
    WHERE other.target_id = d.target_id AND other.bundle_id <> d.bundle_id AND other.state NOT IN ('succeeded', 'superseded')
        AND (other.epoch IS NULL OR other.epoch < d.epoch)
    RETURNING other.id
), ended AS (
    INSERT INTO :"schema".job AS j (target_id, bundle_id, state, attempts, worker, epoch, applied, started_at, finished_at)
    SELECT target_id, bundle_id, 'succeeded', 1, $1, epoch, applied, clock_timestamp() - took, clock_timestamp() FROM done
    ON CONFLICT (target_id, bundle_id) DO UPDATE SET state = excluded.state, attempts = j.attempts + 1,
        worker = excluded.worker, epoch = excluded.epoch, applied = excluded.applied, failure = NULL,
        started_at = excluded.started_at, finished_at = excluded.finished_at
    WHERE j.epoch IS NULL OR j.epoch <= excluded.epoch
    RETURNING j.id
)
INSERT INTO :"schema".job_event (job_id, state, worker)
SELECT id, 'superseded', $1 FROM gone UNION ALL SELECT id, 'succeeded', $1 FROM ended;

-- name: retry
-- Have what ended badly, or was left alone, tried again. $1: sources, $2: names or null for all, $3: worker.
WITH again AS (
    UPDATE :"schema".target AS t
    SET settled = NULL, outcome = NULL, problem = NULL, forgiven = false, claimed_until = CASE WHEN claimed_by IS NOT NULL THEN claimed_until END
    WHERE t.source = ANY ($1::text[]) AND ($2::text[] IS NULL OR t.name = ANY ($2::text[]))
        AND t.problem IS NOT NULL AND t.gone_at IS NULL
    RETURNING t.id, t.line, t.name
), jobs AS (
    UPDATE :"schema".job AS j SET state = 'pending', finished_at = NULL
    FROM again AS a
    WHERE j.target_id = a.id AND j.state IN ('failed', 'refused', 'in_doubt') AND j.bundle_id = (
        SELECT id FROM :"schema".bundle
        WHERE line = a.line AND withdrawn_at IS NULL AND wanted_seq IS NOT NULL ORDER BY wanted_seq DESC LIMIT 1)
    RETURNING j.id
), events AS (
    INSERT INTO :"schema".job_event (job_id, state, worker) SELECT id, 'pending', $3 FROM jobs
)
SELECT name FROM again;

-- name: steer
-- Pause or resume targets. $1: sources, $2: names or null for all, $3: whether to pause. What was left alone for a
-- pause or a pin is looked at again; what ended badly no longer counts against the budget.
WITH steered AS (
    UPDATE :"schema".target AS t
    SET paused_at = CASE WHEN $3 THEN clock_timestamp() END, paused_by = CASE WHEN $3 THEN current_user END,
        settled = CASE WHEN t.outcome = 'left_alone' AND NOT $3 THEN NULL ELSE t.settled END,
        forgiven = t.forgiven OR NOT $3
    WHERE t.source = ANY ($1::text[]) AND ($2::text[] IS NULL OR t.name = ANY ($2::text[])) AND t.gone_at IS NULL
    RETURNING t.name
)
SELECT name FROM steered;

-- name: named
-- Which of these names are targets of the fleet. $1: sources, $2: names.
SELECT name FROM :"schema".target WHERE source = ANY ($1::text[]) AND name = ANY ($2::text[]) AND gone_at IS NULL;

-- name: counts
-- The fleet by line, wanted bundle and state. $1: sources or null for all. All targets are counted by one index, and
-- those that are paused or worked at once more by another one: they are taken from what they would be otherwise.
WITH counted AS (
    SELECT t.line, t.settled, t.outcome, NULL AS state, count(*) AS targets
    FROM :"schema".target AS t
    WHERE t.source IS NOT NULL AND t.gone_at IS NULL AND ($1::text[] IS NULL OR t.source = ANY ($1::text[]))
    GROUP BY t.line, t.source, t.settled, t.outcome
), apart AS (
    SELECT t.line, t.settled, t.outcome, 'paused' AS state, count(*) AS targets
    FROM :"schema".target AS t
    WHERE t.source IS NOT NULL AND t.gone_at IS NULL AND t.paused_at IS NOT NULL
        AND ($1::text[] IS NULL OR t.source = ANY ($1::text[]))
    GROUP BY t.line, t.source, t.settled, t.outcome
    UNION ALL
    SELECT t.line, t.settled, t.outcome, 'running', count(*)
    FROM :"schema".target AS t
    WHERE t.source IS NOT NULL AND t.gone_at IS NULL AND t.paused_at IS NULL AND t.claimed_by IS NOT NULL
        AND t.claimed_until >= now() AND ($1::text[] IS NULL OR t.source = ANY ($1::text[]))
    GROUP BY t.line, t.source, t.settled, t.outcome
), head AS (
    SELECT DISTINCT ON (line) line, id, label FROM :"schema".bundle
    WHERE withdrawn_at IS NULL AND wanted_seq IS NOT NULL ORDER BY line, wanted_seq DESC
), raw AS (
    SELECT line, settled, outcome, state, targets FROM counted
    UNION ALL SELECT line, settled, outcome, state, targets FROM apart
    UNION ALL SELECT line, settled, outcome, NULL, -targets FROM apart
)
SELECT r.line, h.label AS wanted,
    CASE
        WHEN r.state IS NOT NULL THEN r.state
        WHEN r.outcome IN ('unreachable', 'waiting') OR h.id IS NULL OR r.settled = h.id THEN coalesce(r.outcome, 'due')
        ELSE 'due'
    END AS state,
    sum(r.targets)::bigint AS targets
FROM raw AS r LEFT JOIN head AS h USING (line)
GROUP BY 1, 2, 3 HAVING sum(r.targets) > 0
ORDER BY 1, 2, 3;

-- name: spent
-- How much of each line's error budget is spent, counted as `claim` does. $1: lines.
SELECT f.line, count(*) AS targets
FROM (
    SELECT DISTINCT ON (line) line, id FROM :"schema".bundle
    WHERE line = ANY ($1::text[]) AND withdrawn_at IS NULL AND wanted_seq IS NOT NULL ORDER BY line, wanted_seq DESC
) AS b
JOIN :"schema".target AS f ON f.line = b.line AND f.settled = b.id
WHERE f.outcome IN ('failed', 'refused', 'in_doubt') AND f.gone_at IS NULL AND NOT f.forgiven
GROUP BY f.line;

-- name: troubled
-- Those that need a person, or could not be reached. $1: sources or null for all, $2: how many.
SELECT t.name, t.line, t.outcome, t.problem::text AS problem
FROM :"schema".target AS t
WHERE t.source IS NOT NULL AND t.problem IS NOT NULL AND t.gone_at IS NULL
    AND ($1::text[] IS NULL OR t.source = ANY ($1::text[]))
ORDER BY t.line, t.name LIMIT $2;

-- name: left
-- Whether somebody else still works at due targets of these lines. $1: lines, $2: sources, $3: databases, $4: worker, $5: names
-- or null for all.
SELECT EXISTS (
    SELECT FROM :"schema".target AS t
    WHERE t.line = ANY ($1::text[]) AND t.source = ANY ($2::text[]) AND t.database = ANY ($3::text[])
        AND ($5::text[] IS NULL OR t.name = ANY ($5::text[]))
        AND t.claimed_by IS NOT NULL AND t.claimed_by <> $4 AND t.gone_at IS NULL
        AND t.claimed_until >= clock_timestamp() AND t.claimed_pid IN (SELECT s.pid FROM pg_stat_activity AS s)
);

-- name: later
-- Whether a target is due that this worker is to come back to. $1: lines, $2: their budgets, null for none, $3: sources,
-- $4: databases, $5: names or null for all, $6: seconds; a lease that runs for longer is that of one who gave the target
-- up, and is worth nothing once its connection is gone. The conditions are those of `claim`, but for other leases.
WITH asked AS (
    SELECT a.line, b.id AS bundle
    FROM unnest($1::text[], $2::text[]) AS a (line, budget)
    CROSS JOIN LATERAL (
        SELECT id FROM :"schema".bundle
        WHERE line = a.line AND withdrawn_at IS NULL AND wanted_seq IS NOT NULL ORDER BY wanted_seq DESC LIMIT 1
    ) AS b
    WHERE a.budget IS NULL OR a.budget::bigint > (
        SELECT count(*) FROM :"schema".target AS f
        WHERE f.line = a.line AND f.settled = b.id AND f.outcome IN ('failed', 'refused', 'in_doubt')
            AND f.gone_at IS NULL AND NOT f.forgiven)
)
SELECT EXISTS (
    SELECT FROM asked AS a
    CROSS JOIN LATERAL (
        SELECT * FROM :"schema".target AS n
        WHERE n.line = a.line AND n.settled IS NULL AND n.source IS NOT NULL AND n.gone_at IS NULL
        UNION ALL
        SELECT * FROM :"schema".target AS o
        WHERE o.line = a.line AND o.settled < a.bundle AND o.source IS NOT NULL AND o.gone_at IS NULL
        UNION ALL
        SELECT * FROM :"schema".target AS p
        WHERE p.line = a.line AND p.settled > a.bundle AND p.source IS NOT NULL AND p.gone_at IS NULL
    ) AS t
    WHERE t.paused_at IS NULL AND t.source = ANY ($3::text[]) AND t.database = ANY ($4::text[])
        AND ($5::text[] IS NULL OR t.name = ANY ($5::text[]))
        AND (t.claimed_until IS NULL OR t.claimed_until < clock_timestamp() + $6::float8 * interval '1 second'
            OR t.claimed_pid NOT IN (SELECT s.pid FROM pg_stat_activity AS s))
);

-- name: knows_fleets
-- Whether the home half has what a fleet needs.
SELECT EXISTS (
    SELECT FROM pg_attribute AS a
    JOIN pg_class AS c ON c.oid = a.attrelid AND c.relname = 'target'
    JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = :'schema'
    WHERE a.attname = 'settled' AND NOT a.attisdropped
);
