-- name: objects
-- What lies in the control schema itself, and not in another object of it; `ours` where a control migration made it.
-- Names are without the schema where they have one.
SELECT
    f.kind, f.name, f.kind = 'table' AS has_rows,
    f.kind || ' ' || f.name IN (
        'table bundle', 'table bundle_file', 'table fence', 'table fingerprint',
        'table fingerprint_object', 'table history', 'table home_version', 'table job',
        'table job_event', 'table journal', 'table ledger', 'table readiness', 'table target',
        'table target_version', 'view status', 'sequence wanted_seq',
        'function ready(bigint,text,text)', 'function hold_fence(text,bigint,bigint)',
        'function publish(text,text,text[],bytea[],bigint[],bigint,text,text,text)', 'function withdraw(text,text)',
        'function digest_of(text[],bytea[])', 'function files_of(text[],text[])', 'function versions_of(text[],text[])',
        'function fault_of(text,text,text,text[],text[],bigint[],bigint)', 'function guard_bundle()',
        'function guard_bundle_file()', 'function add_target(text,text,text,text)',
        'function record_applied(text,bigint,bigint,bigint,text,text,text,text,text,double precision,timestamp with time zone)',
        'function recorded_at(text,bigint)')
        -- Where no home half was made, what has a name of its tables is somebody else's.
        AND (EXISTS (SELECT FROM :"schema".home_version) OR f.kind || ' ' || f.name NOT IN (
            'table bundle', 'table bundle_file', 'table job', 'table job_event', 'table target', 'sequence wanted_seq')
        ) AS ours
FROM pg_depend AS d
JOIN pg_namespace AS n ON n.oid = d.refobjid AND n.nspname = :'schema'
CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) AS i
CROSS JOIN LATERAL (
    SELECT i.type AS kind, replace(
        CASE WHEN i.schema = quote_ident(:'schema') THEN substr(i.identity, length(i.schema) + 2) ELSE i.identity END,
        'pg_catalog.', '') AS name
) AS f
WHERE d.refclassid = 'pg_namespace'::regclass AND d.deptype = 'n'
    AND NOT EXISTS (
        -- An identity's sequence goes with its table, a member with its extension.
        SELECT FROM pg_depend AS o
        LEFT JOIN pg_class AS c ON o.refclassid = 'pg_class'::regclass AND c.oid = o.refobjid
        WHERE o.classid = d.classid AND o.objid = d.objid
            AND (o.deptype = 'e' OR (o.deptype IN ('a', 'i') AND c.relnamespace = n.oid)))
ORDER BY f.kind, f.name;

-- name: count
-- How many rows a table has; :table is its name.
SELECT count(*) FROM :"schema".:table;

-- name: dependents
-- What lies elsewhere and could not be without something in the control schema. A view stands for its rule, and a table
-- for its constraints, defaults, triggers and policies.
WITH inside AS (
    SELECT 'pg_class'::regclass::oid AS classid, c.oid AS objid
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = :'schema'
    UNION ALL
    SELECT 'pg_type'::regclass, t.oid
    FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace AND n.nspname = :'schema'
    UNION ALL
    SELECT 'pg_proc'::regclass, p.oid
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace AND n.nspname = :'schema'
), needing AS (
    SELECT d.classid, d.objid, coalesce(r.ev_class, k.conrelid, a.adrelid, t.tgrelid, p.polrelid) AS relation
    FROM pg_depend AS d
    JOIN inside AS i ON i.classid = d.refclassid AND i.objid = d.refobjid
    LEFT JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    LEFT JOIN pg_constraint AS k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid AND k.conrelid <> 0
    LEFT JOIN pg_attrdef AS a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
    LEFT JOIN pg_trigger AS t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
    LEFT JOIN pg_policy AS p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
    WHERE d.deptype = 'n'
), whole AS (
    SELECT CASE WHEN relation IS NULL THEN classid ELSE 'pg_class'::regclass END AS classid,
        coalesce(relation, objid) AS objid
    FROM needing
    EXCEPT
    SELECT classid, objid FROM inside
)
SELECT i.type AS kind, replace(i.identity, 'pg_catalog.', '') AS name
FROM whole AS w
CROSS JOIN LATERAL pg_identify_object(w.classid, w.objid, 0) AS i
ORDER BY 1, 2;

-- name: grants
-- What other roles than the owners may do there.
SELECT coalesce(r.rolname::text, 'PUBLIC') AS role, string_agg(g.privilege_type, ', ' ORDER BY g.privilege_type) AS
    privileges, g.what
FROM (
    SELECT 'the schema' AS what, n.nspowner AS owner, x.*
    FROM pg_namespace AS n CROSS JOIN LATERAL aclexplode(n.nspacl) AS x WHERE n.nspname = :'schema'
    UNION ALL
    SELECT c.relname, c.relowner, x.*
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = :'schema'
    CROSS JOIN LATERAL aclexplode(c.relacl) AS x
    UNION ALL
    SELECT p.proname, p.proowner, x.*
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace AND n.nspname = :'schema'
    CROSS JOIN LATERAL aclexplode(p.proacl) AS x
) AS g
LEFT JOIN pg_roles AS r ON r.oid = g.grantee
WHERE g.grantee <> g.owner
GROUP BY 1, 3
ORDER BY 1, 3;

