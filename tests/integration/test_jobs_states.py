import json

import pytest

from tests.fixtures.servers import Database
from tests.fixtures.sites import Worker, bundle_of, dump, tables, worker_on
from worker.core.bundles.wanted import Intent
from worker.core.events.events import JobFailed, LockAcquired
from worker.core.planning.job import JobState
from worker.errors import MigrationFailedError, RefusedError
from worker.jobs.look import look
from worker.jobs.site import Result
from worker.jobs.steer import retry
from worker.postgres.home_half import HomeHalf

ONE = bundle_of(tables(1), "1.0")
BROKEN = bundle_of({1: "CREATE TABLE t1 (a int)", 2: "CREATE TABLE t2 (a int); INSERT INTO missing VALUES (1)"}, "2.0")
_SEEN = "CREATE TABLE t2 AS SELECT state, attempts, failure, applied, finished_at, epoch FROM tidegate.job WHERE id = 2"
WATCHING = bundle_of({1: "CREATE TABLE t1 (a int)", 2: f"{_SEEN}; INSERT INTO missing VALUES (1)"}, "2.0")
MENDED = bundle_of(tables(1, 2), "2.1")


async def state(worker: Worker) -> JobState | None:
    job = (await worker.look()).job
    return None if job is None else job.state


async def failing(worker: Worker) -> None:
    await worker.up(ONE)
    await worker.publish(BROKEN)
    with pytest.raises(MigrationFailedError):
        await worker.round()


async def test_a_failed_job_waits_for_a_person_and_older_requirements_stay_ready(database: Database) -> None:
    async with worker_on(database) as first:
        await failing(first)
    async with worker_on(database) as worker:
        before = await dump(database)
        report = await worker.round()

        assert (report.result, await state(worker)) == (Result.LEFT_ALONE, JobState.FAILED)
        assert "failed; it waits for tidegate retry" in (report.why or "")
        assert worker.recorded.of(LockAcquired) == []
    assert await dump(database) == before
    assert await database.fetchval("SELECT tidegate.ready(bundle => '1.0') AND NOT tidegate.ready(bundle => '2.0')")


async def test_a_failure_is_kept_with_its_place_and_without_the_statement(database: Database) -> None:
    async with worker_on(database) as worker:
        await failing(worker)

    document = await database.fetchval("SELECT failure::text FROM tidegate.job WHERE state = 'failed'")
    failure = json.loads(document)
    assert (failure["reason"], failure["failure"]["sqlstate"]) == ("migration_failed", "42P01")
    assert failure["failure"]["file"] == "0002_m2.up.sql"
    assert "statement" not in failure["failure"]
    assert "INSERT INTO" not in document


async def test_a_retry_lets_a_failed_job_go_on_once_its_cause_is_gone(database: Database) -> None:
    async with worker_on(database) as first:
        await failing(first)
    await database.execute("CREATE TABLE missing (a int)")
    async with worker_on(database) as worker:
        assert (await worker.round()).result is Result.LEFT_ALONE
        job = await retry(worker.session, worker.site)
        assert job is not None
        assert job.state is JobState.PENDING

        assert (await worker.round()).applied == (2,)
        assert await state(worker) is JobState.SUCCEEDED


async def test_a_second_attempt_sees_its_job_running_and_free_of_the_first_one(database: Database) -> None:
    async with worker_on(database) as first:
        await first.up(ONE)
        await first.publish(WATCHING)
        with pytest.raises(MigrationFailedError):
            await first.round()
    await database.execute("CREATE TABLE missing (a int)")
    async with worker_on(database) as worker:
        await retry(worker.session, worker.site)
        await worker.round()
        epoch = worker.recorded.of(LockAcquired)[-1].epoch

    (seen,) = await database.fetch("SELECT * FROM t2")
    assert tuple(seen) == ("running", 2, None, 0, None, epoch)
    told = await database.fetch("SELECT state FROM tidegate.job_event WHERE job_id = 2 ORDER BY id")
    assert [row["state"] for row in told] == ["running", "failed", "pending", "running", "succeeded"]


async def test_another_bundle_supersedes_a_failed_job(database: Database) -> None:
    async with worker_on(database) as first:
        await failing(first)
    async with worker_on(database) as worker:
        await worker.publish(MENDED)

        assert (await worker.round()).applied == (2,)

    rows = await database.fetch("SELECT state FROM tidegate.job ORDER BY id")
    assert [row["state"] for row in rows] == ["succeeded", "superseded", "succeeded"]


