"""Going back: the down side runs, and its transaction takes the version out of ledger and readiness."""

from dataclasses import replace

import anyio
import pytest

from tests.fixtures.jobs import Said, files, said, until
from tests.fixtures.servers import Database
from tests.fixtures.sites import COMMAND, Worker, worker_on
from worker.core.planning.plan import Back, Goal, To
from worker.errors import MigrationFailedError, RefusedError
from worker.jobs.bring import bring
from worker.jobs.site import Report

BUNDLE = files(
    {
        "1": "CREATE TABLE a (x int)",
        "-1": "DROP TABLE a",
        "2": "CREATE TABLE b (x int)",
        "-2": "BEGIN; DROP TABLE b; COMMIT;",
        "3": "CREATE TABLE c (x int)",
        "-3": "DROP TABLE c;",
    },
    "1.0",
)
UPS = ((1, "up"), (2, "up"), (3, "up"))
READY = "SELECT tidegate.ready(at_least => $1)"


async def back(worker: Worker, goal: Goal) -> Report:
    return await bring(worker.session, worker.site, replace(COMMAND, goal=goal, pin="down"))


@pytest.mark.parametrize(
    ("goal", "undone", "version"),
    [(Back(1), (3,), (2, False)), (Back(2), (3, 2), (1, False)), (To(1), (3, 2), (1, False))],
)
async def test_going_back_undoes_the_newest_first(
    database: Database, goal: Goal, undone: tuple[int, ...], version: tuple[int, bool]
) -> None:
    async with worker_on(database) as worker:
        await worker.up(BUNDLE)
        report = await back(worker, goal)

    kept = tuple(v for v in (1, 2, 3) if v not in undone)
    assert (report.applied, report.version) == (undone, version[0])
    assert await said(database) == Said(version, kept, UPS + tuple((v, "down") for v in undone), ())
    assert [await database.fetchval(READY, v) for v in (1, 2, 3)] == [v in kept for v in (1, 2, 3)]


async def test_going_all_the_way_back_leaves_no_row(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(BUNDLE)
        await back(worker, Back(None))

    now = await said(database)
    assert (now.version, now.ledger) == (None, ())
    assert not await database.fetchval(READY, 1)
    assert await database.fetchval("SELECT count(*) FROM pg_tables WHERE tablename IN ('a', 'b', 'c')") == 0


async def test_what_was_undone_can_be_applied_again(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(BUNDLE)
        await back(worker, Back(2))
        report = await worker.up(BUNDLE)

    assert report.applied == (2, 3)
    assert (await said(database)).ledger == (1, 2, 3)
    assert await database.fetchval(READY, 3)


async def test_readiness_is_lowered_by_the_very_commit_that_undoes(database: Database) -> None:
    slow = files({"1": "CREATE TABLE a (x int)", "-1": "DROP TABLE a; SELECT pg_sleep(0.3)"})
    watcher = await database.connect()
    sleeping = "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $1"
    both = "SELECT tidegate.ready(at_least => 1) AS ready, to_regclass('a') IS NOT NULL AS there"
    async with worker_on(database) as worker:
        await worker.up(slow)
        async with anyio.create_task_group() as group:
            group.start_soon(back, worker, Back(1))
            await until(watcher, sleeping, worker.session.conn.get_server_pid())
            during = await watcher.fetchrow(both)
        after = await watcher.fetchrow(both)
    await watcher.close()

    assert during is not None
    assert after is not None
    assert (tuple(during), tuple(after)) == ((True, True), (False, False))


async def test_a_down_that_fails_leaves_everything_as_it_was(database: Database) -> None:
    broken = files({"1": "CREATE TABLE a (x int)", "-1": "DROP TABLE a;\nDROP TABLE missing;\nSELECT 1"})
    async with worker_on(database) as worker:
        await worker.up(broken)
        with pytest.raises(MigrationFailedError) as caught:
            await back(worker, Back(1))

    assert caught.value.failure.where == "0001_m.down.sql:2"
    assert await said(database) == Said((1, False), (1,), ((1, "up"),), ())
    assert await database.fetchval(READY, 1)


async def test_a_version_without_a_down_file_is_taken_out_of_the_ledger(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(files({"1": "CREATE TABLE a (x int)", "2": "CREATE TABLE b (x int)"}))
        await back(worker, Back(1))

    assert await said(database) == Said((1, False), (1,), ((1, "up"), (2, "up"), (2, "down")), ())
    assert await database.fetchval("SELECT to_regclass('b') IS NOT NULL")


async def test_a_journalled_down_that_was_cut_goes_on_where_it_stopped(database: Database) -> None:
    down = "DROP TABLE a;\nCOMMIT;\nDROP TABLE b;\nCOMMIT;\nSELECT 1"
    async with worker_on(database) as worker:
        await worker.up(files({"1": "CREATE TABLE a (x int)", "-1": down}))
        with pytest.raises(MigrationFailedError):
            await back(worker, Back(1))
    half = await said(database)
    await database.execute("CREATE TABLE b (x int)")
    async with worker_on(database) as worker:
        report = await back(worker, Back(1))

    assert (half.version, half.ledger, half.journal) == ((1, True), (1,), ((0, "done"),))
    assert report.applied == (1,)
    assert await said(database) == Said(None, (), ((1, "up"), (1, "down")), ())


async def test_a_goal_that_no_bundle_has_is_refused(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(BUNDLE)
        with pytest.raises(RefusedError, match="no migration 7"):
            await back(worker, To(7))
        with pytest.raises(RefusedError, match="no migration 0"):
            await back(worker, To(0))

    assert (await said(database)).ledger == (1, 2, 3)
