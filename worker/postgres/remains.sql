-- These run with the migration's own search_path, in which others may be able to create: every function is qualified,
-- and an operator's operands have the very types that pg_catalog's has, so that none of another schema fits better.

-- name: backend
-- The backend that began a statement, while it lives. $1: its pid, $2: when it said so. A pid is given again to another
-- backend, which then started later. Of another role's session a role without pg_read_all_stats sees no start, but
-- the application's name: $3 is what ours begin with.
SELECT a.pid, a.usename::text AS role, coalesce(a.application_name, '') AS application, a.backend_start AS since
FROM pg_catalog.pg_stat_activity AS a
WHERE a.pid = $1 AND a.pid <> pg_catalog.pg_backend_pid()
    AND a.datname = pg_catalog.current_database()
    AND pg_catalog.pg_postmaster_start_time() <= $2
    AND CASE WHEN a.backend_start IS NULL THEN a.application_name ^@ $3 ELSE a.backend_start <= $2 END;

-- name: builder
-- Another backend that builds an index of this table just now. $1: table. A concurrent build holds this lock throughout.
SELECT l.pid, a.usename::text AS role, coalesce(a.application_name, '') AS application, a.backend_start AS since
FROM pg_catalog.pg_locks AS l
JOIN pg_catalog.pg_stat_progress_create_index AS p ON p.pid = l.pid
JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.relation = pg_catalog.to_regclass($1)::oid AND l.granted
    AND l.mode = 'ShareUpdateExclusiveLock' AND l.pid <> pg_catalog.pg_backend_pid()
    AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
LIMIT 1;

-- name: namesakes
-- What has the name of an index that is to be built, or, without a name, the indexes that the server may have named so.
-- $1: table, $2: the index's name or null. An index lies in its table's schema.
SELECT n.nspname::text AS schema, c.relname::text AS name, coalesce(i.indisvalid, true) AS is_valid,
    c.relkind = 'i' AND i.indrelid = t.oid AS is_on_table, c.oid AS relation
FROM pg_catalog.pg_class AS t
JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
JOIN pg_catalog.pg_class AS c ON c.relnamespace = t.relnamespace
LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid
WHERE t.oid = pg_catalog.to_regclass($1)::oid
    AND CASE WHEN $2::text IS NULL THEN i.indrelid = t.oid AND c.relkind = 'i' AND c.relname::text ~ '_idx[0-9]*$'
        ELSE c.relname = $2 END
ORDER BY c.oid;

-- name: definition
-- All that an index is, apart from its name and its table. $1: its oid. PostgreSQL 15 brought NULLS NOT DISTINCT.
SELECT pg_catalog.jsonb_build_array(
    c.relam, i.indisunique, i.indnkeyatts, i.indnatts, i.indclass::text, i.indcollation::text, i.indoption::text,
    pg_catalog.to_jsonb(i) -> 'indnullsnotdistinct'::text, c.reloptions, pg_catalog.pg_get_expr(i.indpred, i.indrelid),
    (SELECT pg_catalog.jsonb_agg(pg_catalog.pg_get_indexdef(i.indexrelid, k, false) ORDER BY k)
        FROM pg_catalog.generate_series(1, i.indnatts) AS k)
)::text AS definition
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
WHERE i.indexrelid = $1;

-- name: home_of
-- The schema in which a table is found. $1: table.
SELECT c.relnamespace::pg_catalog.regnamespace::text FROM pg_catalog.pg_class AS c
WHERE c.oid = pg_catalog.to_regclass($1)::oid;

-- name: index
-- The index that a name finds, and whether it is the first place at which one looks. $1: the name.
SELECT n.nspname::text AS schema, c.relname::text AS name, i.indisvalid AS is_valid,
    coalesce(n.nspname = (pg_catalog.current_schemas(false))[1], false) AS is_first
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = pg_catalog.to_regclass($1)::oid;

