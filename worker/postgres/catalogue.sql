-- name: state
-- Whether the fingerprint can be compared with the catalogue: what it was taken of, and what the ledgers and this server
-- say now. One row; `bundle` is null where there is no fingerprint yet.
SELECT
    f.bundle, f.taken_at, f.ledger, now.ledger AS ledger_now,
    EXISTS (SELECT FROM :"schema".journal) AS half_done,
    EXISTS (SELECT FROM :"schema".fingerprint_object WHERE right_until IS NOT NULL) AS marked,
    f.system_identifier = c.system_identifier AND f.database_oid = d.oid::bigint
        AND f.server_version = current_setting('server_version_num')::int / 10000 AS same_server,
    -- Half the numbers that a row's xid tells apart are far away.
    coalesce(f.xmin = k.taken_in::xid AND e.extent = k.extent AND e.youngest > age(k.horizon::xid)
        AND pg_snapshot_xmax(pg_current_snapshot())::text::numeric - k.horizon::text::numeric BETWEEN 0 AND 1000000000, false)
        AS unchanged
FROM (:ledger) AS now
CROSS JOIN (:extent) AS e
CROSS JOIN pg_control_system() AS c
JOIN pg_database AS d ON d.datname = current_database()
LEFT JOIN :"schema".fingerprint AS f ON true
-- An older control schema has no such columns.
CROSS JOIN LATERAL jsonb_to_record(to_jsonb(f)) AS k (horizon xid8, extent bigint, taken_in xid8);

-- name: ledger
-- A digest of what is applied, of all targets but the control schema's own two.
SELECT md5(coalesce(string_agg(l.target || ' ' || l.version, ',' ORDER BY l.target COLLATE "C", l.version), '')) AS ledger
FROM :"schema".ledger AS l
WHERE l.target NOT IN (:'schema' || '.target_version', :'schema' || '.home_version')

-- name: extent
-- How many rows of the system's catalogues the catalogue below is made of, and by how many transactions the youngest one
-- is behind. Who adds or changes something writes a row, and who drops something leaves fewer. Rows of what the server
-- brings are not counted, but where few are, nor the server's own bookkeeping, which changes a row in its place. A role's
-- name is in no catalogue that everybody may read: where a policy names one, nothing is old enough. What a superuser takes
-- out of pg_catalog is not seen until something else changes.
SELECT sum(r.extent)::bigint AS extent, min(r.youngest) AS youngest FROM (
    SELECT count(*) AS extent, min(age(xmin)) AS youngest FROM pg_class WHERE oid >= 16384
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_attribute WHERE attrelid >= 16384
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_attrdef
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_constraint WHERE oid >= 16384
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_index WHERE indexrelid >= 16384
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_type WHERE oid >= 16384
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_aggregate WHERE aggfnoid::oid >= 16384
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_rewrite WHERE oid >= 16384
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_depend WHERE refclassid = 'pg_extension'::regclass
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_operator WHERE oid >= 16384
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_opclass WHERE oid >= 16384
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_collation WHERE oid >= 16384
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_ts_config WHERE oid >= 16384
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_ts_dict WHERE oid >= 16384
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_namespace
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_extension
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_inherits
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_sequence
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_trigger
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_policy
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_statistic_ext
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_enum
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_range
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_language
    UNION ALL SELECT count(*), min(age(xmin)) FROM pg_am
    UNION ALL SELECT 0, 0 FROM pg_policy WHERE polroles <> '{0}'
    UNION ALL SELECT count(*), NULL FROM :"schema".fence
) AS r

