"""Migrations that share a transaction where that is asked for: all or none, and each with a record of its own."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from tests.fixtures.command_line import call
from tests.fixtures.jobs import LEAKY, PROOF, TARGET, files, gone, making, nothing_leaked, of, said, until
from tests.fixtures.servers import Database
from tests.fixtures.sites import LIMITS, SITE, Worker, worker_on
from tests.fixtures.workers import migrations_in, tables
from worker.core.events.event import Outcome
from worker.core.events.migration_events import (
    BatchStarted,
    BatchUndone,
    MigrationFailed,
    MigrationFinished,
    MigrationRetried,
    MigrationStarted,
)
from worker.core.lock_keys import golang_keys
from worker.core.target import Target
from worker.errors import MigrationFailedError
from worker.jobs.site import Report, Site
from worker.postgres.faults import FencedError

BATCHED = replace(SITE, limits=replace(LIMITS, batch=100))
TRANSACTIONS = (
    "SELECT count(DISTINCT xmin::text) FROM tidegate.ledger WHERE target = 'public.schema_migrations' AND version < $1"
)


async def run(database: Database, contents: Mapping[str, str], site: Site = BATCHED) -> tuple[Report, Worker]:
    async with worker_on(database, site=site) as worker:
        return await worker.up(files(contents)), worker


async def failing(database: Database, contents: Mapping[str, str], site: Site = BATCHED) -> Worker:
    async with worker_on(database, site=site) as worker:
        with pytest.raises(MigrationFailedError):
            await worker.up(files(contents))
        return worker


async def transactions(database: Database, below: int = 10_000) -> int:
    """How many transactions wrote the ledger's rows of these versions."""
    return int(await database.fetchval(TRANSACTIONS, below))


async def test_a_batch_is_one_transaction_and_each_migration_has_its_own_record(database: Database) -> None:
    report, worker = await run(database, making(1, 2, 3))

    assert report.applied == (1, 2, 3)
    assert await said(database) == of(1, 2, 3)
    assert await transactions(database) == 1
    assert worker.recorded.of(BatchStarted) == [BatchStarted(1, 3, 3)]
    assert [event.version for event in worker.recorded.of(MigrationStarted)] == [1, 2, 3]
    finished = worker.recorded.of(MigrationFinished)
    assert [(event.version, event.outcome) for event in finished] == [(v, Outcome.SUCCEEDED) for v in (1, 2, 3)]
    assert worker.recorded.of(BatchUndone) == []


async def test_without_the_setting_each_migration_has_a_transaction_of_its_own(database: Database) -> None:
    _, worker = await run(database, making(1, 2, 3), SITE)

    assert await transactions(database) == 3
    assert worker.recorded.of(BatchStarted) == []


async def test_a_batch_is_no_larger_than_was_said(database: Database) -> None:
    site = replace(SITE, limits=replace(LIMITS, batch=3))

    _, worker = await run(database, making(*range(1, 9)), site)

    assert await said(database) == of(*range(1, 9))
    assert await transactions(database) == 3
    assert [event.migrations for event in worker.recorded.of(BatchStarted)] == [3, 3, 2]


async def test_a_thousand_migrations_are_a_few_transactions(database: Database) -> None:
    versions = range(1, 1001)

    report, _ = await run(database, {str(version): f"SELECT {version}" for version in versions})

    assert report.applied == tuple(versions)
    assert await said(database) == of(*versions)
    assert await transactions(database) == 10


async def test_the_record_of_each_says_how_long_it_took_by_itself(database: Database) -> None:
    slow = {"1": "SELECT 1", "2": "SELECT pg_sleep(0.4)", "3": "SELECT 3"}

    _, worker = await run(database, slow)

    rows = await database.fetch("SELECT duration_ms FROM tidegate.ledger WHERE target = $1 ORDER BY version", TARGET)
    assert [row["duration_ms"] >= 400 for row in rows] == [False, True, False]
    told = [event.duration_seconds * 1000 for event in worker.recorded.of(MigrationFinished)]
    assert told == [row["duration_ms"] for row in rows]


