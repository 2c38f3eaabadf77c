-- name: line_lock
-- Publishes are serialised per line, for the rest of the transaction; tells whether the role may write the tables
-- itself, or has to have the control schema's functions do it. $1: line.
SELECT pg_advisory_xact_lock(hashtextextended(:'schema' || ' line ' || $1, 0)),
    has_table_privilege(format('%I.bundle', :'schema'), 'INSERT')
    AND has_table_privilege(format('%I.bundle', :'schema'), 'UPDATE')
    AND has_table_privilege(format('%I.bundle_file', :'schema'), 'INSERT') AS may_write;

-- name: published
-- Every bundle of a line, oldest first. $1: line.
SELECT id, label, digest, names, checksums, required::text[] AS required, serves, order_policy, wanted_seq,
    withdrawn_at IS NOT NULL AS withdrawn, intent, published_at, published_by, wanted_at
FROM :"schema".bundle WHERE line = $1 ORDER BY id;

-- name: required
-- The versions that a gate waits for, by the label of each bundle of a line, oldest first. $1: line.
SELECT label, required::text[] AS required FROM :"schema".bundle WHERE line = $1 ORDER BY id;

-- name: insert_files
-- Store contents, each once. $1: checksums, $2: contents, one behind the other, $3: where each begins, from 1,
-- $4: lengths.
INSERT INTO :"schema".bundle_file (checksum, content)
SELECT u.checksum, substring($2::bytea FROM u.place::int FOR u.length::int)
FROM unnest($1::text[], $3::text[], $4::text[]) AS u (checksum, place, length)
ON CONFLICT (checksum) DO NOTHING;

-- name: stored_files
-- Which contents are stored already. $1: checksums.
SELECT checksum FROM :"schema".bundle_file WHERE checksum = ANY ($1::text[]);

-- name: insert_bundle
-- $1: line, $2: label, $3: digest, $4: names, $5: checksums, $6: required, $7: serves, $8: order, $9: intent, $10: seal.
INSERT INTO :"schema".bundle (line, label, digest, names, checksums, required, serves, order_policy, intent, seal)
VALUES ($1, $2, $3, $4, $5, $6::text[]::bigint[], $7, $8, $9, $10)
RETURNING id;

-- name: insert_first
-- Insert a bundle where there was none before, make it the wanted one, and tell the workers. $1 to $10: as above,
-- $11: channel.
WITH head AS (
    INSERT INTO :"schema".bundle (line, label, digest, names, checksums, required, serves, order_policy, intent, seal,
        wanted_seq, wanted_at)
    VALUES ($1, $2, $3, $4, $5, $6::text[]::bigint[], $7, $8, $9, $10,
        nextval(format('%I.wanted_seq', :'schema')::regclass), clock_timestamp())
)
SELECT pg_notify($11, $1);

-- name: log_first_numbers
-- Have the next numbers logged that the transaction takes which made their sequences: a server with a minimal WAL does
-- not log those, nor the 32 that follow.
SELECT setval(pg_get_serial_sequence(format('%I.bundle', :'schema'), 'id'), max(id)),
    setval(format('%I.wanted_seq', :'schema')::regclass, max(wanted_seq))
FROM :"schema".bundle;

-- name: make_wanted
-- Make a bundle the wanted one, and tell the workers. $1: bundle id, $2: channel, $3: line, $4: intent.
WITH head AS (
    UPDATE :"schema".bundle
    SET wanted_seq = nextval(format('%I.wanted_seq', :'schema')::regclass), wanted_at = clock_timestamp(),
        withdrawn_at = NULL, withdrawn_by = NULL, intent = $4
    WHERE id = $1
)
SELECT pg_notify($2, $3);

-- name: publish
-- All of it by the function, for a role that has no right on the tables. $1: line, $2: label, $3: names, $4: contents,
-- $5: required, $6: serves, $7: order, $8: intent, $9: seal.
SELECT outcome FROM :"schema".publish($1, $2, $3, $4, $5::text[]::bigint[], $6, $7, $8, $9);

-- name: withdraw_by_function
-- $1: line, $2: label.
SELECT :"schema".withdraw($1, $2);

-- name: withdraw
-- Take a bundle back; the one before it becomes wanted. $1: line, $2: label, $3: channel.
WITH gone AS (
    UPDATE :"schema".bundle SET withdrawn_at = clock_timestamp(), withdrawn_by = current_user
    WHERE line = $1 AND label = $2 AND withdrawn_at IS NULL
    RETURNING line
)
SELECT pg_notify($3, line) FROM gone;

-- name: bundle_files
-- The files of a bundle. $1: bundle id.
SELECT u.name, f.content
FROM :"schema".bundle AS b
CROSS JOIN LATERAL unnest(b.names, b.checksums) AS u (name, checksum)
JOIN :"schema".bundle_file AS f USING (checksum)
WHERE b.id = $1 AND u.name IS NOT NULL;

-- name: seal
-- The signatures of a bundle, no more of it than one can have. $1: bundle id, $2: characters.
SELECT left(seal, $2) FROM :"schema".bundle WHERE id = $1;

