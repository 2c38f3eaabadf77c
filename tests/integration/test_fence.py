import anyio
import asyncpg
import pytest

from tests.fixtures.jobs import until
from tests.fixtures.servers import Database
from tests.fixtures.sites import Worker, bundle_of, tables, worker_on
from worker.core.lock_keys import target_key
from worker.core.target import Target
from worker.errors import RefusedError
from worker.postgres.advisory import Keys
from worker.postgres.faults import ConnectionLostError, FencedError
from worker.postgres.lock import Held, raise_fence
from worker.postgres.transaction import fenced, transaction

TARGET = Target("public", "schema_migrations")
# Longer than the session's lock_timeout, which must not end a raise.
LONG_WAIT = "SELECT true FROM pg_locks WHERE NOT granted AND clock_timestamp() - waitstart > interval '200 ms'"
NO_KEYS = Keys((), ())
MARK = (
    "INSERT INTO tidegate.ledger (target, version, name, bundle, origin, mode, worker, epoch) "
    "VALUES ('public.schema_migrations', 99, 'late', 'b', 'applied', 'transactional', 'stale', 1)"
)
RECORD = "record_applied({}, 98, 'm98', NULL, 'b', 'transactional', 'stale', 0, NULL)"


async def prepared(worker: Worker) -> Held:
    """A holder by the fence alone: its lock is held on its connection, so that a successor need not wait for it."""
    await worker.up(bundle_of(tables(1), "1.0"))
    held = await raise_fence(worker.session, Keys((target_key(TARGET),)), TARGET, 0)
    await worker.session.conn.execute(f"SELECT pg_advisory_lock({target_key(TARGET)})")
    return held


async def marked(database: Database) -> int:
    count = await database.fetchval("SELECT count(*) FROM tidegate.ledger WHERE version IN (98, 99)")
    assert isinstance(count, int)
    return count


async def test_a_raise_waits_for_a_fenced_transaction_in_flight_and_its_row_is_seen(database: Database) -> None:
    async with worker_on(database, name="a") as old, worker_on(database, name="b") as new:
        held = await prepared(old)
        seen: list[int] = []

        async def take_over() -> None:
            await raise_fence(new.session, NO_KEYS, TARGET, 0)
            seen.append(await new.session.conn.fetchval("SELECT count(*) FROM tidegate.ledger WHERE version = 99"))

        async with anyio.create_task_group() as group, fenced(held, "testing"):
            group.start_soon(take_over)
            await until(old, LONG_WAIT)
            assert seen == []
            await old.session.conn.execute(MARK)

        assert seen == [1]


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("call", ["hold_fence({})", RECORD])
async def test_a_stale_epoch_commits_nothing(database: Database, isolation: str, call: str) -> None:
    async with worker_on(database, name="a") as old, worker_on(database, name="b") as new:
        held = await prepared(old)
        conn, entitled = old.session.conn, f"SELECT tidegate.{call.format(held.fence_arguments)}"
        await conn.execute(f"BEGIN ISOLATION LEVEL {isolation}; {MARK}")
        await raise_fence(new.session, NO_KEYS, TARGET, 0)

        # A snapshot taken before the raise cannot lock the newer row (40001); a new attempt then finds the epoch.
        with pytest.raises(asyncpg.PostgresError) as caught:
            await conn.execute(f"{entitled}; COMMIT")
        assert caught.value.sqlstate == ("TG001" if isolation == "READ COMMITTED" else "40001")
        await conn.execute("ROLLBACK")
        with pytest.raises(asyncpg.PostgresError) as again:
            await conn.execute(f"BEGIN ISOLATION LEVEL {isolation}; {MARK}; {entitled}; COMMIT")
        assert again.value.sqlstate == "TG001"
        await conn.execute("ROLLBACK")

    assert await marked(database) == 0


async def test_a_write_with_a_stale_epoch_says_that_another_worker_took_over(database: Database) -> None:
    async with worker_on(database, name="a") as old, worker_on(database, name="b") as new:
        held = await prepared(old)
        await raise_fence(new.session, NO_KEYS, TARGET, 0)

        with pytest.raises(FencedError, match="another worker"):
            async with fenced(held, "testing"):
                await old.session.conn.execute(MARK)

        assert not old.session.conn.is_in_transaction()
    assert await marked(database) == 0


async def test_a_dropped_lock_is_noticed_at_once(database: Database) -> None:
    async with worker_on(database) as worker:
        held = await prepared(worker)
        await worker.session.conn.execute("SELECT pg_advisory_unlock_all()")

        with pytest.raises(RefusedError, match="the advisory lock was dropped") as caught:
            async with fenced(held, "testing"):
                await worker.session.conn.execute(MARK)

    assert caught.value.reason == "lock_lost"
    assert await marked(database) == 0


async def test_an_epoch_is_not_used_after_its_connection_is_gone(database: Database) -> None:
    async with worker_on(database) as worker:
        held = await prepared(worker)
        await database.execute("SELECT pg_terminate_backend($1)", worker.session.conn.get_server_pid())

        with pytest.raises(ConnectionLostError):
            async with fenced(held, "testing"):
                await worker.session.conn.execute(MARK)

    async with worker_on(database, name="b") as other:
        # The same epoch on another connection lacks the lock, even while the epoch is still the current one.
        with pytest.raises(RefusedError, match="lock was dropped"):
            async with fenced(Held(other.session, TARGET, held.keys, held.epoch), "testing"):
                await other.session.conn.execute(MARK)
    assert await marked(database) == 0


async def test_a_cancelled_transaction_leaves_the_session_clean(database: Database) -> None:
    async with worker_on(database) as worker:
        with anyio.move_on_after(0.2):
            async with transaction(worker.session, "testing"):
                await worker.session.conn.execute("CREATE TABLE public.left_behind ()")
                await worker.session.conn.execute("SELECT pg_sleep(30)")

        assert not worker.session.conn.is_in_transaction()
        assert await worker.session.conn.fetchval("SELECT to_regclass('public.left_behind')::text") is None


async def test_functions_ignore_a_hostile_search_path(database: Database) -> None:
    async with worker_on(database) as worker:
        held = await prepared(worker)
        await database.execute(
            "CREATE SCHEMA evil; CREATE TABLE evil.fence (target text, epoch bigint);"
            "CREATE FUNCTION evil.pg_advisory_unlock(bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true';"
            "CREATE FUNCTION evil.current_database() RETURNS name LANGUAGE sql AS $$SELECT 'evil'::name$$;"
            "CREATE FUNCTION evil.count(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'"
        )
        await worker.session.conn.execute("SET search_path = evil, pg_catalog, public")

        assert await worker.session.conn.fetchval("SELECT tidegate.ready(1)")
        await worker.session.conn.execute("SELECT pg_catalog.pg_advisory_unlock_all()")
        with pytest.raises(asyncpg.PostgresError, match="was dropped"):
            await worker.session.conn.execute(held.fence_sql)

    settings = await database.fetch(
        "SELECT proname, proconfig FROM pg_proc WHERE pronamespace = 'tidegate'::regnamespace ORDER BY 1"
    )
    assert {row["proname"] for row in settings} >= {"hold_fence", "ready"}
    assert all(any(entry.startswith("search_path=") for entry in row["proconfig"] or ()) for row in settings)
