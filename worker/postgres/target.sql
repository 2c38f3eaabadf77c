-- name: survey
-- What this session is connected to, what is there, and how its role stands to it: one row, whatever is missing. $1 and
-- $2 are the version table's schema (null: the session's current one) and name, as text. The catalogue is asked, since
-- to_regclass() raises where the role lacks USAGE on the schema, and current_schemas() leaves such a schema out.
WITH path AS (
    SELECT
        CASE WHEN p.part[1] = '$user' THEN current_user::text ELSE coalesce(replace(p.part[1], '""', '"'), p.part[2]) END
            AS name,
        p.place
    FROM regexp_matches(
        -- The session's default: what is in force is Tidegate's own.
        (SELECT s.reset_val FROM pg_settings AS s WHERE s.name = 'search_path'), '"((?:[^"]|"")*)"|([^",\s]+)', 'g')
        WITH ORDINALITY AS p (part, place)
)
SELECT
    current_database()::text AS database,
    session_user::text AS login,
    current_user::text AS role,
    one.number AS server_version,
    one.schema,
    (SELECT o.nspname::text FROM path JOIN pg_namespace AS o ON o.nspname = path.name ORDER BY path.place LIMIT 1)
        AS first_of_path,
    (SELECT s.system_identifier FROM pg_control_system() AS s) AS system_identifier,
    d.oid::bigint AS database_oid,
    (SELECT k.timeline_id FROM pg_control_checkpoint() AS k) AS timeline,
    current_setting('synchronous_standby_names') <> '' AS has_standbys,
    -- PostgreSQL 17 brought it.
    nullif(current_setting('transaction_timeout', true), '0') AS transaction_timeout,
    t.oid IS NOT NULL AS has_table,
    h.oid IS NOT NULL AS has_control,
    EXISTS (SELECT FROM pg_class AS b WHERE b.relnamespace = c.oid AND b.relname = 'bundle') AS has_home,
    n.oid IS NOT NULL AS has_schema,
    c.oid IS NOT NULL AS has_control_schema,
    tr.rolname::text AS table_owner,
    coalesce(tr.rolsuper, false) AS is_superuser_table_owner,
    coalesce(pg_has_role(session_user, tr.oid, 'MEMBER'), false) AS is_member_table_owner,
    coalesce(pg_has_role(session_user, tr.oid, one.acting), false) AS may_act_as_table_owner,
    cr.rolname::text AS control_owner,
    coalesce(cr.rolsuper, false) AS is_superuser_control_owner,
    coalesce(pg_has_role(session_user, cr.oid, 'MEMBER'), false) AS is_member_control_owner,
    coalesce(pg_has_role(session_user, cr.oid, one.acting), false) AS may_act_as_control_owner,
    k.namesake AS namesake_schema,
    coalesce(has_schema_privilege(k.oid, 'USAGE'), false) AS may_use_namesake,
    has_database_privilege(d.oid, 'CREATE') AS may_create_schemas,
    coalesce(has_schema_privilege(c.oid, 'USAGE') AND has_schema_privilege(c.oid, 'CREATE'), false)
        AS may_create_in_control,
    coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE'), false)
        AS may_create_in_schema,
    coalesce(has_schema_privilege(c.oid, 'USAGE'), false) AND NOT EXISTS (
        SELECT FROM pg_class AS r
        WHERE r.relname IN ('fence', 'journal', 'ledger', 'readiness', 'target_version', 'home_version', 'bundle', 'target',
            'job') AND r.relnamespace = c.oid AND NOT has_table_privilege(r.oid, 'SELECT')
    ) AS may_read_control,
    NOT EXISTS (
        SELECT FROM (VALUES
            ('fence', 'INSERT'), ('fence', 'UPDATE'), ('journal', 'INSERT'), ('journal', 'UPDATE'), ('journal', 'DELETE'),
            ('ledger', 'INSERT'), ('ledger', 'DELETE'), ('history', 'INSERT'), ('readiness', 'INSERT'),
            ('readiness', 'UPDATE'), ('bundle', 'INSERT'), ('bundle', 'UPDATE'), ('bundle_file', 'INSERT'),
            ('target', 'INSERT'), ('target', 'UPDATE'), ('job', 'INSERT'), ('job', 'UPDATE'), ('job_event', 'INSERT')
        ) AS needed (name, privilege)
        JOIN pg_class AS r ON r.relname = needed.name AND r.relnamespace = c.oid
        WHERE NOT has_table_privilege(r.oid, needed.privilege)
    ) AND NOT EXISTS (
        SELECT FROM pg_proc AS p
        WHERE p.proname IN ('hold_fence', 'record_applied', 'recorded_at') AND p.pronamespace = c.oid
            AND NOT has_function_privilege(p.oid, 'EXECUTE')
    ) AS may_write_control,
    coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(t.oid, 'SELECT'), false) AS may_read_table,
    coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(t.oid, 'SELECT')
        AND has_table_privilege(t.oid, 'INSERT') AND has_table_privilege(t.oid, 'DELETE'), false) AS may_write_table,
    -- Whether something there may be an intruder, for which another query asks.
    :strangers OR coalesce(t.relhastriggers OR t.relhasrules OR t.relrowsecurity, false) AS may_have_intruders
