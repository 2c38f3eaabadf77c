"""Plain migrations that are sent in one message: each has a transaction of its own, and none is hurt by the others."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from tests.fixtures.jobs import LEAKY, PROOF, TARGET, files, gone, making, nothing_leaked, of, said, until
from tests.fixtures.servers import Database
from tests.fixtures.sites import LIMITS, SITE, Worker, worker_on
from worker.core.events.event import Outcome
from worker.core.events.migration_events import (
    MigrationFailed,
    MigrationFinished,
    MigrationRetried,
    MigrationStarted,
    PipelineStarted,
    PipelineStopped,
)
from worker.core.lock_keys import golang_keys
from worker.core.target import Target
from worker.errors import MigrationFailedError
from worker.jobs.site import Site
from worker.postgres.faults import FencedError
from worker.postgres.session import DrainedError

LEDGER = f"FROM tidegate.ledger WHERE target = '{TARGET}'"
ASLEEP = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep')"
QUICK = 1000
"""How many times quicker than it is a run thinks that it is: how many go together then does not depend on the load."""


@asynccontextmanager
async def quick(database: Database, site: Site = SITE) -> AsyncIterator[Worker]:
    async with worker_on(database, site=site) as worker:
        worker.session = replace(worker.session, clock=lambda: time.monotonic() / QUICK)
        yield worker


async def run(database: Database, contents: Mapping[str, str], site: Site = SITE) -> Worker:
    async with quick(database, site) as worker:
        await worker.up(files(contents))
        return worker


async def failing(database: Database, contents: Mapping[str, str]) -> Worker:
    async with quick(database) as worker:
        with pytest.raises(MigrationFailedError):
            await worker.up(files(contents))
        return worker


def together(worker: Worker) -> list[tuple[int, int]]:
    """The first and the last version of each message that held several."""
    return [(event.first, event.last) for event in worker.recorded.of(PipelineStarted)]


def stopped(worker: Worker) -> list[PipelineStopped]:
    return worker.recorded.of(PipelineStopped)


async def test_each_has_a_transaction_and_a_record_of_its_own_and_twice_as_many_go_into_the_next_message(
    database: Database,
) -> None:
    worker = await run(database, making(*range(1, 13)))

    assert together(worker) == [(2, 3), (4, 7), (8, 12)]
    assert stopped(worker) == []
    assert await said(database) == of(*range(1, 13))
    assert await database.fetchval(f"SELECT count(DISTINCT xmin::text) {LEDGER}") == 12
    assert [event.version for event in worker.recorded.of(MigrationStarted)] == list(range(1, 13))
    finished = worker.recorded.of(MigrationFinished)
    assert [(event.version, event.outcome) for event in finished] == [(v, Outcome.SUCCEEDED) for v in range(1, 13)]


async def test_the_record_of_each_says_how_long_it_took_by_itself(database: Database) -> None:
    contents = making(1, 2, 4) | {"3": "SELECT pg_sleep(0.3)"}

    worker = await run(database, contents)

    assert together(worker) == [(2, 3)]
    rows = await database.fetch(f"SELECT duration_ms {LEDGER} ORDER BY version")
    assert [row["duration_ms"] >= 300 for row in rows] == [False, False, True, False]
    told = [event.duration_seconds * 1000 for event in worker.recorded.of(MigrationFinished)]
    assert told[1:3] == pytest.approx([row["duration_ms"] for row in rows][1:3])


async def test_only_the_last_commit_of_a_message_waits_for_the_disk(database: Database) -> None:
    told = "CREATE TABLE said AS SELECT 0 AS v, ''::text AS s"
    asks = {str(v): f"INSERT INTO said SELECT {v}, current_setting('synchronous_commit')" for v in range(3, 8)}
    at_commit = (
        "CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN UPDATE public.said SET s = s || ' ' || current_setting('synchronous_commit') "
        "WHERE v = NEW.v; RETURN NULL; END$$;"
        "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON said DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION at_commit()"
    )

    worker = await run(database, {"1": told, "2": at_commit} | asks)

    assert together(worker) == [(2, 3), (4, 7)]
    rows = await database.fetch("SELECT v, s FROM said WHERE v > 2 ORDER BY v")
    # Each body runs under the session's own setting.
    assert [row["s"] for row in rows] == ["on on", "on off", "on off", "on off", "on on"]


async def test_one_that_takes_long_is_cut_and_runs_by_itself_after_that(database: Database) -> None:
    slow = "CREATE TABLE t5 (a int); SELECT pg_sleep(0.6)"
    site = replace(SITE, limits=replace(LIMITS, block_budget_ms=1000))

    worker = await run(database, making(*range(1, 9)) | {"5": slow}, site)

    assert together(worker) == [(2, 3), (4, 7), (6, 7)]
    assert stopped(worker) == [PipelineStopped(4, 7, 4, 1, "slow")]
    assert await said(database) == of(*range(1, 9))
    assert await database.fetchval(f"SELECT duration_ms >= 600 {LEDGER} AND version = 5")


async def test_a_failure_leaves_those_before_it_and_is_told_as_ever(database: Database) -> None:
    worker = await failing(database, making(*range(1, 8)) | {"6": "SELECT 1;\nSELECT nosuch"})

    assert stopped(worker) == [PipelineStopped(4, 7, 4, 2, "42703")]
    assert await said(database) == of(1, 2, 3, 4, 5)
    (failed,) = worker.recorded.of(MigrationFailed)
    assert (failed.version, failed.failure.where) == (6, "0006_m.up.sql:2:8")
    assert await database.fetchval("SELECT versions FROM tidegate.readiness") == [1, 2, 3, 4, 5]
    assert await database.fetchval("SELECT state FROM tidegate.job") == "failed"
    assert await database.fetchval("SELECT to_regclass('t7')::text") is None


async def test_a_text_that_is_no_sql_has_those_before_it_applied(database: Database) -> None:
    worker = await failing(database, making(*range(1, 8)) | {"6": "CREATE TABEL t6 (a int)"})

    assert await said(database) == of(1, 2, 3, 4, 5)
    (failed,) = worker.recorded.of(MigrationFailed)
    assert (failed.version, failed.failure.where) == (6, "0006_m.up.sql:1:8")


async def test_a_commit_that_fails_undoes_its_own_migration_alone(database: Database) -> None:
    unique = "CREATE TABLE u (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)"
    twice = "INSERT INTO u VALUES (1), (1)"

    worker = await failing(database, making(1, 3, 4, 6, 7) | {"2": unique, "5": twice})

    assert stopped(worker) == [PipelineStopped(4, 7, 4, 1, "23505")]
    assert await said(database) == of(1, 2, 3, 4)
    assert [event.version for event in worker.recorded.of(MigrationFailed)] == [5]


@pytest.mark.parametrize(
    "lone",
    [
        "CREATE INDEX CONCURRENTLY t1_a ON t1 (a)",
        "-- tidegate: transaction=off\nSELECT 1",
        "-- tidegate: lock_timeout=1s\nSELECT 1",
        "-- tidegate: gate=off\nSELECT 1",
        "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1; COMMIT",
    ],
)
async def test_one_with_needs_of_its_own_runs_by_itself_between_two_messages(database: Database, lone: str) -> None:
    worker = await run(database, making(*range(1, 9)) | {"6": lone})

    assert together(worker) == [(2, 3), (4, 5), (7, 8)]
    assert await said(database) == of(*range(1, 9))


async def test_what_one_set_in_the_session_is_gone_for_the_next_one_of_its_message(database: Database) -> None:
    worker = await run(database, making(1) | {"2": LEAKY, "3": PROOF})

    assert together(worker) == [(2, 3)]
    assert await nothing_leaked(database)


async def test_one_that_drops_the_advisory_lock_fails_and_those_before_it_stay(database: Database) -> None:
    worker = await failing(database, making(*range(1, 8)) | {"5": "SELECT pg_advisory_unlock_all()"})

    assert stopped(worker) == [PipelineStopped(4, 7, 4, 1, "TG002")]
    (failed,) = worker.recorded.of(MigrationFailed)
    assert failed.version == 5
    assert await said(database) == of(1, 2, 3, 4)


async def test_what_a_golang_migrate_did_while_a_body_had_dropped_the_lock_is_not_done_again(
    database: Database,
) -> None:
    key = golang_keys(Target("public", "schema_migrations"), database.name)[0]
    waits = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    until_waited = f"DO $$BEGIN WHILE NOT EXISTS ({waits}) LOOP PERFORM pg_sleep(0.01); END LOOP; END$$"
    rival = await database.connect()
    await run(database, making(1))
    async with quick(database) as worker:

        async def migrate() -> None:
            await worker.recorded.first(PipelineStarted)
            await rival.execute(f"SELECT pg_advisory_lock({key})")
            await rival.execute("CREATE TABLE t4 (b int); UPDATE schema_migrations SET version = 4")
            await rival.execute(f"SELECT pg_advisory_unlock({key})")

        contents = making(1, 2, 3, 5) | {"4": f"{until_waited}; SELECT pg_advisory_unlock_all()"}
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(migrate)
                with pytest.raises(FencedError, match="another program changed"):
                    await worker.up(files(contents))
        finally:
            await rival.close()
    assert await said(database) == replace(of(1, 2, 3), version=(4, False))


async def test_a_lock_that_is_not_free_in_time_is_waited_for_by_its_own_migration(database: Database) -> None:
    await run(database, making(1))
    holder = await database.connect()
    async with worker_on(database) as worker:
        try:
            await holder.execute("BEGIN; LOCK TABLE t1")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(worker.up, files(making(1, 2, 3, 5) | {"4": "ALTER TABLE t1 ADD b int"}))
                await worker.recorded.first(MigrationRetried)
                await holder.execute("ROLLBACK")
        finally:
            await holder.close()

    assert {event.version for event in worker.recorded.of(MigrationRetried)} == {4}
    assert await said(database) == of(1, 2, 3, 4, 5)


async def test_a_takeover_in_the_middle_leaves_nothing_behind_it(database: Database) -> None:
    await run(database, making(1))
    taken = f"UPDATE tidegate.fence SET epoch = epoch + 1 WHERE target = '{TARGET}'"
    other = await database.connect()
    async with quick(database) as worker:
        pid = worker.session.conn.get_server_pid()

        async def take_over() -> None:
            await until(other, ASLEEP, pid)
            await other.execute(taken)

        sleeps = {"4": "CREATE TABLE t4 (a int); SELECT pg_sleep(0.5)"}
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(take_over)
                with pytest.raises(FencedError):
                    await worker.up(files(making(1, 2, 3, 5) | sleeps))
        finally:
            await other.close()

    assert await said(database) == of(1, 2, 3)
    assert await database.fetchval("SELECT to_regclass('t4')::text") is None
    assert stopped(worker) == [PipelineStopped(3, 4, 2, 1, "fenced")]
    assert [event.version for event in worker.recorded.of(MigrationFinished)] == [2, 3]


async def test_a_body_that_deletes_what_was_recorded_before_it_is_run_once(database: Database) -> None:
    deleting = f"CREATE TABLE ran (v int); DELETE {LEDGER} AND version = 2; INSERT INTO ran VALUES (3)"

    worker = await run(database, making(1, 2) | {"3": deleting})

    assert together(worker) == [(2, 3)]
    assert await database.fetchval("SELECT count(*) FROM ran") == 1


async def test_a_worker_that_is_asked_to_stop_ends_its_message_and_begins_no_other(database: Database) -> None:
    await run(database, making(1))
    async with quick(database) as worker:
        worker.session = replace(worker.session, draining=lambda: bool(worker.recorded.of(PipelineStarted)))
        with pytest.raises(DrainedError):
            await worker.up(files(making(*range(1, 10))))

    assert together(worker) == [(3, 4)]
    assert await said(database) == of(1, 2, 3, 4)
    assert await database.fetchval("SELECT versions FROM tidegate.readiness") == [1, 2, 3, 4]


async def test_a_connection_that_is_cut_in_the_middle_leaves_those_before_it(database: Database) -> None:
    contents = making(1, 2, 4) | {"3": "CREATE TABLE t3 (); SELECT pg_sleep(60) WHERE to_regclass('mark') IS NULL"}
    watcher = await database.connect()
    async with quick(database) as worker:
        pid = worker.session.conn.get_server_pid()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cut_off, worker, contents)
                await until(watcher, ASLEEP, pid)
                await watcher.execute("SELECT pg_terminate_backend($1)", pid)
        finally:
            await watcher.close()
    await gone(database, pid)
    assert await said(database) == of(1, 2)
    assert stopped(worker) == [PipelineStopped(2, 3, 2, None, "lost")]
    await database.execute("CREATE TABLE mark ()")

    await run(database, contents)

    assert await said(database) == of(1, 2, 3, 4)


async def _cut_off(worker: Worker, contents: Mapping[str, str]) -> None:
    with pytest.raises(Exception, match="connection"):
        await worker.up(files(contents))
