"""Sessions of the application that wait behind a migration: measured, told, and after a while let through."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import asyncpg
import pytest

from tests.fixtures.jobs import Said, files, said, until
from tests.fixtures.roles import RoleSet
from tests.fixtures.servers import Database
from tests.fixtures.sites import LIMITS, SITE, Recorded, Worker, bundle_of, tables, worker_on
from worker.core.events.event import Outcome
from worker.core.events.migration_events import (
    AppBlocked,
    MigrationFinished,
    MigrationRetried,
    MigrationStarted,
    SegmentRecovered,
    WatchLost,
)
from worker.errors import MigrationFailedError
from worker.jobs.steer import retry

# Locks the table, and keeps it until somebody says that all is calm.
HELD = "LOCK TABLE a;\nSELECT pg_sleep(CASE WHEN to_regclass('calm') IS NULL THEN 60 ELSE 0 END)"
READ = "SELECT count(*) FROM a"
DONE = Said((1, False), (1,), ((1, "up"),), ())
STRICT = replace(SITE, limits=replace(LIMITS, block_budget_ms=300, lock_budget=60))
SLEEPING = "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $1"
OURS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name ^@ 'tidegate'"


async def up(database: Database, migrations: Mapping[int, str]) -> None:
    """A run before the one that is looked at, so that the control schema is there."""
    async with worker_on(database) as worker:
        await worker.up(bundle_of(migrations))


@asynccontextmanager
async def application(database: Database, name: str = "web") -> AsyncIterator[asyncpg.Connection]:
    """A session of the application."""
    conn = await database.connect(server_settings={"application_name": name})
    try:
        yield conn
    finally:
        conn.terminate()


async def holds(watcher: asyncpg.Connection, worker: Worker) -> None:
    """Until the worker's migration sleeps with its locks held."""
    await until(watcher, SLEEPING, worker.session.conn.get_server_pid())


async def read_behind(database: Database, text: str, name: str = "web", sql: str = READ) -> Recorded:
    """Run a file, and a statement of somebody else's behind the locks that it holds; what was told of it."""
    await database.execute("CREATE TABLE a (x int)")
    async with application(database, name) as other, worker_on(database, site=STRICT) as worker:
        async with anyio.create_task_group() as group:
            group.start_soon(worker.up, files({"1": text}))
            await holds(other, worker)
            await other.execute(sql)
        return worker.recorded


async def test_a_migration_that_blocks_the_application_gives_way_and_is_tried_again(database: Database) -> None:
    await database.execute("CREATE TABLE a (x int)")
    async with application(database) as web, worker_on(database, site=STRICT) as worker:
        async with anyio.create_task_group() as group:
            group.start_soon(worker.up, files({"1": f"CREATE TABLE b (x int);\n{HELD}"}))
            await holds(web, worker)
            # Not before the lock is held: the read comes behind it, and is let through when the migration gives way.
            assert await web.fetchval(READ) == 0
            retried = await worker.recorded.first(MigrationRetried)
            assert await web.fetchval("SELECT to_regclass('b') IS NULL")
            await database.execute("CREATE TABLE calm ()")
        finished = worker.recorded.of(MigrationFinished)[-1]
        blocked = worker.recorded.of(AppBlocked)

    assert (retried.cause, retried.delay_seconds >= 0.15) == ("app_blocked", True)
    assert {(event.version, event.role, event.application) for event in blocked} == {(1, "postgres", "web")}
    assert blocked[-1].blocked_seconds > 0.3
    assert (finished.outcome, 0.3 < finished.app_blocked_seconds < 10) == (Outcome.SUCCEEDED, True)
    assert await said(database) == DONE


async def test_pauses_grow_until_the_budget_is_used_up_and_the_failure_names_who_was_blocked(
    database: Database,
) -> None:
    await database.execute("CREATE TABLE a (x int)")
    site = replace(SITE, limits=replace(LIMITS, block_budget_ms=200, lock_budget=2.5))
    async with worker_on(database, site=site) as worker, application(database) as web:

        async def reads() -> None:
            while not worker.recorded.of(MigrationFinished):
                await web.execute(READ)
                await web.execute("SELECT pg_sleep(0.01)")

        async with anyio.create_task_group() as group:
            group.start_soon(reads)
            with pytest.raises(MigrationFailedError) as caught:
                await worker.up(files({"1": f"CREATE TABLE b (x int);\n{HELD}"}))

    retries = worker.recorded.of(MigrationRetried)
    words = caught.value.failure.message
    assert {event.cause for event in retries} == {"app_blocked"}
    assert len(retries) >= 2
    assert retries[1].delay_seconds > retries[0].delay_seconds * 0.99
    assert all(part in words for part in ("role postgres", "application web", "200ms", "nothing was changed")), words
    assert "TIDEGATE_BLOCK_BUDGET" in (caught.value.failure.hint or "")
    assert READ not in repr([*worker.recorded.events, caught.value.failure])
    assert await said(database) == Said(None, (), (), ())
    assert await database.fetchval("SELECT to_regclass('b') IS NULL")

    await database.execute("CREATE TABLE calm ()")
    async with worker_on(database) as worker:
        await retry(worker.session, worker.site)
        await worker.round()
    assert await said(database) == DONE