FROM (
    SELECT
        coalesce($1, (
            SELECT o.nspname::text FROM path JOIN pg_namespace AS o ON o.nspname = path.name
            WHERE has_schema_privilege(o.oid, 'USAGE') ORDER BY path.place LIMIT 1
        )) AS schema,
        current_setting('server_version_num')::int AS number,
        -- From PostgreSQL 16 on a member may act as a role only where the membership has the SET option.
        CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END AS acting
) AS one
JOIN pg_database AS d ON d.datname = current_database()
LEFT JOIN pg_namespace AS n ON n.nspname = one.schema
LEFT JOIN pg_class AS t ON t.relnamespace = n.oid AND t.relname = $2
LEFT JOIN pg_namespace AS c ON c.nspname = :'schema'
LEFT JOIN pg_class AS h ON h.relnamespace = c.oid AND h.relname = 'target_version'
LEFT JOIN pg_roles AS tr ON tr.oid = t.relowner
LEFT JOIN pg_roles AS cr ON cr.oid = coalesce(h.relowner, c.nspowner)
LEFT JOIN LATERAL (
    SELECT o.oid, o.nspname::text AS namesake
    FROM path
    JOIN pg_namespace AS o ON o.nspname = path.name
    JOIN pg_class AS r ON r.relnamespace = o.oid AND r.relname = $2
    WHERE $1 IS NULL AND t.oid IS NULL AND o.nspname <> one.schema
    ORDER BY path.place LIMIT 1
) AS k ON true;

-- name: intruders
-- What runs by itself where the worker reads or writes, or is called by it, and is not Tidegate's own: what it is, and
-- the SQL that removes it. $1 and $2 are the version table's schema and name.
WITH control AS (
    SELECT c.oid, c.nspname, c.nspowner, coalesce(h.relowner, c.nspowner) AS owner
    FROM pg_namespace AS c LEFT JOIN pg_class AS h ON h.relnamespace = c.oid AND h.relname = 'target_version'
    WHERE c.nspname = :'schema'
), inside AS (
    SELECT d.classid, d.objid FROM control AS c
    JOIN pg_depend AS d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = c.oid
), relation AS (
    SELECT r.oid, r.relowner, r.relrowsecurity, true AS is_ours, format('%I.%I', c.nspname, r.relname) AS name,
        CASE WHEN r.relname IN ('bundle', 'bundle_file') THEN format('%I.%I', c.nspname, 'guard_' || r.relname) END AS guard
    FROM control AS c CROSS JOIN inside AS d
    JOIN pg_class AS r ON d.classid = 'pg_class'::regclass AND r.oid = d.objid AND r.relkind <> 'c'
    UNION ALL
    SELECT t.oid, t.relowner, t.relrowsecurity, false, format('%I.%I', n.nspname, t.relname), NULL
    FROM pg_namespace AS n JOIN pg_class AS t ON t.relnamespace = n.oid AND t.relname = $2
    WHERE n.nspname = $1 AND n.nspname <> :'schema'
)
-- A trigger on the version table may be a person's own; what another role would have the worker run is not. Whoever has
-- the TRIGGER privilege can name a function that is not theirs, and have another one run by the trigger's condition, or
-- replace a trigger. 31 is a row's, before INSERT, UPDATE and DELETE; 34 a statement's, before TRUNCATE.
SELECT format('trigger %I on %s', g.tgname, r.name) AS what,
    CASE WHEN r.guard IS NULL OR g.tgname NOT IN ('tidegate_rows', 'tidegate_whole')
        THEN format('DROP TRIGGER %I ON %s;', g.tgname, r.name)
        ELSE format('CREATE OR REPLACE TRIGGER %I BEFORE %s EXECUTE FUNCTION %s();', g.tgname,
            format(CASE g.tgname WHEN 'tidegate_rows' THEN 'INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW'
                ELSE 'TRUNCATE ON %s FOR EACH STATEMENT' END, r.name), r.guard)
        END AS sql
