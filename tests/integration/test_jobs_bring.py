import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.fixtures.servers import Database
from tests.fixtures.sites import bundle_of, dump, tables, worker_on
from worker.core.events.events import LockAcquired
from worker.errors import MigrationFailedError
from worker.jobs.site import Result

ONE = bundle_of(tables(1, 2), "1.0")


async def test_up_on_an_empty_database_bootstraps_publishes_and_applies(database: Database) -> None:
    async with worker_on(database) as worker:
        report = await worker.up(ONE)

    assert (report.result, report.applied, report.version) == (Result.APPLIED, (1, 2), 2)
    assert await database.fetchval("SELECT tidegate.ready(bundle => '1.0')")
    assert [tuple(row) for row in await database.fetch("SELECT version, dirty FROM schema_migrations")] == [(2, False)]


async def test_the_second_up_writes_nothing_and_takes_no_lock(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)
    before = await dump(database)

    async with worker_on(database) as worker:
        report = await worker.up(ONE)

        assert report.result is Result.UP_TO_DATE
        assert worker.recorded.of(LockAcquired) == []
    assert await dump(database) == before


async def test_eight_sessions_at_once_on_an_empty_database_apply_once(database: Database) -> None:
    reports = []

    async def one(number: int) -> None:
        async with worker_on(database, name=f"worker-{number}") as worker:
            reports.append(await worker.up(ONE))

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(one, number)

    assert sorted(report.result.value for report in reports) == ["applied"] + ["up_to_date"] * 7
    assert (
        await database.fetchval("SELECT count(*) FROM tidegate.history WHERE target = 'public.schema_migrations'") == 2
    )
    # Who looked before the work was done, and found the lock free after it, raises the epoch and writes nothing else.
    epoch = await database.fetchval("SELECT epoch FROM tidegate.fence WHERE target = 'public.schema_migrations'")
    assert epoch in range(1, 9)


async def test_a_look_that_finds_nothing_to_do_costs_two_queries(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)
        sent: list[str] = []
        worker.session.conn.add_query_logger(lambda record: sent.append(record.query))

        await worker.up(ONE)
        await checkpoint()  # the driver tells its loggers in the loop's next turn
        assert len(sent) == 2

        sent.clear()
        await worker.round()
        await checkpoint()
        assert len(sent) == 2


async def test_a_row_that_names_the_wanted_bundle_already_opens_nothing_while_its_migration_fails(
    database: Database,
) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)
        await database.execute("UPDATE tidegate.readiness SET bundles = '{1.0,2.0}'")

        with pytest.raises(MigrationFailedError):
            await worker.up(bundle_of(tables(1, 2) | {3: "SELECT 1 / 0"}, "2.0"))

    assert await database.fetchval("SELECT bundles FROM tidegate.readiness") == ["1.0"]


async def test_what_was_published_and_passed_over_is_ready_with_what_came_after_it(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)
        await worker.publish(bundle_of(tables(1, 2, 3), "2.0"))
        await worker.publish(bundle_of(tables(1, 2, 3, 4), "3.0"))

        await worker.round()

    assert await database.fetchval("SELECT bundles FROM tidegate.readiness") == ["1.0", "2.0", "3.0"]