async def test_a_failure_undoes_the_batch_and_the_record_says_which_one_it_was(database: Database) -> None:
    worker = await failing(database, making(1, 2) | {"3": "SELECT 1;\nSELECT nosuch"} | making(4))

    assert await said(database) == of(1, 2)
    assert await transactions(database) == 2
    assert worker.recorded.of(BatchUndone) == [BatchUndone(1, 4, 4, "42703")]
    (failed,) = worker.recorded.of(MigrationFailed)
    assert (failed.version, failed.failure.where) == (3, "0003_m.up.sql:2:8")
    outcomes = [(event.version, event.outcome) for event in worker.recorded.of(MigrationFinished)]
    assert outcomes == [(1, Outcome.SUCCEEDED), (2, Outcome.SUCCEEDED), (3, Outcome.FAILED)]
    assert await database.fetchval("SELECT versions FROM tidegate.readiness") == [1, 2]
    assert await database.fetchval("SELECT state FROM tidegate.job") == "failed"


async def test_what_only_a_transaction_of_its_own_can_do_is_done_in_one(database: Database) -> None:
    enum = {"1": "CREATE TYPE e AS ENUM ('a')", "2": "ALTER TYPE e ADD VALUE 'b'", "3": "SELECT 'b'::e"}
    await run(database, {"1": enum["1"]})

    report, worker = await run(database, enum)

    assert report.applied == (2, 3)
    assert await said(database) == of(1, 2, 3)
    assert [event.cause for event in worker.recorded.of(BatchUndone)] == ["55P04"]


@pytest.mark.parametrize(
    "lone",
    [
        "CREATE INDEX CONCURRENTLY t1_a ON t1 (a)",
        "-- tidegate: transaction=off\nSELECT 1",
        "-- tidegate: lock_timeout=1s\nSELECT 1",
        "-- tidegate: statement_timeout=1s\nSELECT 1",
        "-- tidegate: block_budget=1s\nSELECT 1",
        "-- tidegate: gate=off\nSELECT 1",
        "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1; COMMIT",
    ],
)
async def test_a_migration_with_needs_of_its_own_ends_a_batch_and_runs_by_itself(database: Database, lone: str) -> None:
    report, worker = await run(database, making(1, 2) | {"3": lone} | making(4, 5))

    assert report.applied == (1, 2, 3, 4, 5)
    assert await said(database) == of(1, 2, 3, 4, 5)
    batches = [(event.first, event.last) for event in worker.recorded.of(BatchStarted)]
    assert batches == [(1, 2), (4, 5)]
    assert await transactions(database) == 3


async def test_what_a_migration_set_in_the_session_is_gone_for_the_next_one_of_its_batch(database: Database) -> None:
    _, worker = await run(database, {"1": LEAKY, "2": PROOF, "3": "SELECT 3"})

    assert worker.recorded.of(BatchUndone) == []
    assert await nothing_leaked(database)


async def test_a_hidden_end_of_the_transaction_commits_nothing_of_the_batch(database: Database) -> None:
    await database.execute("CREATE PROCEDURE commits() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'")

    worker = await failing(database, making(1) | {"2": "CREATE TABLE t2 (a int); SELECT 1;\nCALL commits()"})

    assert worker.recorded.of(BatchUndone) == [BatchUndone(1, 2, 2, "2D000")]
    assert await said(database) == of(1)
    assert await database.fetchval("SELECT to_regclass('t2')::text") is None


async def test_one_that_drops_the_advisory_lock_fails_and_those_before_it_stay(database: Database) -> None:
    worker = await failing(database, making(1, 2) | {"3": "SELECT pg_advisory_unlock_all()"} | making(4))

    assert worker.recorded.of(BatchUndone) == [BatchUndone(1, 4, 4, "TG002")]
    (failed,) = worker.recorded.of(MigrationFailed)
    assert failed.version == 3
    assert await said(database) == of(1, 2)


async def test_what_a_golang_migrate_did_while_a_body_had_dropped_the_lock_is_not_done_again(
    database: Database,
) -> None:
    await run(database, making(1))
    key = golang_keys(Target("public", "schema_migrations"), database.name)[0]
    waits = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    until_waited = f"DO $$BEGIN WHILE NOT EXISTS ({waits}) LOOP PERFORM pg_sleep(0.01); END LOOP; END$$"
    contents = making(1, 2) | {"3": f"{until_waited}; SELECT pg_advisory_unlock_all()"} | making(4)
    rival = await database.connect()
    async with worker_on(database, site=BATCHED) as worker:

        async def migrate() -> None:
            await worker.recorded.first(BatchStarted)
            await rival.execute(f"SELECT pg_advisory_lock({key})")
            await rival.execute("CREATE TABLE t2 (b int); UPDATE schema_migrations SET version = 2")
            await rival.execute(f"SELECT pg_advisory_unlock({key})")

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(migrate)
                with pytest.raises(FencedError, match="another program changed"):
                    await worker.up(files(contents))
        finally:
            await rival.close()
    assert await database.fetchval("SELECT version FROM schema_migrations") == 2
    assert await said(database) == replace(of(1), version=(2, False))


