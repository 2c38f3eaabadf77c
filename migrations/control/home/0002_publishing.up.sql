-- Publishing without a right on any table, and tables that keep what was published. :"schema" and :'schema' are the
-- control schema's name. What a backslash and a comparison with NULL mean is a caller's to set: there is none here.

-- The digest of a bundle, as worker.core.bundles.bundle documents it.
CREATE FUNCTION :"schema".digest_of(names text[], contents bytea[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT encode(sha256(string_agg(
        int8send(octet_length(f.name)) || f.name || int8send(octet_length(f.content)) || f.content,
        ''::bytea ORDER BY f.name)), 'hex')
    FROM (
        SELECT convert_to(u.name, 'UTF8') AS name, u.content
        FROM unnest(digest_of.names, digest_of.contents) AS u (name, content)
    ) AS f
$$;

-- The files of a bundle, with the version and the direction of those that are migrations.
CREATE FUNCTION :"schema".files_of(names text[], checksums text[])
RETURNS TABLE (name text, checksum text, version numeric, direction text, place bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT u.name, u.checksum, m.part[1]::numeric, m.part[3], u.place
    FROM unnest(files_of.names, files_of.checksums) WITH ORDINALITY AS u (name, checksum, place)
    LEFT JOIN LATERAL regexp_match(u.name, '^([0-9]{1,250})_(.*)[.](down|up)[.](.*)$') AS m (part) ON true
$$;

-- What is compared of two bundles: each version, and the checksum of its up file.
CREATE FUNCTION :"schema".versions_of(names text[], checksums text[]) RETURNS TABLE (version numeric, checksum text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT f.version, max(f.checksum) FILTER (WHERE f.direction = 'up')
    FROM :"schema".files_of(versions_of.names, versions_of.checksums) AS f
    WHERE f.version IS NOT NULL
    GROUP BY f.version
$$;

-- What is wrong with a bundle's row, or null; its contents are stored already.
CREATE FUNCTION :"schema".fault_of(
    line text, label text, digest text, names text[], checksums text[], required bigint[], serves bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    seen record;
BEGIN
    IF fault_of.line IS NULL OR fault_of.line ~ '[[:cntrl:]]' OR length(fault_of.line) NOT BETWEEN 1 AND 128 THEN
        RETURN 'a line takes 1 to 128 printable characters';
    END IF;
    IF fault_of.label IS NULL OR fault_of.label !~ '^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$' THEN
        RETURN 'a label takes 1 to 128 letters, digits, ".", "_", "-" and "+", and starts with a letter or digit';
    END IF;
    IF array_ndims(fault_of.names) <> 1 OR array_ndims(fault_of.checksums) <> 1 OR cardinality(fault_of.names) > 100000 THEN
        RETURN 'a bundle takes two flat arrays of names and contents, of at most 100000 files';
    END IF;
    SELECT f.name INTO seen FROM :"schema".files_of(fault_of.names, fault_of.checksums) AS f
    WHERE f.name IS NULL OR f.name ~ '[[:cntrl:]/]' OR octet_length(convert_to(f.name, 'UTF8')) > 255
        OR (f.version IS NULL AND f.name <> 'bundle.toml') OR f.version > 9223372036854775807
    LIMIT 1;
    IF FOUND THEN
        RETURN format('%s is neither a migration''s file name nor bundle.toml', quote_nullable(left(seen.name, 300)));
    END IF;
    SELECT min(f.name) AS name INTO seen FROM :"schema".files_of(fault_of.names, fault_of.checksums) AS f
    GROUP BY coalesce(f.version::text || f.direction, f.name) HAVING count(*) > 1 LIMIT 1;
    IF FOUND THEN
        RETURN format('%L is not the only file of its version and direction', seen.name);
    END IF;
    SELECT f.name INTO seen FROM :"schema".files_of(fault_of.names, fault_of.checksums) AS f
    LEFT JOIN :"schema".bundle_file AS s USING (checksum)
    WHERE s.checksum IS NULL
        OR octet_length(s.content) > CASE f.name WHEN 'bundle.toml' THEN 65536 ELSE 67108864 END
    LIMIT 1;
    IF FOUND THEN
        RETURN format('the content of %L is not stored, or too large', seen.name);
    END IF;
    SELECT max(f.version) AS latest, sum(octet_length(s.content)) AS size,
        array_agg(s.content ORDER BY f.place) AS contents, array_agg(f.version) AS versions
    INTO seen
    FROM :"schema".files_of(fault_of.names, fault_of.checksums) AS f
    JOIN :"schema".bundle_file AS s USING (checksum);
    RETURN CASE
        WHEN seen.latest IS NULL THEN 'a bundle holds at least one migration'
        WHEN seen.size > 536870912 THEN 'a bundle takes at most 536870912 bytes of files'
        WHEN fault_of.serves < 0 OR fault_of.serves > seen.latest THEN 'serves is above the highest version, or below 0'
        WHEN NOT fault_of.required::numeric[] <@ seen.versions THEN 'required names a version that the bundle lacks'
        WHEN fault_of.digest <> :"schema".digest_of(fault_of.names, seen.contents) THEN 'the digest is not that of its names and contents'
    END;
END
$$;

CREATE FUNCTION :"schema".guard_bundle() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    free text[] := ARRAY['intent', 'wanted_seq', 'wanted_at', 'withdrawn_at', 'withdrawn_by', 'seal'];
    fault text;
    allowed boolean := false;
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.published_by := session_user;
        NEW.published_at := clock_timestamp();
        fault := :"schema".fault_of(
            NEW.line, NEW.label, NEW.digest, NEW.names, NEW.checksums, NEW.required, NEW.serves);
        IF fault IS NOT NULL THEN
            RAISE EXCEPTION 'this is no bundle: %', fault USING ERRCODE = '22023';
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        allowed := to_jsonb(NEW) - free = to_jsonb(OLD) - free;
    END IF;
    IF NOT allowed THEN
        RAISE EXCEPTION 'what was published is neither changed nor removed' USING ERRCODE = '23001',
            HINT = 'Publish other content under another label, or take a bundle back with withdraw().';
    END IF;
    NEW.withdrawn_by := CASE
        WHEN NEW.withdrawn_at IS NULL THEN NULL
        WHEN OLD.withdrawn_at IS NULL THEN session_user
        ELSE OLD.withdrawn_by END;
    RETURN NEW;
END
$$;

CREATE FUNCTION :"schema".guard_bundle_file() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        RAISE EXCEPTION 'what was published is neither changed nor removed' USING ERRCODE = '23001';
    END IF;
    IF NEW.checksum IS DISTINCT FROM encode(sha256(NEW.content), 'hex') THEN
        RAISE EXCEPTION 'the checksum is not the SHA-256 of the content' USING ERRCODE = '22023';
    END IF;
    IF current_setting('server_encoding') = 'UTF8' THEN
        -- It raises for what is not UTF-8, and for a NUL character.
        PERFORM length(convert_from(NEW.content, 'UTF8'));
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER tidegate_rows BEFORE INSERT OR UPDATE OR DELETE ON :"schema".bundle
    FOR EACH ROW EXECUTE FUNCTION :"schema".guard_bundle();
CREATE TRIGGER tidegate_whole BEFORE TRUNCATE ON :"schema".bundle
    FOR EACH STATEMENT EXECUTE FUNCTION :"schema".guard_bundle();
CREATE TRIGGER tidegate_rows BEFORE INSERT OR UPDATE OR DELETE ON :"schema".bundle_file
    FOR EACH ROW EXECUTE FUNCTION :"schema".guard_bundle_file();
CREATE TRIGGER tidegate_whole BEFORE TRUNCATE ON :"schema".bundle_file
    FOR EACH STATEMENT EXECUTE FUNCTION :"schema".guard_bundle_file();

-- What `tidegate publish` does, for whoever may execute it. `label` null is derived from the digest, `required` null
-- means every version. `outcome` is published, wanted_again, already_wanted, or kept: an automatic offer only leads on.
CREATE FUNCTION :"schema".publish(
    line text, label text, names text[], contents bytea[], required bigint[] DEFAULT NULL, serves bigint DEFAULT NULL,
    order_policy text DEFAULT NULL, intent text DEFAULT 'explicit', seal text DEFAULT NULL,
    OUT bundle text, OUT digest text, OUT outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    derived text;
    sums text[];
    head :"schema".bundle;
    known :"schema".bundle;
    holder text;
    behind boolean;
    ahead boolean;
    twins bigint;
    usable bigint;
BEGIN
    IF publish.intent IS NULL OR publish.intent NOT IN ('explicit', 'automatic') THEN
        RAISE EXCEPTION 'intent takes explicit or automatic' USING ERRCODE = '22023';
    END IF;
    IF array_ndims(publish.names) IS DISTINCT FROM 1 OR array_ndims(publish.contents) IS DISTINCT FROM 1
        OR cardinality(publish.names) <> cardinality(publish.contents) THEN
        RAISE EXCEPTION 'publish() takes as many contents as names' USING ERRCODE = '22023';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(:'schema' || ' line ' || publish.line, 0));
    publish.digest := :"schema".digest_of(publish.names, publish.contents);
    derived := 'dir-' || left(publish.digest, 12);
    publish.bundle := coalesce(publish.label, derived);
    SELECT array_agg(encode(sha256(u.content), 'hex') ORDER BY u.place) INTO sums
    FROM unnest(publish.contents) WITH ORDINALITY AS u (content, place);

    SELECT * INTO head FROM :"schema".bundle AS b
    WHERE b.line = publish.line AND b.withdrawn_at IS NULL AND b.wanted_seq IS NOT NULL
    ORDER BY b.wanted_seq DESC, b.id DESC LIMIT 1;
    SELECT * INTO known FROM :"schema".bundle AS b
    WHERE b.line = publish.line AND b.digest = publish.digest
        AND (publish.bundle = derived OR b.label = publish.bundle)
    ORDER BY b.withdrawn_at IS NULL AND b.wanted_seq IS NOT NULL DESC, coalesce(b.wanted_seq, -1) DESC, b.id DESC
    LIMIT 1;
    SELECT b.digest INTO holder FROM :"schema".bundle AS b
    WHERE b.line = publish.line AND b.label = publish.bundle;
    IF known.id IS NULL AND holder IS NOT NULL THEN
        RAISE EXCEPTION 'the label % was published before with other content (digest %)',
            publish.bundle, left(holder, 12) USING ERRCODE = '23505',
            HINT = 'Content under a label never changes: choose another label.';
    END IF;
    publish.bundle := coalesce(known.label, publish.bundle);
    IF publish.seal IS NOT NULL AND publish.intent = 'explicit' AND known.label = publish.label THEN
        -- The next control migration brings the column.
        UPDATE :"schema".bundle AS b SET seal = publish.seal WHERE b.id = known.id;
        PERFORM pg_notify(:'schema' || '_wake', publish.line);
    END IF;
    IF known.id = head.id THEN
        publish.outcome := 'already_wanted';
        RETURN;
    END IF;
    IF publish.intent = 'automatic' THEN
        SELECT count(*), count(*) FILTER (WHERE b.withdrawn_at IS NULL) INTO twins, usable
        FROM :"schema".bundle AS b WHERE b.line = publish.line AND b.digest = publish.digest;
        IF head.id IS NOT NULL THEN
            behind := EXISTS (SELECT FROM (
                SELECT * FROM :"schema".versions_of(head.names, head.checksums)
                EXCEPT SELECT * FROM :"schema".versions_of(publish.names, sums)) AS missing);
            ahead := EXISTS (SELECT FROM (
                SELECT * FROM :"schema".versions_of(publish.names, sums)
                EXCEPT SELECT * FROM :"schema".versions_of(head.names, head.checksums)) AS added);
        END IF;
        IF behind OR twins > 0 AND NOT (known.id IS NULL AND head.id IS NOT NULL AND NOT ahead AND usable > 0) THEN
            publish.outcome := 'kept';
            RETURN;
        END IF;
    END IF;
    publish.outcome := 'wanted_again';
    IF known.id IS NULL THEN
        publish.outcome := 'published';
        INSERT INTO :"schema".bundle_file (checksum, content)
        SELECT u.checksum, u.content FROM unnest(sums, publish.contents) AS u (checksum, content)
        ON CONFLICT (checksum) DO NOTHING;
        INSERT INTO :"schema".bundle (line, label, digest, names, checksums, required, serves, order_policy, intent,
            seal)
        VALUES (publish.line, publish.bundle, publish.digest, publish.names, sums, coalesce(publish.required,
            (SELECT array_agg(v.version::bigint ORDER BY v.version)
            FROM :"schema".versions_of(publish.names, sums) AS v WHERE v.version <= 9223372036854775807), '{}'),
            publish.serves, publish.order_policy, publish.intent, publish.seal)
        RETURNING id INTO known.id;
    END IF;
    UPDATE :"schema".bundle AS b
    SET wanted_seq = nextval(format('%I.wanted_seq', :'schema')::regclass), wanted_at = clock_timestamp(),
        withdrawn_at = NULL, intent = publish.intent
    WHERE b.id = known.id;
    PERFORM pg_notify(:'schema' || '_wake', publish.line);
END
$$;

-- What `tidegate bundle withdraw` does; tells whether there was one to take back.
CREATE FUNCTION :"schema".withdraw(line text, label text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(:'schema' || ' line ' || withdraw.line, 0));
    UPDATE :"schema".bundle AS b SET withdrawn_at = clock_timestamp()
    WHERE b.line = withdraw.line AND b.label = withdraw.label AND b.withdrawn_at IS NULL;
    IF FOUND THEN
        PERFORM pg_notify(:'schema' || '_wake', withdraw.line);
    END IF;
    RETURN FOUND;
END
$$;

REVOKE ALL ON FUNCTION
    :"schema".publish(text, text, text[], bytea[], bigint[], bigint, text, text, text), :"schema".withdraw(text, text)
    FROM PUBLIC;
