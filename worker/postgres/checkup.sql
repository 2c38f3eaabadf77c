-- name: settings
-- Settings that somebody chose for the server, the database or the role and that this session did not overrule.
SELECT name, setting AS value, source
FROM pg_settings
WHERE source IN ('configuration file', 'command line', 'global', 'database', 'user', 'database user')
    AND name = ANY ($1::text[])
ORDER BY name;

-- name: circumstances
-- One row about the database and the schema. $1: the version table's schema.
SELECT
    current_setting('server_version') AS version,
    current_setting('server_encoding') AS encoding,
    (SELECT s.reset_val FROM pg_settings AS s WHERE s.name = 'search_path') AS search_path,
    (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) AS is_superuser,
    EXISTS (SELECT FROM pg_namespace AS n WHERE n.nspname = current_user) AS has_own_schema,
    EXISTS (
        SELECT FROM pg_namespace AS n, aclexplode(n.nspacl) AS a
        WHERE n.nspname = $1 AND a.grantee = 0 AND a.privilege_type = 'CREATE'
    ) AS is_open_to_public,
    NOT EXISTS (
        SELECT FROM pg_class AS r JOIN pg_namespace AS n ON n.oid = r.relnamespace
        WHERE n.nspname = :'schema' AND r.relname = 'job_event' AND NOT has_table_privilege(r.oid, 'DELETE')
    ) AS may_forget_events;

-- name: foreign_objects
-- What belongs to a role whose rights the acting one does not have, or, in the control schema and of the version table,
-- to any other role; the names are to be read under an empty search_path, so that they are whole. $1: control schema,
-- $2, $3: the version table's schema and name.
WITH owned AS (
    SELECT c.oid, 'pg_class'::regclass AS catalogue, c.relnamespace AS namespace, c.relowner AS owner,
        CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
            WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind,
        format('%I.%I', n.nspname, c.relname) AS name,
        n.nspname = $2 AND c.relname = $3 AS is_version_table
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    UNION ALL
    SELECT p.oid, 'pg_proc'::regclass, p.pronamespace, p.proowner,
        CASE p.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END,
        format('%I.%I(%s)', n.nspname, p.proname, CASE
            WHEN p.prokind = 'a' AND p.pronargs = 0 THEN '*' ELSE pg_get_function_identity_arguments(p.oid) END), false
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
    UNION ALL
    SELECT t.oid, 'pg_type'::regclass, t.typnamespace, t.typowner,
        CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, format('%I.%I', n.nspname, t.typname), false
    FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
    WHERE t.typtype IN ('d', 'e', 'r') OR EXISTS (
        SELECT FROM pg_class AS c WHERE c.oid = t.typrelid AND c.relkind = 'c')
    UNION ALL
    SELECT n.oid, 'pg_namespace'::regclass, n.oid, n.nspowner, 'SCHEMA', format('%I', n.nspname), false
    FROM pg_namespace AS n WHERE n.nspname <> 'public'
)
SELECT o.kind, o.name, pg_get_userbyid(o.owner)::text AS owner
FROM owned AS o
JOIN pg_namespace AS n ON n.oid = o.namespace
JOIN pg_roles AS r ON r.rolname = current_user
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND o.owner <> r.oid
    AND (n.nspname = $1 OR o.is_version_table OR NOT pg_has_role(o.owner, 'USAGE'))
    -- What an extension brought stays with it, and what a column or a type made goes with it.
    AND NOT EXISTS (
        SELECT FROM pg_depend AS d
        WHERE d.classid = o.catalogue AND d.objid = o.oid AND d.objsubid = 0
            AND (d.deptype IN ('e', 'i') OR d.deptype = 'a' AND o.kind = 'SEQUENCE')
    )
ORDER BY n.nspname <> $1, n.nspname <> $2, n.nspname, 1, 2;

-- name: lock_sessions
-- Who holds or waits for one of these advisory keys. $1: keys.
SELECT DISTINCT ON (l.pid)
    l.pid, l.granted, a.usename::text AS role, coalesce(a.application_name, '') AS application
FROM pg_locks AS l
JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.objsubid = 1
    AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
    AND ((l.classid::bigint << 32) | l.objid::bigint) = ANY ($1::text[]::bigint[])
    AND l.pid <> pg_backend_pid()
ORDER BY l.pid, l.granted;

-- name: invalid_indexes
-- Indexes that a cut statement left behind, but for those that are being built now.
SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relname ~ '_cc(new|old)[0-9]*$' AS is_leftover
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i' AND n.nspname !~ '^pg_(toast|temp)'
    AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index AS p WHERE p.relid = i.indrelid)
ORDER BY 1;

-- name: known_roles
-- Which of these roles exist. $1: names.
SELECT rolname::text AS role FROM pg_roles WHERE rolname = ANY ($1::text[]);
