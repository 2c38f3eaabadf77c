-- The target half: it lies in every target's own database, shares transactions with the migrations, and is the
-- truth about what is applied. :"schema" and :'schema' stand for the control schema's name, as in psql, and :'target'
-- for the name under which the control schema's own target half is a target.

DO $$
BEGIN
    -- CREATE SCHEMA IF NOT EXISTS needs CREATE on the database even where the schema is there.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = :'schema') THEN
        CREATE SCHEMA :"schema";
    END IF;
END
$$;

-- The version tables of the control schema's own two halves, in the form that every target has.
CREATE TABLE :"schema".target_version (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);
CREATE TABLE :"schema".home_version (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);

CREATE TABLE :"schema".fence (
    target      text PRIMARY KEY,
    epoch       bigint NOT NULL CHECK (epoch > 0),
    worker      text NOT NULL,
    backend_pid integer NOT NULL,
    raised_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    pinned      text,
    pinned_at   timestamptz,
    CHECK ((pinned IS NULL) = (pinned_at IS NULL))
);
COMMENT ON TABLE :"schema".fence IS
    'One row a target. Whoever takes the lock raises the epoch; a write with an older epoch does not commit.';
COMMENT ON COLUMN :"schema".fence.pinned IS
    'Which command pinned the target (down, goto, force, up N); workers leave it alone until resume, up or a publish.';

CREATE TABLE :"schema".ledger (
    target      text NOT NULL,
    version     bigint NOT NULL CHECK (version >= 0),
    name        text NOT NULL,
    checksum    text,
    bundle      text NOT NULL,
    origin      text NOT NULL CHECK (origin IN ('applied', 'adopted', 'forced')),
    mode        text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_by  text NOT NULL DEFAULT current_user,
    worker      text NOT NULL,
    duration_ms double precision NOT NULL DEFAULT 0,
    epoch       bigint NOT NULL,
    PRIMARY KEY (target, version)
);
COMMENT ON TABLE :"schema".ledger IS 'One row for each migration that is applied now.';

CREATE TABLE :"schema".history (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target      text NOT NULL,
    version     bigint NOT NULL,
    name        text NOT NULL,
    action      text NOT NULL CHECK (action IN ('up', 'down', 'adopt', 'force')),
    checksum    text,
    bundle      text NOT NULL,
    mode        text NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    role        text NOT NULL DEFAULT current_user,
    worker      text NOT NULL,
    duration_ms double precision NOT NULL DEFAULT 0,
    epoch       bigint NOT NULL
);
COMMENT ON TABLE :"schema".history IS 'What was done and undone, in order; rows are only added.';

CREATE TABLE :"schema".journal (
    target      text NOT NULL,
    version     bigint NOT NULL,
    direction   text NOT NULL CHECK (direction IN ('up', 'down')),
    segment     integer NOT NULL CHECK (segment >= 0),
    digest      text NOT NULL,
    state       text NOT NULL CHECK (state IN ('intent', 'failed', 'done')),
    backend_pid integer NOT NULL DEFAULT pg_backend_pid(),
    epoch       bigint NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (target, version, direction, segment)
);
COMMENT ON TABLE :"schema".journal IS
    'The segments of a migration that no single transaction can hold, while it is under way.';

CREATE TABLE :"schema".readiness (
    target            text PRIMARY KEY,
    bundle            text,
    versions          bigint[] NOT NULL,
    lowest_pending    bigint,
    deferred          bigint[] NOT NULL,
    bundles           text[] NOT NULL,
    serves            bigint,
    version_table     text NOT NULL CHECK (version_table IN ('clean', 'dirty', 'diverged')),
    system_identifier bigint NOT NULL,
    database_oid      bigint NOT NULL,
    epoch             bigint NOT NULL,
    worker            text NOT NULL,
    set_at            timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE :"schema".readiness IS
    'What each target is ready for: facts about the schema, not about a worker. Ask it with ready().';

-- Raises unless the caller still holds what entitles it to write: the lock and the current epoch.
-- Whoever raises the epoch waits for the row lock taken here, and so for the commit that it entitles.
CREATE FUNCTION :"schema".hold_fence(target text, epoch bigint, lock_key bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Giving back succeeds only where the lock is held. It is held twice, so that it is not free even for a moment.
    IF lock_key IS NOT NULL AND NOT (pg_advisory_unlock(lock_key) AND pg_try_advisory_lock(lock_key)) THEN
        RAISE EXCEPTION 'the advisory lock of % was dropped', target USING ERRCODE = 'TG002';
    END IF;
    PERFORM FROM :"schema".fence AS f
    WHERE f.target = hold_fence.target AND f.epoch = hold_fence.epoch FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'epoch % of % is no longer current', epoch, target USING ERRCODE = 'TG001';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION :"schema".hold_fence(text, bigint, bigint) FROM PUBLIC;

-- The gate in SQL, for any language: is this target ready for what the application requires?
CREATE FUNCTION :"schema".ready(at_least bigint DEFAULT NULL, bundle text DEFAULT NULL, target text DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r :"schema".readiness;
    others bigint;
BEGIN
    IF ready.at_least IS NULL AND ready.bundle IS NULL THEN
        RAISE EXCEPTION 'ready() needs a requirement' USING ERRCODE = '22023',
            HINT = 'Say which: ready(at_least => 12) or ready(bundle => ''1.4.0'').';
    END IF;
    SELECT count(*) INTO others FROM :"schema".readiness AS q
    WHERE ready.target IS NULL;
    IF others > 1 THEN
        RAISE EXCEPTION 'this database has % targets', others USING ERRCODE = '22023',
            HINT = 'Name one: ready(at_least => 12, target => ''public.schema_migrations'').';
    END IF;
    SELECT q.* INTO r FROM :"schema".readiness AS q WHERE ready.target IS NULL OR q.target = ready.target;
    RETURN coalesce(
        FOUND
        AND r.version_table = 'clean'
        AND r.system_identifier = (SELECT c.system_identifier FROM pg_control_system() AS c)
        AND r.database_oid = (SELECT d.oid::bigint FROM pg_database AS d WHERE d.datname = current_database())
        AND (ready.bundle IS NULL OR ready.bundle = ANY (r.bundles))
        AND (ready.at_least IS NULL OR (
            (r.serves IS NULL OR ready.at_least >= r.serves)
            AND (ready.at_least = ANY (r.versions) OR ready.at_least = ANY (r.deferred))
            AND (r.lowest_pending IS NULL OR r.lowest_pending > ready.at_least))),
        false);
END
$$;

CREATE VIEW :"schema".status AS
SELECT
    r.target,
    r.bundle,
    r.versions[cardinality(r.versions)] AS version,
    cardinality(r.versions) AS applied,
    r.lowest_pending,
    r.version_table,
    r.bundles AS ready_for,
    r.epoch,
    r.worker,
    r.set_at
FROM :"schema".readiness AS r;
COMMENT ON VIEW :"schema".status IS 'The readiness rows in short; `version` is the highest that is applied.';

-- The first epoch of the control schema itself: whoever creates it holds it.
INSERT INTO :"schema".fence (target, epoch, worker, backend_pid)
VALUES (:'target', 1, 'bootstrap', pg_backend_pid());