FROM relation AS r
JOIN pg_trigger AS g ON g.tgrelid = r.oid AND NOT g.tgisinternal
JOIN pg_proc AS p ON p.oid = g.tgfoid
JOIN pg_roles AS w ON w.oid = p.proowner
LEFT JOIN control AS c ON r.is_ours
WHERE g.tgqual IS NOT NULL OR NOT CASE WHEN r.is_ours
    THEN p.pronamespace = c.oid AND p.proowner = r.relowner AND g.tgname ^@ 'tidegate_' AND p.proname ^@ 'guard_'
        AND CASE g.tgname WHEN 'tidegate_rows' THEN g.tgtype = 31 WHEN 'tidegate_whole' THEN g.tgtype = 34 ELSE true END
    ELSE p.proowner = r.relowner OR w.rolsuper END
UNION ALL
SELECT format('rule %I on %s', w.rulename, r.name), format('DROP RULE %I ON %s;', w.rulename, r.name)
FROM relation AS r JOIN pg_rewrite AS w ON w.ev_class = r.oid AND w.rulename <> '_RETURN'
UNION ALL
SELECT format('row security on %s', r.name), format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY;', r.name)
FROM relation AS r WHERE r.relrowsecurity
UNION ALL
SELECT format('%s of role %s', r.name, pg_get_userbyid(r.relowner)),
    format('ALTER TABLE %s OWNER TO %I;', r.name, pg_get_userbyid(c.owner))
FROM relation AS r CROSS JOIN control AS c WHERE r.is_ours AND r.relowner NOT IN (c.nspowner, c.owner)
UNION ALL
SELECT format('function %s of role %s', p.oid::regprocedure, pg_get_userbyid(p.proowner)),
    format('DROP FUNCTION %s;', p.oid::regprocedure)
FROM control AS c CROSS JOIN inside AS d
JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
WHERE p.proowner NOT IN (c.nspowner, c.owner)
ORDER BY 1;

-- name: namesakes
-- What lies in the control schema under one of these names: one of it. $1: the names.
SELECT i.type AS kind, i.identity AS name, pg_get_userbyid(r.relowner)::text AS owner
FROM pg_class AS r
JOIN pg_namespace AS n ON n.oid = r.relnamespace AND n.nspname = :'schema'
CROSS JOIN LATERAL pg_identify_object('pg_class'::regclass, r.oid, 0) AS i
WHERE r.relname = ANY ($1::text[])
ORDER BY i.type DESC, r.relname LIMIT 1;

-- name: control_versions
-- The highest control migration applied, of each half.
SELECT
    (SELECT max(version) FROM :"schema".target_version) AS target_half,
    (SELECT max(version) FROM :"schema".home_version) AS home_half;

-- name: observe
-- Everything that planning needs of the target half, in one row. $1: target; :version_table is its table.
SELECT
    v.version AS v_version, v.dirty AS v_dirty,
    l.versions::text[] AS l_versions, l.names AS l_names, l.checksums AS l_checksums,
    j.version AS j_version, j.direction AS j_direction, j.done AS j_done, j.cut AS j_cut, j.cut_pid AS j_cut_pid,
    j.cut_at AS j_cut_at,
    r.target AS r_target, r.bundle AS r_bundle, r.versions::text[] AS r_versions, r.lowest_pending AS r_lowest_pending,
    r.deferred::text[] AS r_deferred, r.bundles AS r_bundles, r.serves AS r_serves, r.version_table AS r_version_table,
    r.system_identifier AS r_system, r.database_oid AS r_database, r.epoch AS r_epoch,
    f.epoch AS f_epoch, f.pinned AS f_pinned, f.pinned_at AS f_pinned_at