async def test_a_file_may_set_its_own_budget_and_have_none(database: Database) -> None:
    told = await read_behind(database, "-- tidegate: block_budget=none\nLOCK TABLE a; SELECT pg_sleep(1.5)")
    finished = told.of(MigrationFinished)[-1]

    assert (finished.outcome, finished.retries) == (Outcome.SUCCEEDED, 0)
    assert 0.5 < finished.app_blocked_seconds < 10
    assert [event.application for event in told.of(AppBlocked)] == ["web"]


async def test_those_who_wait_behind_a_waiting_session_are_counted_too(database: Database) -> None:
    await database.execute("CREATE TABLE a (x int); CREATE TABLE b (x int)")
    async with (
        application(database, "first") as first,
        application(database, "second") as second,
        worker_on(database, site=STRICT) as worker,
        anyio.create_task_group() as group,
    ):
        group.start_soon(worker.up, files({"1": HELD}))
        await holds(first, worker)
        await first.execute("BEGIN; LOCK TABLE b")
        group.start_soon(second.execute, "SELECT count(*) FROM b")
        await first.execute(READ)
        await first.execute("COMMIT")
        await worker.recorded.first(MigrationRetried)
        await database.execute("CREATE TABLE calm ()")

    assert worker.recorded.of(AppBlocked)[-1].waiting == 2


OTHERS = {
    "waits for an advisory lock": ("web", "SELECT pg_advisory_xact_lock(7)"),
    "is the program's own": ("tidegate gate", READ),
}


@pytest.mark.parametrize(("name", "sql"), OTHERS.values(), ids=OTHERS.keys())
async def test_nobody_gives_way_to_a_session_that(database: Database, name: str, sql: str) -> None:
    text = "LOCK TABLE a; SELECT pg_advisory_xact_lock(7); SELECT pg_sleep(1)"
    told = await read_behind(database, text, name, sql)
    finished = told.of(MigrationFinished)[-1]

    assert (finished.outcome, finished.retries, finished.app_blocked_seconds) == (Outcome.SUCCEEDED, 0, 0)
    assert not told.of(AppBlocked)


async def test_a_concurrent_build_that_gave_way_is_mended_and_built_again(database: Database) -> None:
    await database.execute("CREATE TABLE a (x int)")
    old = await database.connect()
    await old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
    async with application(database) as web, worker_on(database, site=STRICT) as worker:
        waits = "SELECT wait_event = 'virtualxid' FROM pg_stat_activity WHERE pid = $1"
        async with anyio.create_task_group() as group:
            group.start_soon(worker.up, files({"1": "CREATE INDEX CONCURRENTLY i ON a (x)"}))
            await until(web, waits, worker.session.conn.get_server_pid())
            await web.execute("ALTER TABLE a ADD COLUMN y int")
            retried = await worker.recorded.first(MigrationRetried)
            assert await database.fetchval("SELECT state FROM tidegate.job") == "running"
            await old.close()
        steps = [event.step for event in worker.recorded.of(SegmentRecovered)]
        finished = worker.recorded.of(MigrationFinished)

    assert (retried.cause, steps) == ("app_blocked", ['dropping the invalid index "public"."i"'])
    assert [event.outcome for event in finished] == [Outcome.SUCCEEDED]
    assert await database.fetchval("SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass")
    assert await said(database) == DONE


async def test_a_concurrent_build_that_never_may_end_stays_recoverable(database: Database) -> None:
    await database.execute("CREATE TABLE a (x int)")
    old = await database.connect(server_settings={"application_name": "report"})
    await old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
    site = replace(SITE, limits=replace(LIMITS, lock_budget=0.5))
    build = files({"1": "CREATE INDEX CONCURRENTLY i ON a (x)"})
    async with worker_on(database, site=site) as worker:
        with pytest.raises(MigrationFailedError, match="application report") as caught:
            await worker.up(build)
    await old.close()

    assert "TIDEGATE_LOCK_BUDGET" in (caught.value.failure.hint or "")
    assert (await said(database)).journal == ((0, "failed"),)
    async with worker_on(database) as worker:
        await worker.up(build)
    assert await database.fetchval("SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass")
    assert await said(database) == DONE


