-- name: candidates
-- Targets of the fleet that a word may mean: the whole name, the name without its database, the schema alone, or
-- database and schema. $1: sources, $2: the word, $3: how many.
SELECT t.name, t.line, t.database, t.schema, t.version_table, t.source, t.path
FROM :"schema".target AS t
WHERE t.source = ANY ($1::text[]) AND t.gone_at IS NULL
    AND (t.name = $2 OR t.schema = $2 OR t.database || '/' || t.schema = $2
        OR (t.database <> '' AND substr(t.name, length(t.database) + 2) = $2))
ORDER BY t.name <> $2, t.name LIMIT $3;

-- name: exact
-- The target of that name, whatever declared it, and the label that its line wants. $1: sources, $2: name.
SELECT t.name, t.line, t.database, t.schema, t.version_table, t.source, t.path, (
    SELECT b.label FROM :"schema".bundle AS b
    WHERE b.line = t.line AND b.withdrawn_at IS NULL AND b.wanted_seq IS NOT NULL ORDER BY b.wanted_seq DESC LIMIT 1
) AS wanted
FROM :"schema".target AS t
WHERE t.name = $2 AND t.source = ANY ($1::text[]) AND t.gone_at IS NULL;

-- name: of_line
-- Names of the targets of one line. $1: sources, $2: line.
SELECT name FROM :"schema".target WHERE source = ANY ($1::text[]) AND line = $2 AND gone_at IS NULL;

-- name: outcomes
-- What became of the named targets, in the states that the fleet's query `counts` tells; one that is paused and as wanted
-- is done all the same. $1: names.
SELECT t.name, t.line, b.label AS wanted, t.paused_by, t.problem ->> 'message' AS why,
    CASE
        WHEN t.settled = b.id AND t.outcome = 'succeeded' THEN 'succeeded'
        WHEN t.paused_at IS NOT NULL THEN 'paused'
        WHEN t.claimed_by IS NOT NULL AND t.claimed_until >= now() THEN 'running'
        WHEN t.outcome IN ('unreachable', 'waiting') OR b.id IS NULL OR t.settled = b.id THEN coalesce(t.outcome, 'due')
        ELSE 'due'
    END AS state
FROM :"schema".target AS t
LEFT JOIN LATERAL (
    SELECT id, label FROM :"schema".bundle
    WHERE line = t.line AND withdrawn_at IS NULL AND wanted_seq IS NOT NULL ORDER BY wanted_seq DESC LIMIT 1
) AS b ON true
WHERE t.name = ANY ($1::text[]) AND t.gone_at IS NULL ORDER BY t.name;

-- name: unsettle
-- Have workers look at a target again, which a person brought elsewhere. $1: name, $2: the channel that wakes them.
WITH moved AS (
    UPDATE :"schema".target SET settled = NULL, outcome = NULL, problem = NULL, forgiven = false
    WHERE name = $1 AND source IS NOT NULL RETURNING line
)
SELECT pg_notify($2, line) FROM moved;

-- name: registered
-- The targets that add_target() registered.
SELECT t.name, t.line, t.database, t.schema, t.version_table, t.source, t.path
FROM :"schema".target AS t WHERE t.source = 'add_target' AND t.gone_at IS NULL ORDER BY t.name;

-- name: may_begin
-- Whether the role may make the control schema, or has what it takes in one that is there.
SELECT CASE WHEN n.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE')
    ELSE has_schema_privilege(n.oid, 'CREATE') END AS may
FROM (VALUES (1)) AS one LEFT JOIN pg_namespace AS n ON n.nspname = :'schema';