FROM (
    SELECT
        coalesce(array_agg(version ORDER BY version), '{}') AS versions,
        coalesce(array_agg(name ORDER BY version), '{}') AS names,
        coalesce(array_agg(checksum ORDER BY version), '{}') AS checksums
    FROM :"schema".ledger WHERE target = $1
) AS l
LEFT JOIN LATERAL (
    SELECT
        version, direction,
        coalesce(array_agg(digest ORDER BY segment) FILTER (WHERE state = 'done'), '{}') AS done,
        min(digest) FILTER (WHERE state = 'intent') AS cut,
        min(backend_pid) FILTER (WHERE state = 'intent') AS cut_pid,
        min(at) FILTER (WHERE state = 'intent') AS cut_at
    FROM :"schema".journal WHERE target = $1 GROUP BY version, direction ORDER BY max(at) DESC LIMIT 1
) AS j ON true
LEFT JOIN LATERAL (SELECT version, dirty FROM :version_table ORDER BY version DESC LIMIT 1) AS v ON true
LEFT JOIN :"schema".readiness AS r ON r.target = $1
LEFT JOIN :"schema".fence AS f ON f.target = $1;

-- name: try_raising
-- Try the keys of a target's lock, and raise its epoch if all were got. :tried is the query that tries them, :all how
-- many there are. $1 and $2 as in raise_fence. Where there is a row its newest version is raised, seen before or not.
WITH tried (got) AS MATERIALIZED (:tried), raised AS (
    INSERT INTO :"schema".fence AS f (target, epoch, worker, backend_pid)
    SELECT $1::text, 1, $2::text, pg_backend_pid() FROM tried WHERE got = :all
    ON CONFLICT (target) DO UPDATE
    SET epoch = f.epoch + 1, worker = excluded.worker, backend_pid = excluded.backend_pid, raised_at = clock_timestamp()
    RETURNING epoch
)
SELECT tried.got, raised.epoch FROM tried LEFT JOIN raised ON true;

-- name: readiness
-- The readiness row alone, with this server's identity: all that a gate may read. $1: target, null for the only one.
-- Everything is qualified, operators too: see the queries of a gate's surroundings. The driver knows text[] without
-- asking the server about it, in words that are not qualified.
SELECT
    r.target AS r_target, r.bundle AS r_bundle, r.versions::pg_catalog.text[] AS r_versions,
    r.lowest_pending AS r_lowest_pending, r.deferred::pg_catalog.text[] AS r_deferred, r.bundles AS r_bundles,
    r.serves AS r_serves, r.version_table AS r_version_table,
    r.system_identifier AS r_system, r.database_oid AS r_database, r.epoch AS r_epoch,
    (SELECT c.system_identifier FROM pg_catalog.pg_control_system() AS c) AS here_system,
    (SELECT d.oid::bigint FROM pg_catalog.pg_database AS d
        WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) AS here_database
FROM :"schema".readiness AS r
WHERE $1::pg_catalog.text IS NULL OR r.target OPERATOR(pg_catalog.=) $1;

-- name: raise_fence
-- Take over the target: whatever was begun with an older epoch cannot commit any more. It waits for a fenced transaction
-- that is under way. $1: target, $2: worker.
INSERT INTO :"schema".fence AS f (target, epoch, worker, backend_pid)
VALUES ($1, 1, $2, pg_backend_pid())
ON CONFLICT (target) DO UPDATE
SET epoch = f.epoch + 1, worker = excluded.worker, backend_pid = excluded.backend_pid, raised_at = clock_timestamp()
RETURNING epoch;

