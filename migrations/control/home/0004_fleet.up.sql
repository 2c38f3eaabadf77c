-- Fleets: many targets of one home half, shared by any number of workers. :"schema" and :'schema' are the control
-- schema's name.

ALTER TABLE :"schema".target
    ADD COLUMN database      text NOT NULL DEFAULT '',
    ADD COLUMN schema        text,
    ADD COLUMN version_table text,
    ADD COLUMN path          text[],
    ADD COLUMN source        text,
    ADD COLUMN gone_at       timestamptz,
    ADD COLUMN claimed_by    text,
    ADD COLUMN claimed_pid   integer,
    ADD COLUMN claimed_until timestamptz,
    ADD COLUMN settled       bigint,
    ADD COLUMN outcome       text,
    ADD COLUMN problem       jsonb,
    ADD COLUMN forgiven      boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN :"schema".target.database IS
    'Which database it lies in, as the fleet''s file refers to it, never a secret; empty: this one.';
COMMENT ON COLUMN :"schema".target.source IS
    'What declared it: a group of the fleet''s file, or add_target(); null for a target of no fleet.';
COMMENT ON COLUMN :"schema".target.claimed_until IS
    'A lease: it only spreads the work. What is right is decided by the target''s own lock and fence.';
COMMENT ON COLUMN :"schema".target.settled IS
    'The bundle that a worker came to an end with here, well or not; derived from the job, and repaired from it.';
CREATE INDEX target_due ON :"schema".target (line, settled, id) WHERE source IS NOT NULL AND gone_at IS NULL;
CREATE INDEX target_failed ON :"schema".target (line, settled)
    WHERE outcome IN ('failed', 'refused', 'in_doubt') AND gone_at IS NULL AND NOT forgiven;
CREATE INDEX target_troubled ON :"schema".target (line, name)
    WHERE problem IS NOT NULL AND gone_at IS NULL;
CREATE INDEX target_claimed ON :"schema".target (claimed_until) WHERE claimed_until IS NOT NULL;

-- Registers a tenant's schema, so that the workers migrate it; tells its name. Once is as good as often.
CREATE FUNCTION :"schema".add_target(
    schema text, line text DEFAULT NULL, database text DEFAULT NULL, version_table text DEFAULT 'schema_migrations')
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    part text;
    called text;
    followed text := coalesce(add_target.line, add_target.version_table);
    known :"schema".target;
BEGIN
    FOREACH part IN ARRAY ARRAY[add_target.schema, followed, add_target.version_table, coalesce(add_target.database, 'x')]
    LOOP
        IF part IS NULL OR part ~ '[[:cntrl:]]' OR octet_length(convert_to(part, 'UTF8')) NOT BETWEEN 1 AND 63 THEN
            RAISE EXCEPTION 'add_target() takes a schema, a line, a database and a version table of 1 to 63 printable bytes each'
                USING ERRCODE = '22023';
        END IF;
    END LOOP;
    IF add_target.schema = :'schema' OR add_target.schema ~ '^pg_' OR add_target.schema = 'information_schema' THEN
        RAISE EXCEPTION 'schema % is no application''s', add_target.schema USING ERRCODE = '22023';
    END IF;
    SELECT string_agg(CASE WHEN u.name ~ '^[a-z_][a-z0-9_$]*$' THEN u.name
        ELSE '"' || replace(u.name, '"', '""') || '"' END, '.' ORDER BY u.place) INTO called
    FROM unnest(ARRAY[add_target.schema, add_target.version_table]) WITH ORDINALITY AS u (name, place);
    IF add_target.database <> current_database() THEN
        called := add_target.database || '/' || called;
    END IF;
    INSERT INTO :"schema".target AS t (name, line, database, schema, version_table, source)
    VALUES (called, followed, CASE WHEN add_target.database = current_database() THEN '' ELSE
        coalesce(add_target.database, '') END, add_target.schema, add_target.version_table, 'add_target')
    ON CONFLICT (name) DO UPDATE SET source = excluded.source, schema = excluded.schema,
        version_table = excluded.version_table, gone_at = NULL
    WHERE t.line = excluded.line AND (t.source IS NULL OR t.gone_at IS NOT NULL);
    SELECT * INTO known FROM :"schema".target AS t WHERE t.name = called;
    IF known.line <> followed THEN
        RAISE EXCEPTION 'the target % follows the line %, not %', called, known.line, followed USING ERRCODE = '23505',
            HINT = 'Give the other application a version table of its own.';
    END IF;
    PERFORM pg_notify(:'schema' || '_wake', followed);
    RETURN called;
END
$$;
REVOKE ALL ON FUNCTION :"schema".add_target(text, text, text, text) FROM PUBLIC;
