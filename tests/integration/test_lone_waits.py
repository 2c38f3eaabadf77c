"""A statement that no transaction holds waits for locks as kindly as one that does, and never for ever."""

import statistics
from dataclasses import replace

import anyio
import pytest

from tests.fixtures.jobs import Said, files, said, until
from tests.fixtures.servers import Database
from tests.fixtures.sites import LIMITS, SITE, worker_on
from tests.fixtures.waits import READERS, TIMED_READ, autovacuum, reader, waits_of_readers
from worker.core.events.event import Outcome
from worker.core.events.events import JobFinished
from worker.core.events.migration_events import AppBlocked, MigrationFinished, MigrationRetried
from worker.errors import MigrationFailedError
from worker.postgres.session import DrainedError

ALTER = {"1": "ALTER TABLE a ADD COLUMN y int"}
DONE = Said((1, False), (1,), ((1, "up"),), ())
NOTHING = Said(None, (), (), ())
LONE = {
    "a rewrite": "VACUUM FULL a",
    "a statement of its own transaction": "-- tidegate: transaction=off\nALTER TABLE a ADD COLUMN y int",
    "a rebuilding of all": "REINDEX SCHEMA public",
}


@pytest.mark.parametrize("sql", LONE.values(), ids=LONE.keys())
async def test_a_lone_statement_that_waits_lets_readers_through_as_a_transaction_does(
    database: Database, sql: str
) -> None:
    await database.execute(f"{TIMED_READ}; CREATE INDEX i ON a (x)")
    waited = await waits_of_readers(database, 100, sql)

    blocked = [seconds for seconds in waited if seconds > 0.02]
    assert len(blocked) >= READERS
    # Some may have been held up by a busy machine; none as by a queue.
    assert statistics.median(blocked) <= 0.15
    assert max(blocked) < 1
    assert await said(database) == DONE


async def test_a_lone_statement_that_never_gets_its_lock_fails_within_the_budget_and_names_the_holder(
    database: Database,
) -> None:
    await database.execute("CREATE TABLE a (x int)")
    site = replace(SITE, limits=replace(LIMITS, lock_budget=1))
    async with reader(database), worker_on(database, site=site) as worker:
        with pytest.raises(MigrationFailedError, match="application report") as caught:
            await worker.up(files({"1": "VACUUM FULL a"}))
    async with worker_on(database) as again:
        await again.up(files({"1": "VACUUM FULL a"}))

    assert "TIDEGATE_LOCK_BUDGET" in caught.value.hint
    assert len(worker.recorded.of(MigrationRetried)) > 1
    assert await said(database) == DONE


UNWATCHED = {
    "a concurrent build": "CREATE INDEX CONCURRENTLY i ON a (x)",
    "code that may commit": "-- tidegate: transaction=off\nDO $$BEGIN LOCK TABLE a; END$$",
    "a block without a lock timeout": "-- tidegate: lock_timeout=none\nLOCK TABLE a",
}


@pytest.mark.parametrize("sql", UNWATCHED.values(), ids=UNWATCHED.keys())
async def test_nothing_waits_for_ever_where_nobody_watches(database: Database, sql: str) -> None:
    await database.execute("CREATE TABLE a (x int)")
    site = replace(SITE, limits=replace(LIMITS, lock_budget=1))
    async with reader(database) as other, worker_on(database, site=site) as worker:
        await other.execute("LOCK TABLE a")
        worker.session = replace(worker.session, second=None)
        with anyio.fail_after(20), pytest.raises(MigrationFailedError, match="nobody saw by whom"):
            await worker.up(files({"1": sql}))
    assert (await said(database)).ledger == ()


async def test_a_lone_statement_that_waits_behind_an_autovacuum_has_it_give_way(database: Database) -> None:
    options = "autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0"
    site = replace(SITE, limits=replace(LIMITS, lock_budget=60))
    async with (
        autovacuum(database, change="DELETE FROM a WHERE x % 2 = 0", options=options),
        worker_on(database, site=site) as worker,
    ):
        await worker.up(files({"1": "VACUUM FULL a"}))

    assert {event.cause for event in worker.recorded.of(MigrationRetried)} == {"55P03"}
    assert await said(database) == DONE