-- name: rehearse
-- Have the functions compiled that a migration's records go through. There is no such epoch, so that they end before they
-- write or lock anything; an error that is caught is in no server's log.
SET LOCAL lock_timeout = 100;
DO $rehearsal$
BEGIN
    PERFORM :"schema".record_applied('', 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
EXCEPTION WHEN SQLSTATE 'TG001' OR insufficient_privilege OR lock_not_available THEN
    NULL;
END
$rehearsal$;

-- name: epoch
-- The target's current epoch. $1: target.
SELECT epoch FROM :"schema".fence WHERE target = $1;

-- name: lock_holder
-- Who holds one of these advisory keys in this database. $1: keys. Of another role's session a role without
-- pg_read_all_stats sees neither the address nor the start.
SELECT
    a.usename::text AS role, coalesce(a.application_name, '') AS application,
    CASE WHEN a.backend_start IS NULL THEN 'unknown' ELSE coalesce(host(a.client_addr), 'local') END AS address,
    l.pid, a.backend_start AS since
FROM pg_locks AS l
JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
    AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
    AND ((l.classid::bigint << 32) | l.objid::bigint) = ANY ($1::text[]::bigint[])
    AND l.pid <> pg_backend_pid()
ORDER BY l.pid
LIMIT 1;

-- name: rivals
-- Other tables of golang-migrate's shape whose name says so, and the targets that have a ledger here (:known).
SELECT n.nspname::text AS schema, c.relname::text AS table, :known AS known
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
    AND c.relname LIKE '%migrations%'
    AND n.nspname <> :'schema'
    AND has_table_privilege(c.oid, 'SELECT')
    AND EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'version'
                AND a.atttypid = 'int8'::regtype AND NOT a.attisdropped)
    AND EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'dirty'
                AND a.atttypid = 'bool'::regtype AND NOT a.attisdropped)
ORDER BY 1, 2;

-- name: known_targets
-- Every target that has a ledger here, as an array.
ARRAY(SELECT DISTINCT target FROM :"schema".ledger)

-- name: write_readiness
-- State what the target is ready for, and tell the gates. $1: target to $12: worker, $13: channel.
INSERT INTO :"schema".readiness (
    target, bundle, versions, lowest_pending, deferred, bundles, serves, version_table,
    system_identifier, database_oid, epoch, worker)