-- name: targets
-- Every target that is known here, but for the control schema's own two.
SELECT p.part[1] AS schema, p.part[2] AS table, to_regclass(t.name) IS NOT NULL AS has_table
FROM (
    SELECT target AS name FROM :"schema".fence
    UNION SELECT target FROM :"schema".ledger
    UNION SELECT target FROM :"schema".readiness
    UNION SELECT h.name FROM :"schema".target AS h
    -- Those of a fleet in other databases are not here; an older control schema has no fleets.
    WHERE coalesce(to_jsonb(h) ->> 'database', '') = ''
) AS t
CROSS JOIN LATERAL (SELECT parse_ident(t.name) AS part) AS p
WHERE NOT (p.part[1] = :'schema' AND p.part[2] IN ('target_version', 'home_version'))
ORDER BY 1, 2;

-- name: targets_without_home
-- The same, where the home half lies in another database.
SELECT p.part[1] AS schema, p.part[2] AS table, to_regclass(t.name) IS NOT NULL AS has_table
FROM (
    SELECT target AS name FROM :"schema".fence
    UNION SELECT target FROM :"schema".ledger
    UNION SELECT target FROM :"schema".readiness
) AS t
CROSS JOIN LATERAL (SELECT parse_ident(t.name) AS part) AS p
WHERE NOT (p.part[1] = :'schema' AND p.part[2] IN ('target_version', 'home_version'))
ORDER BY 1, 2;

-- name: version
-- :version_table is the table.
SELECT version, dirty FROM :version_table ORDER BY version DESC LIMIT 1;

-- name: half_done
-- Migrations that are under way, with their file in the newest bundle that has it.
SELECT DISTINCT j.target, j.version, j.direction, (
    SELECT f.name FROM :"schema".bundle AS b CROSS JOIN LATERAL unnest(b.names) AS f (name)
    WHERE f.name ~ ('^0*' || j.version || '_.*\.' || j.direction || '\.') ORDER BY b.id DESC LIMIT 1) AS file
FROM :"schema".journal AS j
ORDER BY 1, 2;

-- name: half_done_without_home
-- The same, where no bundle is there to tell the file.
SELECT DISTINCT target, version, direction, NULL::text AS file FROM :"schema".journal ORDER BY 1, 2;

-- name: open_jobs_without_home
-- None is there.
SELECT WHERE false;

-- name: open_jobs
-- Jobs of bundles that are not withdrawn which run, as far as they say, or are in doubt.
SELECT t.name AS target, b.label, j.state
FROM :"schema".job AS j
JOIN :"schema".target AS t ON t.id = j.target_id
JOIN :"schema".bundle AS b ON b.id = j.bundle_id
WHERE j.state IN ('running', 'in_doubt') AND b.withdrawn_at IS NULL
ORDER BY j.id;

-- name: clients
-- Tidegate's other sessions in this database. A role without pg_read_all_stats sees the name of another role's session,
-- and neither its address nor its start.
SELECT
    a.application_name AS application, a.usename::text AS role, a.pid,
    CASE WHEN a.backend_start IS NULL THEN 'unknown' ELSE coalesce(host(a.client_addr), 'local') END AS address
FROM pg_stat_activity AS a
WHERE a.datname = current_database() AND a.application_name LIKE 'tidegate %' AND a.pid <> pg_backend_pid()
ORDER BY a.pid;

-- name: owners
-- Who else owns something there, where this role may not act as the owner.
SELECT DISTINCT pg_get_userbyid(o.owner)::text AS owner
FROM pg_namespace AS n
CROSS JOIN LATERAL (
    SELECT n.nspowner AS owner
    UNION SELECT c.relowner FROM pg_class AS c WHERE c.relnamespace = n.oid
    UNION SELECT p.proowner FROM pg_proc AS p WHERE p.pronamespace = n.oid
) AS o
WHERE n.nspname = :'schema' AND NOT pg_has_role(o.owner, 'USAGE')
ORDER BY 1;

-- name: drop
-- Without CASCADE: the server itself refuses where something else lies in the schema or depends on what does.
DROP VIEW :"schema".status;
DROP FUNCTION :"schema".ready(bigint, text, text), :"schema".hold_fence(text, bigint, bigint);
DROP TABLE :"schema".fence, :"schema".fingerprint, :"schema".fingerprint_object, :"schema".history,
    :"schema".home_version, :"schema".journal, :"schema".ledger, :"schema".readiness, :"schema".target_version;
-- The home half may lie in another database; where it is here, the inventory has shown that these are its tables.
DROP TABLE IF EXISTS
    :"schema".bundle, :"schema".bundle_file, :"schema".job, :"schema".job_event, :"schema".target;
DROP SEQUENCE IF EXISTS :"schema".wanted_seq;
-- An older control schema has none of these.
DROP FUNCTION IF EXISTS
    :"schema".publish(text, text, text[], bytea[], bigint[], bigint, text, text, text), :"schema".withdraw(text, text),
    :"schema".fault_of(text, text, text, text[], text[], bigint[], bigint), :"schema".versions_of(text[], text[]),
    :"schema".files_of(text[], text[]), :"schema".digest_of(text[], bytea[]), :"schema".guard_bundle(),
    :"schema".guard_bundle_file(), :"schema".add_target(text, text, text, text),
    :"schema".record_applied(text, bigint, bigint, bigint, text, text, text, text, text, double precision, timestamptz),
    :"schema".recorded_at(text, bigint);
DROP SCHEMA :"schema";