-- name: catalogue
-- Every object of the database that a migration may have made: kind, name and parts, without any OID. Left out are the
-- server's own schemas, every control schema, the version tables, what belongs to an extension, partitions and what hangs
-- on them, temporary relations, and what a REINDEX CONCURRENTLY builds just now. A name of pg_catalog stands bare and any
-- other one with its schema, as long as the search_path is pg_catalog alone.
WITH member AS MATERIALIZED (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), space AS MATERIALIZED (
    SELECT n.oid, n.nspname, quote_ident(n.nspname) AS name
    FROM pg_namespace AS n
    WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', :'schema')
        AND NOT EXISTS (SELECT FROM member AS m WHERE m.classid = 'pg_namespace'::regclass AND m.objid = n.oid)
        AND NOT EXISTS (SELECT FROM pg_class AS c WHERE c.relnamespace = n.oid AND c.relname = 'target_version')
), version_table AS MATERIALIZED (
    SELECT p.part[1] AS schema, p.part[2] AS name
    FROM :"schema".fence AS f CROSS JOIN LATERAL (SELECT parse_ident(f.target) AS part) AS p
), relation AS MATERIALIZED (
    SELECT
        c.oid, c.relkind, s.name AS space, s.name || '.' || quote_ident(c.relname) AS name, c.relpersistence, c.reltype,
        c.relrowsecurity, c.relforcerowsecurity, c.relreplident, array_to_string(c.reloptions, ', ') AS options
    FROM pg_class AS c
    JOIN space AS s ON s.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S', 'c') AND c.relpersistence <> 't' AND NOT c.relispartition
        AND NOT EXISTS (SELECT FROM member AS m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
        AND NOT EXISTS (SELECT FROM version_table AS v WHERE v.schema = s.nspname AND v.name = c.relname)
)
SELECT 'schema' AS kind, s.name, '{}'::jsonb AS parts FROM space AS s
UNION ALL
SELECT 'extension', quote_ident(e.extname), jsonb_build_object('schema', n.nspname)
FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
UNION ALL
SELECT 'table', r.name, jsonb_strip_nulls(jsonb_build_object(
    'form', CASE r.relkind WHEN 'p' THEN 'partitioned' WHEN 'f' THEN 'foreign' ELSE 'plain' END,
    'logged', CASE r.relpersistence WHEN 'u' THEN 'no' ELSE 'yes' END,
    'partitioned by', CASE WHEN r.relkind = 'p' THEN pg_get_partkeydef(r.oid) END,
    'inherits', (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno)
                 FROM pg_inherits AS i WHERE i.inhrelid = r.oid),
    'row security', CASE WHEN r.relforcerowsecurity THEN 'forced' WHEN r.relrowsecurity THEN 'on' ELSE 'off' END,
    'replica identity', CASE r.relreplident WHEN 'd' THEN 'default' WHEN 'n' THEN 'nothing' WHEN 'f' THEN 'full'
                        ELSE (SELECT i.indexrelid::regclass::text FROM pg_index AS i
                              WHERE i.indrelid = r.oid AND i.indisreplident) END))
FROM relation AS r WHERE r.relkind IN ('r', 'p', 'f')
UNION ALL
SELECT 'column', r.name || '.' || quote_ident(a.attname), jsonb_strip_nulls(jsonb_build_object(
    'on', r.name,
    'type', format_type(a.atttypid, a.atttypmod),
    'not null', CASE WHEN a.attnotnull THEN 'yes' ELSE 'no' END,
    'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
    'generated', CASE a.attgenerated WHEN 's' THEN 'stored ' WHEN 'v' THEN 'virtual ' END || pg_get_expr(d.adbin, d.adrelid),
    'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END,
    'collation', CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END))
FROM relation AS r
JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef AS d ON d.adrelid = r.oid AND d.adnum = a.attnum
WHERE r.relkind IN ('r', 'p', 'f')
UNION ALL
-- From PostgreSQL 18 on NOT NULL is a constraint too: here it is the column's. A foreign key to a partitioned table has
-- one more row for each partition, with a parent.
SELECT 'constraint', r.name || '.' || quote_ident(k.conname), jsonb_build_object(
    'on', r.name,
    'definition', regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', ''),
    'valid', CASE WHEN k.convalidated THEN 'yes' ELSE 'no' END)
FROM pg_constraint AS k JOIN relation AS r ON r.oid = k.conrelid
WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND k.conparentid = 0
UNION ALL
SELECT 'index', r.space || '.' || quote_ident(c.relname), jsonb_build_object(
    'on', r.name,
    'definition', pg_get_indexdef(i.indexrelid),
    'valid', CASE WHEN i.indisvalid AND i.indisready THEN 'yes' ELSE 'no' END)
FROM pg_index AS i
JOIN relation AS r ON r.oid = i.indrelid
JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE (i.indisvalid OR c.relname !~ '_cc(new|old)[0-9]*$')
    AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
UNION ALL
SELECT CASE r.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, r.name, jsonb_strip_nulls(jsonb_build_object(
    'definition', pg_get_viewdef(r.oid),
    'columns', (SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', '
                                  ORDER BY a.attnum)
                FROM pg_attribute AS a WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped),
    'options', r.options))
FROM relation AS r WHERE r.relkind IN ('v', 'm')
UNION ALL
SELECT 'sequence', r.name, jsonb_strip_nulls(jsonb_build_object(
    'on', o.name,
    'type', format_type(q.seqtypid, NULL),
    'start', q.seqstart::text, 'increment', q.seqincrement::text, 'minimum', q.seqmin::text, 'maximum', q.seqmax::text,
    'cache', q.seqcache::text, 'cycle', CASE WHEN q.seqcycle THEN 'yes' ELSE 'no' END))
FROM relation AS r
JOIN pg_sequence AS q ON q.seqrelid = r.oid
LEFT JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
    AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