async def test_a_refused_job_waits_quietly_and_goes_on_by_itself_once_the_cause_is_gone(database: Database) -> None:
    async with worker_on(database) as first:
        await first.up(ONE)
        await first.publish(MENDED)
        await database.execute("UPDATE schema_migrations SET dirty = true")
        with pytest.raises(RefusedError, match="dirty"):
            await first.round()
    assert not await database.fetchval("SELECT tidegate.ready(bundle => '1.0')")
    async with worker_on(database) as worker:
        assert await state(worker) is JobState.REFUSED
        before = await dump(database)
        assert (await worker.round()).result is Result.LEFT_ALONE
        assert worker.recorded.of(JobFailed) == []
        assert await dump(database) == before

        # Somebody ran golang-migrate's force.
        await database.execute("UPDATE schema_migrations SET dirty = false")
        assert (await worker.round()).applied == (2,)
        assert await state(worker) is JobState.SUCCEEDED
    assert await database.fetchval("SELECT tidegate.ready(bundle => '1.0') AND tidegate.ready(bundle => '2.1')")


async def test_a_refusal_that_no_plan_can_see_the_end_of_waits_for_a_person(database: Database) -> None:
    lying = bundle_of({**tables(1), 2: "CREATE TABLE t2 (a int); ROLLBACK"}, "2.0")
    async with worker_on(database) as worker:
        await worker.publish(ONE)
        # Published by a program that reads SQL otherwise.
        await HomeHalf(worker.session, "schema_migrations").publish(lying, Intent.EXPLICIT)
        with pytest.raises(RefusedError):
            await worker.round()
    async with worker_on(database) as worker:
        assert await state(worker) is JobState.REFUSED
        assert (await worker.round()).result is Result.LEFT_ALONE


async def test_files_that_were_changed_in_the_table_are_not_run(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.publish(ONE)
        await database.execute(
            "ALTER TABLE tidegate.bundle_file DISABLE TRIGGER USER;"
            "UPDATE tidegate.bundle_file SET content = 'CREATE TABLE evil (a int)'"
        )

        with pytest.raises(RefusedError, match="not those that were published"):
            await worker.round()
    assert await database.fetchval("SELECT to_regclass('evil')::text") is None


async def test_a_settled_target_whose_version_table_becomes_dirty_is_refused_and_stamped_when_clean(
    database: Database,
) -> None:
    async with worker_on(database) as first:
        await first.up(ONE)
        await database.execute("UPDATE schema_migrations SET dirty = true")
        with pytest.raises(RefusedError):
            await first.round()
    assert not await database.fetchval("SELECT tidegate.ready(1)")

    await database.execute("UPDATE schema_migrations SET dirty = false")
    async with worker_on(database) as worker:
        assert (await worker.round()).result is Result.UP_TO_DATE
        assert await state(worker) is JobState.SUCCEEDED
    assert await database.fetchval("SELECT tidegate.ready(1)")


async def test_a_template_clone_is_not_ready_until_a_round_stamps_it(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)
    clone = Database(f"{database.name}_clone", database.server)
    database.server.psql(f"CREATE DATABASE {clone.name} TEMPLATE {database.name}")
    try:
        assert not await clone.fetchval("SELECT tidegate.ready(1)")
        async with worker_on(clone) as worker:
            assert (await worker.round()).result is Result.UP_TO_DATE
        assert await clone.fetchval("SELECT tidegate.ready(1)")
    finally:
        database.server.psql(f"DROP DATABASE {clone.name} WITH (FORCE)")


@pytest.mark.parametrize("stopped", ["failed", "pinned", "paused"])
async def test_a_target_that_is_left_alone_is_stamped_anew_all_the_same(database: Database, stopped: str) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)
        if stopped == "failed":
            await worker.publish(BROKEN)
            with pytest.raises(MigrationFailedError):
                await worker.round()
    if stopped == "pinned":
        await database.execute("UPDATE tidegate.fence SET pinned = 'down', pinned_at = clock_timestamp()")
    if stopped == "paused":
        await database.execute("UPDATE tidegate.target SET paused_at = now(), paused_by = 'somebody'")
    await database.execute("UPDATE tidegate.readiness SET database_oid = 1")

    async with worker_on(database) as worker:
        report = await worker.round()
        assert report.result is Result.LEFT_ALONE
        assert await database.fetchval("SELECT tidegate.ready(1)")
        before = await dump(database)
        assert (await worker.round()).result is Result.LEFT_ALONE
    assert await dump(database) == before
    assert await database.fetchval("SELECT to_regclass('t2')::text") is None


async def test_a_job_that_a_dead_worker_left_running_is_taken_up(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)
        await worker.publish(MENDED)
        await database.execute(
            "INSERT INTO tidegate.job (target_id, bundle_id, state) "
            "SELECT t.id, b.id, 'running' FROM tidegate.target AS t, tidegate.bundle AS b WHERE b.label = '2.1'"
        )

        assert (await worker.round()).applied == (2,)
        assert (await look(worker.session, worker.site)).job is not None
        assert await state(worker) is JobState.SUCCEEDED
