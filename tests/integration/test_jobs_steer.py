import pytest

from tests.fixtures.servers import Database
from tests.fixtures.sites import bundle_of, dump, tables, worker_on
from worker.core.planning.job import JobState
from worker.errors import MigrationFailedError, RefusedError, UsageError
from worker.jobs.force import EMPTY, force
from worker.jobs.site import Result
from worker.jobs.steer import pause, resume, retry, withdraw

ONE = bundle_of(tables(1, 2, 3), "1.0")
TWO = bundle_of(tables(1, 2, 3, 4), "2.0")


async def version_table(database: Database) -> list[tuple[int, bool]]:
    rows = await database.fetch("SELECT version, dirty FROM schema_migrations")
    return [(row["version"], row["dirty"]) for row in rows]


async def ledger(database: Database) -> list[tuple[int, str]]:
    rows = await database.fetch(
        "SELECT version, origin FROM tidegate.ledger WHERE target = 'public.schema_migrations' ORDER BY 1"
    )
    return [(row["version"], row["origin"]) for row in rows]


async def test_nothing_can_be_steered_where_there_is_no_control_schema(database: Database) -> None:
    async with worker_on(database) as worker:
        for command in (retry, pause, resume):
            with pytest.raises(RefusedError) as caught:
                await command(worker.session, worker.site)
            assert caught.value.reason == "control_schema"
        with pytest.raises(RefusedError):
            await withdraw(worker.session, worker.site, "1.0")
    assert await dump(database) == {}


async def test_a_retry_without_a_job_says_so(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.publish(ONE)

        assert await retry(worker.session, worker.site) is None


async def test_a_retry_of_a_job_that_succeeded_changes_nothing(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)

        job = await retry(worker.session, worker.site)

        assert job is not None
        assert job.state is JobState.SUCCEEDED
        assert (await worker.round()).result is Result.UP_TO_DATE


async def test_a_paused_target_is_left_alone_until_it_is_resumed(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.publish(ONE)
        await pause(worker.session, worker.site)

        report = await worker.round()
        assert (report.result, report.why) == (Result.LEFT_ALONE, "paused by postgres")

        await resume(worker.session, worker.site)
        assert (await worker.round()).applied == (1, 2, 3)


async def test_a_person_may_bring_a_paused_target_up(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.publish(ONE)
        await pause(worker.session, worker.site)

        assert (await worker.up()).applied == (1, 2, 3)
        assert (await worker.round()).result is Result.LEFT_ALONE


async def test_force_pins_the_target_and_forgets_what_is_above(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)
        report = await force(worker.session, worker.site, 1)

        assert (report.version, await version_table(database)) == (1, [(1, False)])
        assert await ledger(database) == [(1, "applied")]
        left = await worker.round()
        assert (left.result, left.why) == (Result.LEFT_ALONE, "pinned by force")
        assert await database.fetchval("SELECT tidegate.ready(1) AND NOT tidegate.ready(2)")

    history = await database.fetch("SELECT version, action FROM tidegate.history WHERE action = 'force' ORDER BY 1")
    assert [tuple(row) for row in history] == [(2, "force"), (3, "force")]


async def test_force_records_the_versions_up_to_it_that_the_ledger_lacks(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.publish(ONE)
        await force(worker.session, worker.site, 2)

        assert await ledger(database) == [(1, "forced"), (2, "forced")]
        await resume(worker.session, worker.site)
        assert (await worker.round()).applied == (3,)
        assert await database.fetchval("SELECT tidegate.ready(bundle => '1.0')")


async def test_force_of_minus_one_empties_the_version_table(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)
        report = await force(worker.session, worker.site, EMPTY)

        assert report.version is None
        assert (await version_table(database), await ledger(database)) == ([], [])
    assert not await database.fetchval("SELECT tidegate.ready(1)")


async def test_force_clears_dirt_and_half_done_work_in_one_transaction(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)
        await database.execute(
            "UPDATE schema_migrations SET version = 4, dirty = true;"
            "INSERT INTO tidegate.journal (target, version, direction, segment, digest, state, epoch) "
            "VALUES ('public.schema_migrations', 4, 'up', 0, 'x', 'intent', 1)"
        )
        await force(worker.session, worker.site, 4, TWO)

        assert (await version_table(database), len(await ledger(database))) == ([(4, False)], 4)
        assert await database.fetchval("SELECT count(*) FROM tidegate.journal") == 0
        assert await database.fetchval("SELECT tidegate.ready(4)")
        assert (await worker.look()).observation.pinned == "force"


async def test_force_changes_nothing_when_a_part_of_it_fails(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)
        await database.execute("ALTER TABLE tidegate.readiness ADD CHECK (epoch < 0) NOT VALID")
        before = [await version_table(database), await ledger(database)]
        with pytest.raises(RefusedError, match="forcing the version"):
            await force(worker.session, worker.site, 1)

        assert [await version_table(database), await ledger(database)] == before
        assert (await worker.look()).observation.pinned is None


async def test_force_takes_over_a_dirty_golang_migrate_database(database: Database) -> None:
    await database.execute(
        "CREATE TABLE schema_migrations (version bigint not null primary key, dirty boolean not null);"
        "INSERT INTO schema_migrations VALUES (2, true)"
    )
    async with worker_on(database) as worker:
        with pytest.raises(RefusedError, match="dirty"):
            await worker.up(ONE)
    async with worker_on(database) as worker:
        await force(worker.session, worker.site, 2, ONE)

        assert (await worker.up(ONE)).applied == (3,)


async def test_force_lets_a_failed_job_go_on_after_resume(database: Database) -> None:
    broken = bundle_of({**tables(1), 2: "SELECT 1/0", **tables(3)}, "b")
    async with worker_on(database) as worker:
        with pytest.raises(MigrationFailedError):
            await worker.up(broken)
    async with worker_on(database) as worker:
        await force(worker.session, worker.site, 2)
        await resume(worker.session, worker.site)

        assert (await worker.round()).applied == (3,)


async def test_force_takes_no_version_below_minus_one(database: Database) -> None:
    async with worker_on(database) as worker:
        with pytest.raises(UsageError):
            await force(worker.session, worker.site, -2)