LEFT JOIN relation AS o ON o.oid = d.refobjid
WHERE r.relkind = 'S' AND (d.refobjid IS NULL OR o.oid IS NOT NULL)
UNION ALL
SELECT 'trigger', r.name || '.' || quote_ident(t.tgname), jsonb_build_object(
    'on', r.name,
    'definition', pg_get_triggerdef(t.oid),
    'enabled', CASE t.tgenabled WHEN 'O' THEN 'yes' WHEN 'D' THEN 'no' WHEN 'R' THEN 'on a replica' ELSE 'always' END)
FROM pg_trigger AS t JOIN relation AS r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
UNION ALL
SELECT 'rule', r.name || '.' || quote_ident(w.rulename), jsonb_build_object(
    'on', r.name, 'definition', pg_get_ruledef(w.oid), 'enabled', w.ev_enabled::text)
FROM pg_rewrite AS w JOIN relation AS r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'
UNION ALL
SELECT 'policy', r.name || '.' || quote_ident(p.polname), jsonb_strip_nulls(jsonb_build_object(
    'on', r.name,
    'command', CASE p.polcmd WHEN 'r' THEN 'select' WHEN 'a' THEN 'insert' WHEN 'w' THEN 'update' WHEN 'd' THEN 'delete'
               ELSE 'all' END,
    'permissive', CASE WHEN p.polpermissive THEN 'yes' ELSE 'no' END,
    'roles', (SELECT string_agg(u.name, ', ' ORDER BY u.name) FROM (
        SELECT CASE o.role WHEN 0 THEN 'public' ELSE pg_get_userbyid(o.role)::text END AS name
        FROM unnest(p.polroles) AS o (role)) AS u),
    'using', pg_get_expr(p.polqual, p.polrelid),
    'check', pg_get_expr(p.polwithcheck, p.polrelid)))
FROM pg_policy AS p JOIN relation AS r ON r.oid = p.polrelid
UNION ALL
SELECT 'statistics', s.name || '.' || quote_ident(x.stxname), jsonb_build_object(
    'on', r.name, 'definition', pg_get_statisticsobjdef(x.oid))
FROM pg_statistic_ext AS x JOIN relation AS r ON r.oid = x.stxrelid JOIN space AS s ON s.oid = x.stxnamespace
UNION ALL
SELECT 'type', s.name || '.' || quote_ident(t.typname), jsonb_strip_nulls(jsonb_build_object(
    'form', CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'r' THEN 'range' ELSE 'composite' END,
    'labels', (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
               FROM pg_enum AS e WHERE e.enumtypid = t.oid),
    'type', CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod)
            WHEN 'r' THEN (SELECT format_type(g.rngsubtype, NULL) FROM pg_range AS g WHERE g.rngtypid = t.oid) END,
    'not null', CASE WHEN t.typtype = 'd' THEN CASE WHEN t.typnotnull THEN 'yes' ELSE 'no' END END,
    'default', CASE WHEN t.typtype = 'd' THEN t.typdefault END,
    'checks', (SELECT string_agg(quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid), ', ' ORDER BY k.conname)
               FROM pg_constraint AS k WHERE k.contypid = t.oid AND k.contype = 'c'),
    'columns', CASE WHEN t.typtype = 'c' THEN (
        SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
        FROM pg_attribute AS a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) END))
FROM pg_type AS t
JOIN space AS s ON s.oid = t.typnamespace
WHERE (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND EXISTS (
        SELECT FROM relation AS r WHERE r.oid = t.typrelid AND r.relkind = 'c'))
    AND NOT EXISTS (SELECT FROM member AS m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)
UNION ALL
SELECT
    CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
    s.name || '.' || quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')',
    jsonb_strip_nulls(jsonb_build_object(
        'arguments', pg_get_function_arguments(p.oid),
        'result', pg_get_function_result(p.oid),
        'language', l.lanname,
        -- A body is told by its digest: it can be long, and the server keeps it as it was written.
        'body', md5(p.prosrc || coalesce(p.probin, '') || coalesce((
            SELECT concat_ws(' ', g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggtranstype::regtype, g.agginitval)
            FROM pg_aggregate AS g WHERE g.aggfnoid = p.oid), '')),
        'statements', pg_get_function_sqlbody(p.oid),
        'volatility', CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END,
        'parallel', CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END,
        'strict', CASE WHEN p.proisstrict THEN 'yes' ELSE 'no' END,
        'leakproof', CASE WHEN p.proleakproof THEN 'yes' ELSE 'no' END,
        'security', CASE WHEN p.prosecdef THEN 'definer' ELSE 'invoker' END,
        'settings', array_to_string(p.proconfig, ', ')))
FROM pg_proc AS p
JOIN space AS s ON s.oid = p.pronamespace
JOIN pg_language AS l ON l.oid = p.prolang
WHERE NOT EXISTS (SELECT FROM member AS m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
    -- The constructors of a range type come and go with it.
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                    AND d.deptype = 'i' AND d.refclassid = 'pg_type'::regclass)