-- name: renew_seal
-- Keep newer signatures of the same content, for keys change, and tell the workers. $1: bundle id, $2: seal, $3: channel.
WITH renewed AS (
    UPDATE :"schema".bundle SET seal = $2 WHERE id = $1 AND seal IS DISTINCT FROM $2
    RETURNING line
)
SELECT pg_notify($3, line) FROM renewed;

-- name: ensure_target
-- Make the target's row where it is missing. $1: name, $2: line.
INSERT INTO :"schema".target (name, line) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING;

-- name: pause
-- $1: target name, $2: whether to pause.
UPDATE :"schema".target
SET paused_at = CASE WHEN $2 THEN clock_timestamp() END, paused_by = CASE WHEN $2 THEN current_user END
WHERE name = $1;

-- name: opening
-- What opening a job begins with: open jobs of the target for other bundles are not needed any more. $1: target name,
-- $2: bundle id, $3: worker, $4: line of a target that is not known yet, $5: epoch of a job that is started, or null.
-- A job need not outlive a crash of the server, which the next one finds out, so that nothing waits for the disk.
WITH made AS (
    INSERT INTO :"schema".target (name, line) VALUES ($1, $4) ON CONFLICT (name) DO NOTHING RETURNING id
), t AS (
    SELECT u.id, $2::bigint AS bundle_id, $3::text AS worker, $4::text AS line, $5::bigint AS epoch
    FROM (
        SELECT id FROM made UNION ALL SELECT id FROM :"schema".target WHERE name = $1
    ) AS u CROSS JOIN set_config('synchronous_commit', 'off', true) AS quickly
), gone AS (
    UPDATE :"schema".job AS other SET state = 'superseded', finished_at = clock_timestamp()
    FROM t
    WHERE other.target_id = t.id AND other.bundle_id <> $2 AND other.state NOT IN ('succeeded', 'superseded')
    RETURNING other.id
), told AS (
    INSERT INTO :"schema".job_event (job_id, state, worker) SELECT id, 'superseded', $3 FROM gone
)

-- name: job_columns
-- A job as a caller is given it.
id AS job_id, state AS job_state, attempts AS job_attempts, worker AS job_worker, applied AS job_applied,
    started_at AS job_started_at, finished_at AS job_finished_at, failure::text AS job_failure

-- name: open_job
-- The job of a target and a bundle, made if need be.
:opening
INSERT INTO :"schema".job (target_id, bundle_id) SELECT id, bundle_id FROM t
ON CONFLICT (target_id, bundle_id) DO UPDATE SET bundle_id = excluded.bundle_id
RETURNING :job_columns;

-- name: start_job
-- The same, started whatever its state was, and told as an event. A worker that was overtaken does so too: its fence keeps
-- it from more, and the next round puts the row right. Also returned is what a gate waits for, by the label of each bundle of
-- the line, as JSON; $6: labels of which it is not asked.
:opening, started AS (
    INSERT INTO :"schema".job AS j (target_id, bundle_id, state, worker, epoch, attempts, started_at)
    SELECT id, bundle_id, 'running', t.worker, t.epoch, 1, clock_timestamp() FROM t
    ON CONFLICT (target_id, bundle_id) DO UPDATE SET
        state = excluded.state, worker = excluded.worker, epoch = excluded.epoch, failure = NULL, applied = 0,
        attempts = j.attempts + 1, started_at = excluded.started_at, finished_at = NULL
    RETURNING j.*
), said AS (
    INSERT INTO :"schema".job_event (job_id, state, worker) SELECT id, state, worker FROM started
)
SELECT :job_columns, (
    SELECT coalesce(json_object_agg(b.label, b.required ORDER BY b.id), '{}')::text FROM :"schema".bundle AS b
    WHERE b.line = (SELECT t.line FROM t) AND NOT EXISTS (SELECT FROM unnest($6::text[]) AS u (label) WHERE u.label = b.label)
) AS required
FROM started;

-- name: set_job
-- Record a transition, and tell it as an event. $1: job, $2: state, $3: worker, $4: epoch or null, $5: failure
-- (jsonb), $6: migrations applied in this attempt, $7: the state that it must be in.
WITH moved AS (
    UPDATE :"schema".job SET
        state = $2::text, worker = $3, epoch = coalesce($4, epoch), failure = $5::jsonb, applied = $6,
        attempts = attempts + CASE WHEN $2::text = 'running' THEN 1 ELSE 0 END,
        started_at = CASE WHEN $2::text = 'running' THEN clock_timestamp() ELSE started_at END,
        finished_at = CASE WHEN $2::text IN ('running', 'pending') THEN NULL ELSE clock_timestamp() END
    WHERE id = $1 AND state = $7
    RETURNING id
)
INSERT INTO :"schema".job_event (job_id, state, worker, detail)
SELECT id, $2::text, $3, $5::jsonb FROM moved;

-- name: forget_events
-- Remove events that are older than ninety days, of those with the lowest numbers, which are the oldest: so it reads no more
-- than it may remove, by the index that is there, and is over soon. $1: how many at most.
SET LOCAL lock_timeout = 100;
SET LOCAL synchronous_commit = off;
DELETE FROM :"schema".job_event
WHERE id IN (SELECT id FROM :"schema".job_event ORDER BY id LIMIT $1) AND at < clock_timestamp() - interval '90 days';
