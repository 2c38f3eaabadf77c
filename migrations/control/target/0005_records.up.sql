-- What goes with every migration in one statement: a session plans a function's statements once and not for each call.
-- Whoever calls these does nothing that the same statements would not do; hold_fence() stays the one that few may
-- execute. :"schema" is the control schema's name.

-- Raises unless the lock and the epoch are still held; then records a version as applied and forgets how it came
-- about. `before_ms` are milliseconds that it took until `since`, which is the beginning of the transaction where null.
CREATE FUNCTION :"schema".record_applied(
    target text, epoch bigint, lock_key bigint, version bigint, name text, checksum text, bundle text, mode text,
    worker text, before_ms double precision, since timestamptz
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    duration_ms double precision;
BEGIN
    PERFORM :"schema".hold_fence(target, epoch, lock_key);
    duration_ms := before_ms + extract(epoch FROM clock_timestamp() - coalesce(since, transaction_timestamp())) * 1000;
    INSERT INTO :"schema".ledger (target, version, name, checksum, bundle, origin, mode, worker, duration_ms, epoch)
    VALUES (target, version, name, checksum, bundle, 'applied', mode, worker, duration_ms, epoch);
    INSERT INTO :"schema".history (target, version, name, action, checksum, bundle, mode, worker, duration_ms, epoch)
    VALUES (target, version, name, 'up', checksum, bundle, mode, worker, duration_ms, epoch);
    DELETE FROM :"schema".journal AS j
    WHERE j.target = record_applied.target AND j.version = record_applied.version;
END
$$;

-- When a version was recorded; null where it was not.
CREATE FUNCTION :"schema".recorded_at(target text, version bigint) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT l.applied_at FROM :"schema".ledger AS l
        WHERE l.target = recorded_at.target AND l.version = recorded_at.version
    );
END
$$;