VALUES ($1, $2, $3::text[]::bigint[], $4, $5::text[]::bigint[], $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (target) DO UPDATE SET
    bundle = excluded.bundle, versions = excluded.versions, lowest_pending = excluded.lowest_pending,
    deferred = excluded.deferred, bundles = excluded.bundles, serves = excluded.serves,
    version_table = excluded.version_table, system_identifier = excluded.system_identifier,
    database_oid = excluded.database_oid, epoch = excluded.epoch, worker = excluded.worker,
    set_at = clock_timestamp()
RETURNING pg_notify($13, target);

-- name: stated
-- When the readiness row was written. $1: target.
SELECT set_at FROM :"schema".readiness WHERE target = $1;

-- name: since_wanted
-- The seconds from when the bundle became wanted to what the readiness row states. $1: target, $2: when.
SELECT extract(epoch FROM set_at - $2::timestamptz)::float8 FROM :"schema".readiness WHERE target = $1;

-- name: adopt
-- Take over versions that the version table implies. $1: target, $2: bundle, $3: worker, $4: epoch,
-- $5, $6, $7: versions, names, checksums, $8: origin, $9: action.
WITH taken AS (
    INSERT INTO :"schema".ledger (target, version, name, checksum, bundle, origin, mode, worker, epoch)
    SELECT $1, u.version, u.name, u.checksum, $2, $8, 'assumed', $3, $4
    FROM unnest($5::text[]::bigint[], $6::text[], $7::text[]) AS u (version, name, checksum)
    RETURNING target, version, name, checksum, bundle, mode, worker, epoch
)
INSERT INTO :"schema".history (target, version, name, action, checksum, bundle, mode, worker, epoch)
SELECT target, version, name, $9, checksum, bundle, mode, worker, epoch FROM taken;

-- name: forget_above
-- Take versions above $2 out of the ledger. $1: target, $3: worker, $4: epoch, $5: action, $6: mode.
WITH gone AS (
    DELETE FROM :"schema".ledger WHERE target = $1 AND version > $2
    RETURNING target, version, name, checksum, bundle
)
INSERT INTO :"schema".history (target, version, name, action, checksum, bundle, mode, worker, epoch)
SELECT target, version, name, $5, checksum, bundle, $6, $3, $4 FROM gone ORDER BY version DESC;

-- name: accept
-- Record other checksums of applied versions, and why. $1: target, $2: bundle, $3: worker, $4: epoch, $5: versions,
-- $6: checksums, $7: why.
WITH changed AS (
    UPDATE :"schema".ledger AS l SET checksum = u.checksum, bundle = $2
    FROM unnest($5::text[]::bigint[], $6::text[]) AS u (version, checksum)
    WHERE l.target = $1 AND l.version = u.version
    RETURNING l.target, l.version, l.name, l.checksum, l.bundle
)
INSERT INTO :"schema".history (target, version, name, action, checksum, bundle, mode, worker, epoch, note)
SELECT target, version, name, 'repair', checksum, bundle, 'accepted', $3, $4, $7 FROM changed ORDER BY version;

-- name: recorded_from
-- The bundle that each applied version was recorded from. $1: target.
SELECT version, bundle FROM :"schema".ledger WHERE target = $1;

-- name: durations
-- How long these versions took, as far as they are applied. $1: target, $2: versions, $3: epoch.
SELECT version, duration_ms FROM :"schema".ledger
WHERE target = $1 AND version = ANY ($2::text[]::bigint[]) AND epoch = $3;

-- name: answer
-- Take a person's word for what became of a segment. $1: target, $2: version, $3: direction, $4: segment, $5: its state
-- from now on, $6: the answer, $7: worker, $8: epoch.
WITH told AS (
    UPDATE :"schema".journal SET state = $5, epoch = $8, backend_pid = pg_backend_pid(), at = clock_timestamp()
    WHERE target = $1 AND version = $2 AND direction = $3 AND segment = $4 AND state = 'intent'
    RETURNING target, version, segment
)
INSERT INTO :"schema".history (target, version, name, action, bundle, mode, worker, epoch)
SELECT target, version, format('segment %s', segment + 1), 'answer', '', $6, $7, $8 FROM told;

-- name: clear_journal
-- Forget what was under way. $1: target.
DELETE FROM :"schema".journal WHERE target = $1;

-- name: history
-- What was done to a target, newest first; a control schema that is older has no notes. $1: target, $2: limit.
SELECT version, name, action, bundle, mode, at, role, worker, duration_ms, epoch, to_jsonb(h) ->> 'note' AS note
FROM :"schema".history AS h WHERE target = $1 ORDER BY id DESC LIMIT $2;

-- name: missing_readers
-- Which of these roles lack what the gate needs. $1: role names.
SELECT u.role
FROM unnest($1::text[]) AS u (role)
JOIN pg_roles AS r ON r.rolname = u.role
JOIN pg_namespace AS n ON n.nspname = :'schema'
JOIN pg_class AS t ON t.relnamespace = n.oid AND t.relname = 'readiness'
WHERE NOT (has_schema_privilege(r.oid, n.oid, 'USAGE') AND has_table_privilege(r.oid, t.oid, 'SELECT'));

-- name: strangers
-- Whether there may be an intruder on the control schema's namespace c, which belongs to :owner: somebody else's object,
-- or a trigger, rule or row security that is not ours.
EXISTS (
    SELECT FROM pg_depend AS e
    LEFT JOIN pg_class AS r ON e.classid = 'pg_class'::regclass AND r.oid = e.objid AND r.relkind <> 'c'
    LEFT JOIN pg_proc AS p ON e.classid = 'pg_proc'::regclass AND p.oid = e.objid
    WHERE e.refclassid = 'pg_namespace'::regclass AND e.refobjid = c.oid AND (
        coalesce(r.relowner, p.proowner) NOT IN (c.nspowner, :owner)
        OR r.relrowsecurity OR r.relhasrules AND r.relkind <> 'v'
        OR r.relhastriggers AND EXISTS (
            SELECT FROM pg_trigger AS g JOIN pg_proc AS q ON q.oid = g.tgfoid
            WHERE g.tgrelid = r.oid AND NOT g.tgisinternal AND NOT (
                r.relname IN ('bundle', 'bundle_file') AND q.pronamespace = c.oid AND q.proname = 'guard_' || r.relname
                AND g.tgqual IS NULL AND (g.tgname, g.tgtype) IN (('tidegate_rows', 31), ('tidegate_whole', 34)))))
)