async def test_a_statement_of_which_nobody_could_tell_what_it_did_is_not_cut(database: Database) -> None:
    text = "-- tidegate: transaction=off\nDO $$BEGIN COMMIT; LOCK TABLE a; PERFORM pg_sleep(1.5); END$$"
    told = await read_behind(database, text)
    finished = told.of(MigrationFinished)[-1]

    assert (finished.outcome, finished.retries) == (Outcome.SUCCEEDED, 0)
    assert told.of(AppBlocked)


async def test_an_owner_that_may_not_act_as_the_login_gives_way_too(database: Database, roles: RoleSet) -> None:
    database.psql(f'CREATE TABLE a (x int); ALTER TABLE a OWNER TO "{roles.owner}"')
    dsn = roles.dsn("migrator", options=f"-c role={roles.owner}")
    async with application(database) as web, worker_on(database, dsn=dsn, site=STRICT) as worker:
        async with anyio.create_task_group() as group:
            group.start_soon(worker.up, files({"1": HELD}))
            await holds(web, worker)
            await web.execute(READ)
            await worker.recorded.first(MigrationRetried)
            await database.execute("CREATE TABLE calm ()")
        assert not worker.recorded.of(WatchLost)

    assert worker.recorded.of(AppBlocked)[-1].application == "web"
    assert await said(database) == DONE


async def test_a_migration_goes_on_where_nobody_can_watch_it(database: Database) -> None:
    role = f"alone_{database.name}"
    await database.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'alone' CONNECTION LIMIT 1")
    await database.execute(f"GRANT CREATE ON DATABASE {database.name} TO {role}; GRANT ALL ON SCHEMA public TO {role}")
    try:
        async with worker_on(database, dsn=database.dsn_as(role, "alone"), site=STRICT) as worker:
            await worker.up(files({"1": "SELECT pg_sleep(0.5)", "2": "SELECT pg_sleep(0.5)"}))
        (lost,) = worker.recorded.of(WatchLost)
        assert "too many connections" in lost.message
        assert (await said(database)).ledger == (1, 2)
    finally:
        await database.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


async def test_a_watch_that_is_cut_hurts_no_migration(database: Database) -> None:
    async with application(database) as web, worker_on(database) as worker:
        async with anyio.create_task_group() as group:
            group.start_soon(worker.up, files({"1": "SELECT pg_sleep(1)"}))
            watching = "FROM pg_stat_activity WHERE datname = current_database() AND application_name ^@ 'tidegate con'"
            await until(web, f"SELECT EXISTS (SELECT {watching} AND query LIKE '%blocking_pids%')")
            await web.execute(f"SELECT pg_terminate_backend(pid) {watching}")
            await worker.recorded.first(WatchLost)
        assert worker.recorded.of(MigrationFinished)[-1].outcome is Outcome.SUCCEEDED

    assert await said(database) == DONE


async def test_a_hundred_small_migrations_are_watched_by_one_connection_at_most(database: Database) -> None:
    opened: list[str] = []
    await up(database, tables(1))
    async with worker_on(database) as worker:
        connect = worker.session.second
        assert connect is not None

        async def counted() -> asyncpg.Connection:
            opened.append("one")
            return await connect()

        worker.session = replace(worker.session, second=counted)
        await worker.up(bundle_of(tables(*range(1, 102))))
        assert len(worker.recorded.of(MigrationFinished)) == 100

    assert len(opened) <= 1


async def test_two_slow_migrations_are_watched_by_one_connection_which_then_goes(database: Database) -> None:
    opened: list[asyncpg.Connection] = []
    await up(database, tables(1))
    async with worker_on(database) as worker:
        connect = worker.session.second
        assert connect is not None

        async def counted() -> asyncpg.Connection:
            opened.append(await connect())
            return opened[-1]

        worker.session = replace(worker.session, second=counted)
        slow = dict.fromkeys((2, 3), "SELECT pg_sleep(0.4)")
        await worker.up(bundle_of(tables(1) | slow))
        assert [conn.is_closed() for conn in opened] == [True]
        await until(worker, f"SELECT ({OURS}) = 1")


async def test_a_cancelled_run_leaves_no_watch(database: Database) -> None:
    await up(database, tables(1))
    async with application(database) as web, worker_on(database) as worker:
        async with anyio.create_task_group() as group:
            group.start_soon(worker.up, bundle_of(tables(1) | {2: "SELECT pg_sleep(60)"}))
            await until(web, f"SELECT ({OURS}) = 2")
            group.cancel_scope.cancel()
        await until(web, f"SELECT ({OURS}) <= 1")

    assert worker.recorded.of(MigrationFinished)[-1].outcome is Outcome.INTERRUPTED


async def test_the_application_is_blocked_for_no_time_at_all_where_nobody_waits(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(files({"1": "SELECT pg_sleep(0.5)"}))

    assert len(worker.recorded.of(MigrationStarted)) == 1
    assert worker.recorded.of(MigrationFinished)[-1].app_blocked_seconds == 0
