"""A migration waits for a lock: in short attempts, for a limited time, and it is told who holds it."""

import statistics
import time
from dataclasses import replace

import anyio
import asyncpg
import pytest

from tests.fixtures.cluster import Server, Shutdown, running_server
from tests.fixtures.jobs import Said, files, said, until
from tests.fixtures.servers import Database
from tests.fixtures.sites import LIMITS, SITE, Worker, worker_on
from tests.fixtures.waits import READERS, TIMED_READ, autovacuum, reader, waits_of_readers
from worker.core.events.event import Outcome
from worker.core.events.migration_events import MigrationFinished, MigrationRetried, MigrationWaiting
from worker.errors import MigrationFailedError, TidegateError, TimedOutError
from worker.jobs.steer import retry
from worker.postgres.queries import queries

ALTER = {"1": "ALTER TABLE a ADD COLUMN y int"}
DONE = Said((1, False), (1,), ((1, "up"),), ())
NOTHING = Said(None, (), (), ())
WAITS = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1"


async def test_readers_wait_no_longer_than_the_lock_timeout_behind_a_waiting_alter(database: Database) -> None:
    await database.execute(TIMED_READ)
    alters = ("ALTER TABLE a ADD COLUMN y int", "ALTER TABLE a ADD COLUMN z int")
    without = await waits_of_readers(database, 0, *alters[:1])
    assert max(without) > 1

    waited = await waits_of_readers(database, 100, *alters)
    blocked = [seconds for seconds in waited if seconds > 0.02]
    # One in twenty may have been held up by a busy machine; none as by a queue.
    assert len(blocked) >= READERS
    assert statistics.quantiles(blocked, n=20)[-1] <= 0.15
    assert max(blocked) < max(without) / 2


async def test_an_endless_reader_ends_the_budget_and_is_named_and_a_retry_works(database: Database) -> None:
    await database.execute("CREATE TABLE a (x int)")
    site = replace(SITE, limits=replace(LIMITS, lock_budget=1.5))
    async with reader(database) as endless, worker_on(database, site=site) as worker:
        began = time.monotonic()
        with pytest.raises(MigrationFailedError) as caught:
            await worker.up(files(ALTER | {"2": "CREATE TABLE b (x int)"}))
        assert time.monotonic() - began < 10
        pid = endless.get_server_pid()
        waiting = worker.recorded.of(MigrationWaiting)

    failure = caught.value.failure
    named = ("role postgres", "application report", f"backend {pid}", "idle in transaction", "since 2", "1500ms")
    assert not [part for part in (*named, "nothing was changed") if part not in failure.message], failure.message
    assert f"pg_terminate_backend({pid})" in (failure.hint or "")
    assert "TIDEGATE_LOCK_BUDGET" in (failure.hint or "")
    assert [(event.holder_pid, event.holder_application) for event in waiting] == [(pid, "report")]
    assert (failure.sqlstate, await said(database)) == ("55P03", NOTHING)
    async with worker_on(database) as worker:
        assert (await worker.round()).applied == ()
        await retry(worker.session, worker.site)
        assert (await worker.round()).applied == (1, 2)


async def test_a_file_without_a_lock_timeout_waits_no_longer_than_the_budget(database: Database) -> None:
    await database.execute("CREATE TABLE a (x int)")
    site = replace(SITE, limits=replace(LIMITS, lock_budget=0.5))
    async with reader(database), worker_on(database, site=site) as worker:
        with pytest.raises(MigrationFailedError, match="application report"):
            await worker.up(files({"1": f"-- tidegate: lock_timeout=none\n{ALTER['1']}"}))

    assert await said(database) == NOTHING


async def test_a_running_autovacuum_gives_way_to_one_longer_attempt(database: Database) -> None:
    options = "autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0"
    async with autovacuum(database, change="DELETE FROM a WHERE x % 2 = 0", options=options) as pid:
        async with worker_on(database, site=replace(SITE, limits=replace(LIMITS, lock_budget=60))) as worker:
            await worker.up(files(ALTER))
        waiting = worker.recorded.of(MigrationWaiting)

    assert (await said(database)) == DONE
    assert {event.cause for event in worker.recorded.of(MigrationRetried)} == {"55P03"}
    assert all(event.holder == "autovacuum" for event in waiting if event.holder_pid == pid)
    assert "canceling autovacuum task" in database.server.log()