async def test_a_lock_that_is_not_free_has_the_whole_batch_repeated(database: Database) -> None:
    await run(database, making(1))
    holder = await database.connect()
    async with worker_on(database, site=BATCHED) as worker:
        try:
            await holder.execute("BEGIN; LOCK TABLE t1")
            async with anyio.create_task_group() as tasks:
                contents = making(1, 2) | {"3": "ALTER TABLE t1 ADD b int"} | making(4)
                tasks.start_soon(worker.up, files(contents))
                await worker.recorded.first(MigrationRetried)
                await holder.execute("ROLLBACK")
        finally:
            await holder.close()

    assert worker.recorded.of(BatchUndone) == []
    assert await said(database) == of(1, 2, 3, 4)
    assert await transactions(database) == 2
    first, *rest = worker.recorded.of(MigrationFinished)
    assert first.retries > 0
    assert [event.retries for event in rest] == [0, 0]


async def test_a_lock_that_is_never_free_fails_its_own_migration_within_the_budget(database: Database) -> None:
    await run(database, making(1))
    holder = await database.connect()
    site = replace(SITE, limits=replace(LIMITS, batch=100, lock_budget=1.0))
    try:
        await holder.execute("BEGIN; LOCK TABLE t1")
        worker = await failing(database, making(1, 2) | {"3": "ALTER TABLE t1 ADD b int"} | making(4), site)
    finally:
        await holder.close()

    (failed,) = worker.recorded.of(MigrationFailed)
    assert (failed.version, failed.failure.sqlstate) == (3, "55P03")
    assert await said(database) == of(1, 2)
    assert [event.cause for event in worker.recorded.of(BatchUndone)] == ["55P03"]


async def test_a_connection_that_is_cut_in_the_middle_leaves_all_of_a_batch_or_none(database: Database) -> None:
    contents = making(1, 2) | {"3": "SELECT pg_sleep(60) WHERE to_regclass('mark') IS NULL"} | making(4)
    watcher = await database.connect()
    async with worker_on(database, site=BATCHED) as worker:
        pid = worker.session.conn.get_server_pid()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cut_off, worker, contents)
                asleep = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep')"
                await until(watcher, asleep, pid)
                await watcher.execute("SELECT pg_terminate_backend($1)", pid)
        finally:
            await watcher.close()
    assert [event.outcome for event in worker.recorded.of(MigrationFinished)] == [Outcome.INTERRUPTED]
    await gone(database, pid)
    assert await database.fetchval("SELECT count(*) FROM tidegate.ledger WHERE target = $1", TARGET) == 0
    assert await database.fetchval("SELECT to_regclass('t1')::text") is None
    await database.execute("CREATE TABLE mark ()")

    report, _ = await run(database, contents)

    assert report.applied == (1, 2, 3, 4)
    assert await said(database) == of(1, 2, 3, 4)
    assert await transactions(database) == 1


async def _cut_off(worker: Worker, contents: Mapping[str, str]) -> None:
    with pytest.raises(Exception, match="connection"):
        await worker.up(files(contents))


def test_a_plan_says_which_migrations_would_share_a_transaction(database: Database, tmp_path: Path) -> None:
    source = migrations_in(tmp_path, tables(1, 2, 3, 4) | {3: "CREATE INDEX CONCURRENTLY t1_a ON t1 (a)"})

    alone = call("plan", "--source", source, "--json", DB_URL=database.dsn)
    shared = call("plan", "--source", source, "--json", "--batch", "10", DB_URL=database.dsn)
    words = call("plan", "--source", source, DB_URL=database.dsn, TIDEGATE_BATCH="10")

    assert json.loads(alone.out)["share_transaction"] == []
    assert json.loads(shared.out)["share_transaction"] == [[1, 2]]
    assert "versions 1 to 2 share one transaction, all 2 of them" in words.out


def test_up_takes_the_setting(database: Database, tmp_path: Path) -> None:
    source = migrations_in(tmp_path, tables(1, 2, 3))

    assert call("up", "--source", source, DB_URL=database.dsn, TIDEGATE_BATCH="2").code == 0

    assert database.psql(TRANSACTIONS.replace("$1", "10")) == "2"