async def test_a_lone_statement_that_is_a_deadlocks_victim_is_tried_again(database: Database) -> None:
    await database.execute("CREATE TABLE a (x int); CREATE INDEX i ON a (x); CREATE TABLE b (x int)")
    other, watcher = await database.connect(), await database.connect()
    await other.execute("BEGIN; SELECT FROM a; SET LOCAL deadlock_timeout = '60s'")
    # With its index being built, the build waits for the reader; and that then for what the build has locked.
    async with worker_on(database) as worker, anyio.create_task_group() as group:
        group.start_soon(worker.up, files({"1": "CREATE INDEX CONCURRENTLY j ON a (x)"}))
        waits = "SELECT wait_event = 'virtualxid' FROM pg_stat_activity WHERE pid = $1"
        await other.execute("COMMIT; BEGIN; LOCK TABLE a IN ROW EXCLUSIVE MODE; SET LOCAL deadlock_timeout = '60s'")
        await until(watcher, waits, worker.session.conn.get_server_pid())
        await other.execute("LOCK TABLE a IN SHARE UPDATE EXCLUSIVE MODE")
        await other.execute("COMMIT")
        await worker.recorded.first(MigrationFinished)
    await other.close()
    await watcher.close()

    assert [event.cause for event in worker.recorded.of(MigrationRetried)] == ["40P01"]
    assert await database.fetchval("SELECT count(*) FROM pg_index WHERE indrelid = 'a'::regclass AND indisvalid") == 2
    assert await said(database) == DONE


async def test_a_drain_ends_a_pause_and_begins_no_further_attempt(database: Database) -> None:
    await database.execute("CREATE TABLE a (x int)")
    site = replace(SITE, limits=replace(LIMITS, block_budget_ms=30_000, lock_budget=600))
    async with reader(database), worker_on(database, site=site) as worker, anyio.create_task_group() as group:
        asked = anyio.Event()
        worker.session = replace(worker.session, draining=asked.is_set)

        async def run() -> None:
            with pytest.raises(DrainedError):
                await worker.up(files(ALTER))

        group.start_soon(run)
        await worker.recorded.first(MigrationRetried)
        asked.set()
        await worker.recorded.first(MigrationFinished)

    (job,) = worker.recorded.of(JobFinished)
    assert job.outcome is Outcome.INTERRUPTED
    assert await said(database) == NOTHING


async def test_the_drop_of_a_cut_builds_index_gives_way_to_the_application_and_is_finished(database: Database) -> None:
    await database.execute("CREATE TABLE a (x int); INSERT INTO a VALUES (1), (1)")
    build = {"1": "CREATE UNIQUE INDEX CONCURRENTLY i ON a (x)"}
    async with worker_on(database) as first:
        with pytest.raises(MigrationFailedError):
            await first.up(files(build))
    await database.execute("DELETE FROM a")
    site = replace(SITE, limits=replace(LIMITS, block_budget_ms=300, lock_budget=60))
    web, watcher = await database.connect(), await database.connect()
    async with reader(database) as old, worker_on(database, site=site) as worker, anyio.create_task_group() as group:
        group.start_soon(worker.up, files(build))
        drops = "SELECT wait_event = 'virtualxid' AND query ~ 'DROP INDEX' FROM pg_stat_activity WHERE pid = $1"
        await until(watcher, drops, worker.session.conn.get_server_pid())
        await web.execute("ALTER TABLE a ALTER COLUMN x SET STATISTICS 10")
        retried = await worker.recorded.first(MigrationRetried)
        await old.execute("COMMIT")
        await worker.recorded.first(MigrationFinished)
    await web.close()
    await watcher.close()

    assert (retried.cause, len(worker.recorded.of(AppBlocked)) > 0) == ("app_blocked", True)
    assert await database.fetchval("SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass")
    assert await said(database) == DONE


# Quick the first time and slow when it is repeated; the error tells no place.
SLOW_AGAIN = """
LOCK TABLE a;
SELECT pg_sleep(CASE WHEN nextval('times') = 1 THEN 0 ELSE 60 END);
SELECT 1 / 0
"""


async def test_the_search_for_a_failed_statement_holds_readers_up_for_no_longer_than_the_block_budget(
    database: Database,
) -> None:
    await database.execute("CREATE TABLE a (x int); CREATE SEQUENCE times")
    site = replace(SITE, limits=replace(LIMITS, block_budget_ms=400))
    web, watcher = await database.connect(), await database.connect()
    async with worker_on(database, site=site) as worker, anyio.create_task_group() as group:

        async def run() -> None:
            with pytest.raises(MigrationFailedError, match="line unknown"):
                await worker.up(files({"1": SLOW_AGAIN}))

        group.start_soon(run)
        sleeps = "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $1"
        await until(watcher, sleeps, worker.session.conn.get_server_pid())
        began = worker.session.clock()
        await web.execute("SELECT FROM a")
        waited = worker.session.clock() - began
    await web.close()
    await watcher.close()

    # Without the limit it is five seconds; the rest is the time that a cancel takes.
    assert waited < 2
    assert worker.recorded.of(MigrationFinished)[-1].app_blocked_seconds < 2
    assert await said(database) == NOTHING
