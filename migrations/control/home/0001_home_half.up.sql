-- The home half: where bundles are published, and jobs are seen. :"schema" is the control schema's name.

CREATE TABLE :"schema".bundle_file (
    checksum text PRIMARY KEY CHECK (checksum ~ '^[0-9a-f]{64}$'),
    content  bytea NOT NULL
);
COMMENT ON TABLE :"schema".bundle_file IS 'Contents of published files, each once, by their SHA-256.';

CREATE SEQUENCE :"schema".wanted_seq;

CREATE TABLE :"schema".bundle (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    line         text NOT NULL,
    label        text NOT NULL,
    digest       text NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
    names        text[] NOT NULL,
    checksums    text[] NOT NULL,
    required     bigint[] NOT NULL,
    serves       bigint,
    order_policy text CHECK (order_policy IN ('error', 'apply', 'skip')),
    intent       text NOT NULL CHECK (intent IN ('automatic', 'explicit')),
    published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_by text NOT NULL DEFAULT current_user,
    wanted_seq   bigint,
    wanted_at    timestamptz,
    withdrawn_at timestamptz,
    withdrawn_by text,
    UNIQUE (line, label),
    CHECK (cardinality(names) = cardinality(checksums))
);
COMMENT ON TABLE :"schema".bundle IS
    'Published bundles. The wanted one of a line has the highest wanted_seq among those not withdrawn.';
COMMENT ON COLUMN :"schema".bundle.required IS 'The versions that a gate waits for (all but gate=off).';

COMMENT ON COLUMN :"schema".bundle.intent IS
    'Who made it wanted last: a process that offered what it was built with, or a person.';

CREATE TABLE :"schema".target (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    line        text NOT NULL,
    paused_at   timestamptz,
    paused_by   text,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE :"schema".target IS 'Targets and the line that each follows; a paused one is left alone.';

CREATE TABLE :"schema".job (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target_id   bigint NOT NULL REFERENCES :"schema".target,
    bundle_id   bigint NOT NULL REFERENCES :"schema".bundle,
    state       text NOT NULL DEFAULT 'pending' CHECK (state IN
                ('pending', 'running', 'succeeded', 'failed', 'refused', 'in_doubt', 'superseded')),
    attempts    integer NOT NULL DEFAULT 0,
    worker      text,
    epoch       bigint,
    applied     integer NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at  timestamptz,
    finished_at timestamptz,
    failure     jsonb,
    UNIQUE (target_id, bundle_id)
);
COMMENT ON TABLE :"schema".job IS
    'Bring this target to this bundle. Derived: the ledger and the journal are the truth, and repair it.';

CREATE TABLE :"schema".job_event (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id bigint NOT NULL REFERENCES :"schema".job ON DELETE CASCADE,
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    state  text NOT NULL,
    worker text NOT NULL,
    detail jsonb
);
CREATE INDEX job_event_job ON :"schema".job_event (job_id, at);
COMMENT ON TABLE :"schema".job_event IS 'What happened to each job; rows older than ninety days are removed.';