async def test_an_autovacuum_against_wraparound_does_not_give_way_and_is_named(database: Database) -> None:
    # Every block with an exception handler that writes takes a transaction id of its own.
    burn = (
        "DO $$BEGIN FOR i IN 1..110000 LOOP"
        " BEGIN INSERT INTO ids VALUES (i); EXCEPTION WHEN unique_violation THEN END; END LOOP; END$$"
    )
    await database.execute("CREATE TABLE ids (i int)")
    async with autovacuum(
        database, change=burn, options="autovacuum_enabled = off, autovacuum_freeze_max_age = 100000"
    ) as pid:
        site = replace(SITE, limits=replace(LIMITS, lock_budget=4))
        async with worker_on(database, site=site) as worker:
            with pytest.raises(MigrationFailedError) as caught:
                await worker.up(files(ALTER))
        assert f"an autovacuum to prevent wraparound, backend {pid}" in caught.value.failure.message
        assert "does not let it give way" in (caught.value.failure.hint or "")
        assert [event.holder for event in worker.recorded.of(MigrationWaiting)] == ["autovacuum to prevent wraparound"]
        await database.execute("SELECT pg_terminate_backend($1)", pid)

    assert await said(database) == NOTHING


async def test_a_deadlock_whose_victim_is_the_application_lets_the_migration_through(database: Database) -> None:
    await database.execute("CREATE TABLE a (x int); CREATE TABLE b (x int)")
    web, watcher = await database.connect(), await database.connect()
    # The check is made once in a wait: the migration waits when the application begins to.
    await web.execute("SET deadlock_timeout = '10ms'; BEGIN; LOCK TABLE b")
    text = "-- tidegate: lock_timeout=30s\nSET LOCAL deadlock_timeout = '60s'; LOCK TABLE a; LOCK TABLE b"
    async with worker_on(database) as worker, anyio.create_task_group() as group:
        group.start_soon(worker.up, files({"1": text}))
        await until(watcher, WAITS, worker.session.conn.get_server_pid())
        with pytest.raises(asyncpg.DeadlockDetectedError):
            await web.execute("LOCK TABLE a")
        await web.close()
        finished = await worker.recorded.first(MigrationFinished)
    await watcher.close()

    assert (finished.outcome, finished.retries) == (Outcome.SUCCEEDED, 0)
    assert await said(database) == DONE


TIMEOUTS = {
    "a block, by the setting": ("SELECT 1;\nSELECT pg_sleep(30)", 300),
    "a block, by the file": ("-- tidegate: statement_timeout=300ms\nSELECT pg_sleep(30)", 60_000),
    "a lone statement, by the setting": ("-- tidegate: transaction=off\nDO $$BEGIN PERFORM pg_sleep(30); END$$", 300),
    "a lone statement, by the file": (
        "-- tidegate: transaction=off statement_timeout=300ms\nDO $$BEGIN PERFORM pg_sleep(30); END$$",
        0,
    ),
}


@pytest.mark.parametrize(("text", "limit"), TIMEOUTS.values(), ids=TIMEOUTS.keys())
async def test_a_statement_timeout_is_a_clear_failure_of(database: Database, text: str, limit: int) -> None:
    site = replace(SITE, limits=replace(LIMITS, statement_timeout_ms=limit))
    async with worker_on(database, site=site) as worker:
        with pytest.raises(MigrationFailedError) as caught:
            await worker.up(files({"1": text}))

    failure = caught.value.failure
    assert (failure.sqlstate, failure.message) == ("57014", "a statement ran for longer than the 300ms that it may")
    assert "TIDEGATE_STATEMENT_TIMEOUT" in (failure.hint or "")
    assert (await said(database)).ledger == ()


async def cancelled(database: Database, text: str) -> TidegateError:
    """The error of a run whose backend is cancelled, by somebody else, while it sleeps."""
    watcher = await database.connect()
    caught: list[TidegateError] = []

    async def run(worker: Worker) -> None:
        with pytest.raises(TidegateError) as raised:
            await worker.up(files({"1": text}))
        caught.append(raised.value)

    async with worker_on(database) as worker, anyio.create_task_group() as group:
        group.start_soon(run, worker)
        pid = worker.session.conn.get_server_pid()
        await until(watcher, "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $1", pid)
        await watcher.execute("SELECT pg_cancel_backend($1)", pid)
    await watcher.close()
    return caught[0]


async def test_a_statement_that_somebody_cancels_says_so(database: Database) -> None:
    error = await cancelled(database, "SELECT pg_sleep(60)")

    assert isinstance(error, MigrationFailedError)
    assert "somebody cancelled it" in error.message
    assert await said(database) == NOTHING


