-- What the catalogue was when a job last ended: drift is what differs from it. One database has one fingerprint, whatever
-- the number of its targets. :"schema" is the control schema's name.

CREATE TABLE :"schema".fingerprint (
    one               boolean PRIMARY KEY DEFAULT true CHECK (one),
    bundle            text NOT NULL,
    target            text NOT NULL,
    ledger            text NOT NULL,
    system_identifier bigint NOT NULL,
    database_oid      bigint NOT NULL,
    server_version    integer NOT NULL,
    epoch             bigint NOT NULL,
    worker            text NOT NULL,
    taken_at          timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE :"schema".fingerprint IS
    'At most one row: after which bundle the catalogue was last taken as right, and what all ledgers said then.';
COMMENT ON COLUMN :"schema".fingerprint.ledger IS 'MD5 over every target and version of the ledger, in order.';

CREATE TABLE :"schema".fingerprint_object (
    kind        text NOT NULL,
    name        text NOT NULL,
    parts       jsonb,
    found       jsonb,
    right_until text,
    PRIMARY KEY (kind, name)
);
COMMENT ON TABLE :"schema".fingerprint_object IS
    'Each object of the catalogue as it is right; without parts it is right that there is none.';
COMMENT ON COLUMN :"schema".fingerprint_object.right_until IS
    'The bundle after which it was last right, where a later job found it to be otherwise; found is as what.';