-- name: rebuilt
-- INVALID indexes that a REINDEX CONCURRENTLY left: of the tables in question or their TOAST tables, named after an
-- index of the same table (whose name is cut where the whole would be too long), and of the same columns. $1: INDEX,
-- TABLE, SCHEMA or DATABASE, $2: the name as SQL, $3: the name.
WITH chosen AS (
    SELECT CASE $1 WHEN 'INDEX' THEN (
        SELECT i.indrelid FROM pg_catalog.pg_index AS i WHERE i.indexrelid = pg_catalog.to_regclass($2)::oid
    ) ELSE pg_catalog.to_regclass($2)::oid END AS oid
    WHERE $1 IN ('INDEX', 'TABLE')
), tables AS (
    SELECT t.relid::oid AS oid FROM chosen AS c CROSS JOIN LATERAL pg_catalog.pg_partition_tree(c.oid) AS t
    UNION SELECT oid FROM chosen
    UNION SELECT c.oid FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm')
        AND CASE $1 WHEN 'SCHEMA' THEN n.nspname = $3 WHEN 'DATABASE' THEN n.nspname <> 'pg_catalog' ELSE false END
), all_tables AS (
    SELECT oid FROM tables
    UNION SELECT c.reltoastrelid FROM pg_catalog.pg_class AS c JOIN tables USING (oid) WHERE c.reltoastrelid <> 0::oid
)
SELECT n.nspname::text AS schema, c.relname::text AS name
FROM all_tables AS t
JOIN pg_catalog.pg_index AS i ON i.indrelid = t.oid
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT pg_catalog.regexp_replace(c.relname::text, '_cc(new|old)[0-9]*$', '') AS stem) AS b
WHERE NOT i.indisvalid AND c.relkind = 'i' AND c.relname::text ~ '_cc(new|old)[0-9]*$'
    -- What is left of a TOAST table's is a superuser's to drop, and in nobody's way.
    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    -- What another session builds just now is its own.
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_stat_progress_create_index AS p
        WHERE p.relid = i.indrelid AND p.pid <> pg_catalog.pg_backend_pid()
    )
    AND EXISTS (
        SELECT FROM pg_catalog.pg_index AS o JOIN pg_catalog.pg_class AS s ON s.oid = o.indexrelid
        WHERE o.indrelid = i.indrelid AND o.indexrelid <> i.indexrelid
            AND s.relname::text ^@ b.stem AND (s.relname = b.stem OR octet_length(c.relname::text) >= 60)
            AND o.indkey::text = i.indkey::text AND o.indclass::text = i.indclass::text
            AND pg_catalog.pg_get_expr(o.indpred, o.indrelid) IS NOT DISTINCT FROM
                pg_catalog.pg_get_expr(i.indpred, i.indrelid)
            AND pg_catalog.pg_get_expr(o.indexprs, o.indrelid) IS NOT DISTINCT FROM
                pg_catalog.pg_get_expr(i.indexprs, i.indrelid)
    )
ORDER BY 1, 2;

-- name: attachment
-- How a partition hangs on its table. $1: table, $2: partition. No row: it does not.
SELECT h.inhdetachpending AS is_pending
FROM pg_catalog.pg_inherits AS h
WHERE h.inhparent = pg_catalog.to_regclass($1)::oid AND h.inhrelid = pg_catalog.to_regclass($2)::oid;

-- name: existence
-- Whether it is there. $1: database, tablespace or subscription, $2: its name. A cut DROP DATABASE leaves -2.
SELECT 'database' AS thing, d.datconnlimit = -2 AS is_invalid
FROM pg_catalog.pg_database AS d WHERE $1 = 'database' AND d.datname = $2
UNION ALL
SELECT 'tablespace', false FROM pg_catalog.pg_tablespace AS s WHERE $1 = 'tablespace' AND s.spcname = $2
UNION ALL
SELECT 'subscription', false FROM pg_catalog.pg_subscription AS u
WHERE $1 = 'subscription' AND u.subname = $2
    AND u.subdbid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database());