-- name: differences
-- What the catalogue and the fingerprint do not agree on; `was` is null for what is not to be, `now` for what is gone.
SELECT
    coalesce(n.kind, f.kind) AS kind, coalesce(n.name, f.name) AS name,
    f.parts::text AS was, n.parts::text AS now, f.right_until
FROM (:catalogue) AS n
FULL JOIN :"schema".fingerprint_object AS f ON f.kind = n.kind AND f.name = n.name
WHERE n.parts IS DISTINCT FROM f.parts
ORDER BY 1, 2;

-- name: marks
-- What was otherwise than it is right when a job began, and as what it was found; null where it was not there.
SELECT kind, name, found::text AS found FROM :"schema".fingerprint_object WHERE right_until IS NOT NULL;

-- name: mark
-- Remember these as otherwise, and no others. $1: kinds, $2: names, $3: as what they were found, $4: the bundle after
-- which those that are new to it were last right.
WITH given AS (
    SELECT u.kind, u.name, u.found::jsonb AS found FROM unnest($1::text[], $2::text[], $3::text[]) AS u (kind, name, found)
), gone AS (
    DELETE FROM :"schema".fingerprint_object AS f
    WHERE f.parts IS NULL AND NOT EXISTS (SELECT FROM given AS g WHERE g.kind = f.kind AND g.name = f.name)
), right_again AS (
    UPDATE :"schema".fingerprint_object AS f SET found = NULL, right_until = NULL
    WHERE f.right_until IS NOT NULL AND f.parts IS NOT NULL
        AND NOT EXISTS (SELECT FROM given AS g WHERE g.kind = f.kind AND g.name = f.name)
)
INSERT INTO :"schema".fingerprint_object AS f (kind, name, found, right_until)
SELECT g.kind, g.name, g.found, $4 FROM given AS g
ON CONFLICT (kind, name) DO UPDATE
SET found = excluded.found, right_until = coalesce(f.right_until, excluded.right_until);

-- name: hold
-- Let one job at a time take the catalogue: targets that share a database have one fingerprint.
LOCK TABLE :"schema".fingerprint IN SHARE ROW EXCLUSIVE MODE;

-- name: take
-- Take the catalogue as right as it is, but for what stays as it was marked, and say after which bundle that was, and of
-- what: in one statement, so that of another target's migration both the objects and the ledger row are seen, or neither.
-- $1: kinds and $2: names of what stays, $3: bundle, $4: target, $5: epoch, $6: worker.
WITH now AS MATERIALIZED (:catalogue), kept AS (
    SELECT u.kind, u.name FROM unnest($1::text[], $2::text[]) AS u (kind, name)
), gone AS (
    DELETE FROM :"schema".fingerprint_object AS f
    WHERE NOT EXISTS (SELECT FROM now AS n WHERE n.kind = f.kind AND n.name = f.name)
        AND NOT EXISTS (SELECT FROM kept AS k WHERE k.kind = f.kind AND k.name = f.name)
), taken AS (
    INSERT INTO :"schema".fingerprint_object AS f (kind, name, parts)
    SELECT n.kind, n.name, n.parts
    FROM now AS n
    LEFT JOIN :"schema".fingerprint_object AS o ON o.kind = n.kind AND o.name = n.name
    WHERE (o.parts IS DISTINCT FROM n.parts OR o.right_until IS NOT NULL)
        AND NOT EXISTS (SELECT FROM kept AS k WHERE k.kind = n.kind AND k.name = n.name)
    ON CONFLICT (kind, name) DO UPDATE SET parts = excluded.parts, found = NULL, right_until = NULL
)
INSERT INTO :"schema".fingerprint AS f (
    bundle, target, ledger, system_identifier, database_oid, server_version, epoch, worker, horizon, extent,
    taken_in)
SELECT
    $3, $4, l.ledger, c.system_identifier, d.oid::bigint, current_setting('server_version_num')::int / 10000, $5, $6,
    pg_snapshot_xmin(pg_current_snapshot()), e.extent, pg_current_xact_id()
FROM (:ledger) AS l
CROSS JOIN (:extent) AS e
CROSS JOIN pg_control_system() AS c
JOIN pg_database AS d ON d.datname = current_database()
ON CONFLICT (one) DO UPDATE SET
    bundle = excluded.bundle, target = excluded.target, ledger = excluded.ledger,
    system_identifier = excluded.system_identifier, database_oid = excluded.database_oid,
    server_version = excluded.server_version, epoch = excluded.epoch, worker = excluded.worker,
    horizon = excluded.horizon, extent = excluded.extent, taken_in = excluded.taken_in, taken_at = clock_timestamp();
