"""A message that is refused in its COMMIT, or behind it: the ledger is asked at once, and nothing is done twice."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import asyncpg
import pytest

from tests.fixtures.jobs import Said, files, said, until
from tests.fixtures.servers import Database
from tests.fixtures.sites import LIMITS, SITE, Worker, worker_on
from worker.core.events.event import Outcome
from worker.core.events.migration_events import MigrationFinished, MigrationRetried
from worker.core.lock_keys import target_key
from worker.core.target import Target
from worker.errors import MigrationFailedError
from worker.postgres.faults import ConnectionLostError

# At COMMIT the trigger keeps the table for as long as nobody has said that all is calm.
SLOW = """
CREATE TABLE b (x int);
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(CASE WHEN to_regclass(''calm'') IS NULL THEN 60 ELSE 0 END); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON b DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow();
LOCK TABLE a;
INSERT INTO b VALUES (1);
"""
MANNERS = {"in one transaction": SLOW, "by segments": f"CREATE TABLE c (x int); COMMIT; {SLOW}"}
READ = "SELECT count(*) FROM a"
DONE = Said((1, False), (1,), ((1, "up"),), ())
SLEEPS = "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $1"
WAITS = "SELECT wait_event = 'relation' FROM pg_stat_activity WHERE pid = $1"
# What stands behind the COMMIT, sent again by itself.
AGAIN = "SELECT wait_event = 'relation' AND query ~ '^\\s*;CLOSE|^CLOSE' FROM pg_stat_activity WHERE pid = $1"


@asynccontextmanager
async def web(database: Database) -> AsyncIterator[asyncpg.Connection]:
    conn = await database.connect(server_settings={"application_name": "web"})
    try:
        yield conn
    finally:
        conn.terminate()


@pytest.mark.parametrize("text", MANNERS.values(), ids=MANNERS.keys())
async def test_a_migration_that_blocks_the_application_in_its_commit_gives_way_and_is_tried_again(
    database: Database, text: str
) -> None:
    await database.execute("CREATE TABLE a (x int)")
    site = replace(SITE, limits=replace(LIMITS, block_budget_ms=300, lock_budget=60))
    async with web(database) as other, worker_on(database, site=site) as worker:
        async with anyio.create_task_group() as group:
            group.start_soon(worker.up, files({"1": text}))
            await until(other, SLEEPS, worker.session.conn.get_server_pid())
            assert await other.fetchval(READ) == 0
            retried = await worker.recorded.first(MigrationRetried)
            await database.execute("CREATE TABLE calm ()")
        finished = worker.recorded.of(MigrationFinished)

    assert (retried.cause, [event.outcome for event in finished]) == ("app_blocked", [Outcome.SUCCEEDED])
    assert (await said(database), await database.fetchval("SELECT count(*) FROM b")) == (DONE, 1)


async def test_a_migration_that_blocks_it_in_each_commit_fails_within_the_budget_and_names_who_waited(
    database: Database,
) -> None:
    await database.execute("CREATE TABLE a (x int)")
    site = replace(SITE, limits=replace(LIMITS, block_budget_ms=200, lock_budget=2))
    async with web(database) as other, worker_on(database, site=site) as worker:

        async def reads() -> None:
            while not worker.recorded.of(MigrationFinished):
                await other.execute(READ)
                await other.execute("SELECT pg_sleep(0.01)")

        async with anyio.create_task_group() as group:
            group.start_soon(reads)
            with pytest.raises(MigrationFailedError, match="application web") as caught:
                await worker.up(files({"1": SLOW}))

    assert "it kept the application waiting" in caught.value.message
    assert {event.cause for event in worker.recorded.of(MigrationRetried)} == {"app_blocked"}
    assert await said(database) == Said(None, (), (), ())


# The session's temporary table is there from the first segment on, and is dropped behind the COMMIT of the last one.
TEMPORARY = """
CREATE TEMP TABLE kept (x int); COMMIT;
DO $$BEGIN
    FOR i IN 1..1200 LOOP
        EXIT WHEN EXISTS (SELECT FROM pg_class WHERE relname = 'locked');
        PERFORM pg_sleep(0.05);
    END LOOP;
END$$
"""


Befall = Callable[[asyncpg.Connection, asyncpg.Connection, int], Awaitable[None]]


async def refused_behind_commit(database: Database, befall: Befall) -> Worker:
    """A run whose last message is committed, and refused behind that by what `befall` does.

    That gets who is in its way, a watcher, and the number of its backend.
    """
    async with worker_on(database) as worker, web(database) as other, web(database) as watcher:
        async with anyio.create_task_group() as group:
            pid = worker.session.conn.get_server_pid()
            group.start_soon(worker.up, files({"1": TEMPORARY}))
            there = "SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'kept'"
            await until(watcher, f"SELECT ({there}) IS NOT NULL")
            await other.execute(f"BEGIN; LOCK TABLE {await watcher.fetchval(there)}.kept")
            await database.execute("CREATE TABLE locked ()")
            await until(watcher, WAITS, pid)
            await befall(other, watcher, pid)
        return worker


async def test_a_cancel_behind_the_commit_undoes_nothing_and_repeats_nothing(database: Database) -> None:
    async def befall(other: asyncpg.Connection, watcher: asyncpg.Connection, pid: int) -> None:
        await watcher.execute("SELECT pg_cancel_backend($1)", pid)
        await until(watcher, AGAIN, pid)
        await other.execute("COMMIT")

    worker = await refused_behind_commit(database, befall)

    assert [event.outcome for event in worker.recorded.of(MigrationFinished)] == [Outcome.SUCCEEDED]
    assert worker.recorded.of(MigrationRetried) == []
    assert await said(database) == DONE


async def test_a_deadlock_behind_the_commit_undoes_nothing_and_repeats_nothing(database: Database) -> None:
    async def waits_for_ours(other: asyncpg.Connection) -> None:
        await other.execute("SET LOCAL deadlock_timeout = '60s'")
        with pytest.raises(asyncpg.QueryCanceledError):
            await other.execute(f"SELECT pg_advisory_xact_lock({target_key(Target('public', 'schema_migrations'))})")
        await other.execute("ROLLBACK")

    async def befall(other: asyncpg.Connection, watcher: asyncpg.Connection, pid: int) -> None:
        # It waits for our lock, and we for its table: the server ends our wait.
        async with anyio.create_task_group() as group:
            group.start_soon(waits_for_ours, other)
            await until(watcher, AGAIN, pid)
            await watcher.execute("SELECT pg_cancel_backend($1)", other.get_server_pid())

    before = database.server.log().count("deadlock detected")
    worker = await refused_behind_commit(database, befall)

    assert database.server.log().count("deadlock detected") == before + 1
    assert worker.recorded.of(MigrationFinished)[-1].outcome is Outcome.SUCCEEDED
    assert worker.recorded.of(MigrationRetried) == []
    assert await said(database) == DONE


async def test_what_cannot_be_dropped_behind_the_commit_costs_the_connection_and_the_migration_stays_applied(
    database: Database,
) -> None:
    async def befall(_other: asyncpg.Connection, watcher: asyncpg.Connection, pid: int) -> None:
        await watcher.execute("SELECT pg_cancel_backend($1)", pid)
        await until(watcher, AGAIN, pid)
        await watcher.execute("SELECT pg_cancel_backend($1)", pid)

    with pytest.raises(BaseExceptionGroup) as caught:
        await refused_behind_commit(database, befall)

    (error,) = caught.value.exceptions
    assert isinstance(error, ConnectionLostError)
    assert "0001_m.up.sql is applied" in error.message
    assert await said(database) == DONE