async def test_a_transaction_that_somebody_cancels_in_its_commit_is_looked_up_and_not_guessed(
    database: Database,
) -> None:
    text = """
        CREATE TABLE a (x int);
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER late AFTER INSERT ON a DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
            EXECUTE FUNCTION slow();
        INSERT INTO a VALUES (1);
    """
    error = await cancelled(database, text)

    assert isinstance(error, MigrationFailedError)
    assert "somebody cancelled it" in error.message
    assert await said(database) == NOTHING
    assert await database.fetchval("SELECT to_regclass('a') IS NULL")


CONTROL_TABLES = {
    "the fence": "LOCK TABLE tidegate.fence IN SHARE MODE",
    "the ledger": "LOCK TABLE tidegate.ledger",
    "its own row of the fence": "SELECT FROM tidegate.fence WHERE target = 'public.schema_migrations' FOR UPDATE",
}


@pytest.mark.parametrize("sql", CONTROL_TABLES.values(), ids=CONTROL_TABLES.keys())
async def test_a_lock_on_a_control_table_is_waited_for_within_limits_and_its_holder_is_named(
    database: Database, sql: str
) -> None:
    async with worker_on(database) as worker:
        await worker.up(files({"1": "CREATE TABLE a (x int)"}))
    other = await database.connect(server_settings={"application_name": "psql"})
    await other.execute(f"BEGIN; {sql}")
    two = files({"1": "CREATE TABLE a (x int)", "2": "CREATE TABLE b (x int)"})
    async with worker_on(database) as worker:
        assert await worker.session.conn.fetchval("SHOW lock_timeout") == "30s"
        await worker.session.conn.execute("SET lock_timeout = '300ms'")
        with pytest.raises(TimedOutError, match="application psql") as caught:
            await worker.up(two)
        assert not worker.session.conn.is_in_transaction()
    pid = other.get_server_pid()
    await other.close()

    assert (caught.value.reason, f"({pid})" in caught.value.hint) == ("control_lock", True)
    assert (await said(database)).ledger == (1,)
    async with worker_on(database) as worker:
        await worker.up(two)
    assert (await said(database)).ledger == (1, 2)


async def test_records_that_wait_for_a_control_table_hold_the_applications_locks_for_short_attempts_only(
    database: Database,
) -> None:
    async with worker_on(database) as worker:
        await worker.up(files({"1": "CREATE TABLE a (x int)"}))
    other = await database.connect(server_settings={"application_name": "psql"})
    await other.execute("BEGIN; LOCK TABLE tidegate.history IN SHARE MODE")
    async with worker_on(database) as worker, anyio.create_task_group() as group:
        group.start_soon(worker.up, files({"1": "CREATE TABLE a (x int)", "2": "ALTER TABLE a ADD COLUMN y int"}))
        retried = await worker.recorded.first(MigrationRetried)
        await other.close()
        await worker.recorded.first(MigrationFinished)

    assert (retried.version, retried.cause) == (2, "55P03")
    assert (await said(database)).ledger == (1, 2)


async def test_a_publish_waits_for_another_one_within_limits(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(files({"1": "CREATE TABLE a (x int)"}))
    other = await database.connect(server_settings={"application_name": "psql"})
    await other.execute("BEGIN")
    await other.execute(queries("home", "tidegate")["line_lock"], "schema_migrations")
    async with worker_on(database) as worker:
        await worker.session.conn.execute("SET lock_timeout = '300ms'")
        with pytest.raises(TimedOutError, match=r"publishing.* application psql"):
            await worker.publish(files({"1": "CREATE TABLE a (x int)", "2": "CREATE TABLE b (x int)"}))
        assert not worker.session.conn.is_in_transaction()
    await other.close()


async def test_a_prepared_transaction_in_the_way_is_named(server: Server) -> None:
    with running_server(server.version, server.binaries) as own:
        own.psql("ALTER SYSTEM SET max_prepared_transactions = 2")
        own.restart(Shutdown.FAST)
        own.psql("CREATE DATABASE app")
        database = Database("app", own)
        database.psql("CREATE TABLE a (x int); BEGIN; LOCK TABLE a; PREPARE TRANSACTION 'left behind';")
        site = replace(SITE, limits=replace(LIMITS, lock_budget=1.5))
        async with worker_on(database, site=site) as worker:
            with pytest.raises(MigrationFailedError, match="held by a prepared transaction") as caught:
                await worker.up(files(ALTER))
        assert "ROLLBACK PREPARED" in (caught.value.failure.hint or "")
        database.psql("ROLLBACK PREPARED 'left behind'")
