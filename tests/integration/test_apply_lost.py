"""A connection that is lost in the middle, and transactions that only another attempt can bring in."""

from dataclasses import replace

import anyio
import pytest

from tests.fixtures.jobs import TARGET, Said, files, gone, said, until
from tests.fixtures.relay import Relay
from tests.fixtures.servers import Database
from tests.fixtures.sites import LIMITS, SITE, Worker, worker_on
from worker.core.bundles.bundle import Bundle
from worker.core.events.event import Outcome
from worker.core.events.migration_events import MigrationFinished, MigrationRetried
from worker.core.planning.job import JobState
from worker.errors import MigrationFailedError
from worker.postgres.faults import ConnectionLostError

DONE = Said((1, False), (1,), ((1, "up"),), ())


async def lost(database: Database, text: str, event: str) -> None:
    """Run a file and end its backend while it waits for `event`."""
    watcher = await database.connect()
    waiting = "SELECT wait_event = $2 FROM pg_stat_activity WHERE pid = $1"

    async def run(worker: Worker, bundle: Bundle) -> None:
        with pytest.raises(ConnectionLostError):
            await worker.up(bundle)

    async with worker_on(database) as worker, anyio.create_task_group() as group:
        pid = worker.session.conn.get_server_pid()
        group.start_soon(run, worker, files({"1": text}))
        await until(watcher, waiting, pid, event)
        await watcher.execute("SELECT pg_terminate_backend($1)", pid)
    await watcher.close()
    await gone(database, pid)
    assert worker.recorded.of(MigrationFinished)[-1].outcome is Outcome.INTERRUPTED


async def test_a_connection_lost_before_the_commit_leaves_nothing_and_the_next_run_applies(database: Database) -> None:
    text = "CREATE TABLE a (x int); SELECT pg_sleep(CASE WHEN to_regclass('go') IS NULL THEN 60 ELSE 0 END)"
    await lost(database, text, "PgSleep")

    assert await said(database) == Said(None, (), (), ())
    assert await database.fetchval("SELECT to_regclass('a') IS NULL")
    async with worker_on(database) as worker:
        job = (await worker.look()).job
        assert job is not None
        assert job.state is JobState.RUNNING
        await database.execute("CREATE TABLE go (x int)")
        await worker.up()
    assert await said(database) == DONE


async def test_a_commit_whose_answer_was_lost_is_found_done(database: Database) -> None:
    text = "CREATE TABLE a (x int); SELECT pg_sleep(0.3)"
    watcher = await database.connect()
    async with anyio.create_task_group() as group, Relay(database.server.port).open() as relay:
        dsn = database.dsn_as(sslmode="disable").replace(f":{database.server.port}/", f":{relay.port}/")
        async with worker_on(database, dsn=dsn) as worker:
            pid = worker.session.conn.get_server_pid()

            async def run() -> None:
                with pytest.raises(ConnectionLostError):
                    await worker.up(files({"1": text}))

            group.start_soon(run)
            await until(watcher, "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $1", pid)
            relay.fall_silent()
            await until(watcher, "SELECT EXISTS (SELECT FROM tidegate.ledger WHERE target = $1)", TARGET)
            worker.session.conn.terminate()
            finished = await worker.recorded.first(MigrationFinished)
    await watcher.close()
    await gone(database, pid)

    assert finished.outcome is Outcome.INTERRUPTED
    async with worker_on(database) as worker:
        report = await worker.up(files({"1": text}))
        job = (await worker.look()).job
    assert (report.applied, await said(database)) == ((), DONE)
    assert job is not None
    assert job.state is JobState.SUCCEEDED
    assert await database.fetchval("SELECT tidegate.ready(at_least => 1)")


async def test_a_serialization_failure_is_tried_again(database: Database) -> None:
    await database.execute("CREATE TABLE a (x int); INSERT INTO a VALUES (0); CREATE TABLE other (y int)")
    # The first attempt's snapshot is taken before the lock is waited for, and the row changes while it waits.
    text = (
        "-- tidegate: lock_timeout=10s\n"
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM a;"
        "LOCK TABLE other; UPDATE a SET x = x + 1; COMMIT"
    )
    other, watcher = await database.connect(), await database.connect()
    await other.execute("BEGIN; LOCK TABLE other; UPDATE a SET x = 10")
    async with worker_on(database) as worker, anyio.create_task_group() as group:
        group.start_soon(worker.up, files({"1": text}))
        waiting = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1"
        await until(watcher, waiting, worker.session.conn.get_server_pid())
        await other.execute("COMMIT")
        await worker.recorded.first(MigrationFinished)
    await other.close()
    await watcher.close()

    assert [event.cause for event in worker.recorded.of(MigrationRetried)] == ["40001"]
    assert (await database.fetchval("SELECT x FROM a"), await said(database)) == (11, DONE)


async def test_a_deadlock_is_tried_again(database: Database) -> None:
    await database.execute("CREATE TABLE a (x int); CREATE TABLE b (x int)")
    other, watcher = await database.connect(), await database.connect()
    # The check is made once in a wait: the worker begins its wait when the other one waits, which never checks.
    await other.execute("SET deadlock_timeout = '60s'; BEGIN; LOCK TABLE b")
    text = """-- tidegate: lock_timeout=30s
        SET LOCAL deadlock_timeout = '10ms';
        LOCK TABLE a;
        DO $$BEGIN
            FOR i IN 1..100 LOOP
                EXIT WHEN to_regclass('given_way') IS NOT NULL;
                EXIT WHEN EXISTS (SELECT FROM pg_locks WHERE relation = 'a'::regclass AND NOT granted);
                PERFORM pg_sleep(0.05);
            END LOOP;
        END$$;
        LOCK TABLE b"""
    async with worker_on(database) as worker, anyio.create_task_group() as group:
        group.start_soon(worker.up, files({"1": text}))
        pid = worker.session.conn.get_server_pid()
        await until(watcher, "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $1", pid)
        await other.execute("LOCK TABLE a; CREATE TABLE given_way (x int); COMMIT")
        await worker.recorded.first(MigrationFinished)
    await other.close()
    await watcher.close()

    assert [event.cause for event in worker.recorded.of(MigrationRetried)] == ["40P01"]
    assert await said(database) == DONE


async def test_another_attempt_does_not_meet_what_the_first_one_prepared(database: Database) -> None:
    await database.execute("CREATE TABLE a (x int)")
    other = await database.connect()
    await other.execute("BEGIN; LOCK TABLE a")
    text = "PREPARE p AS SELECT 1; CREATE TEMP TABLE t (x int); ALTER TABLE a ADD COLUMN y int"
    async with worker_on(database) as worker, anyio.create_task_group() as group:
        group.start_soon(worker.up, files({"1": text}))
        await worker.recorded.first(MigrationRetried)
        await other.close()
        await worker.recorded.first(MigrationFinished)

    assert await said(database) == DONE


async def test_a_lock_timeout_names_the_statement_that_waited(database: Database) -> None:
    await database.execute("CREATE TABLE a (x int)")
    other = await database.connect()
    await other.execute("BEGIN; LOCK TABLE a")
    site = replace(SITE, limits=replace(LIMITS, lock_timeout_ms=50, lock_budget=0))
    async with worker_on(database, site=site) as worker:
        with pytest.raises(MigrationFailedError) as caught:
            await worker.up(files({"1": "PREPARE p AS SELECT 1;\nALTER TABLE a ADD COLUMN y int;"}))
    await other.close()

    assert (caught.value.failure.sqlstate, caught.value.failure.where) == ("55P03", "0001_m.up.sql:2")
