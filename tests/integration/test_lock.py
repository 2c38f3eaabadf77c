import time
from dataclasses import replace

import anyio
import pytest

from tests.fixtures.servers import Database
from tests.fixtures.sites import LIMITS, SITE, Worker, bundle_of, tables, worker_on
from worker.core.checkpoint import Checkpoint
from worker.core.events.events import LockAcquired, LockLeft, LockReleased, LockTimedOut, LockWaiting
from worker.core.lock_keys import golang_keys, target_key
from worker.core.planning.plan import Next
from worker.core.planning.reconcile import Insistence
from worker.core.target import Target
from worker.errors import TimedOutError
from worker.jobs.bring import bring
from worker.jobs.site import Report, Request, Result
from worker.postgres.advisory import Keys
from worker.postgres.faults import ConnectionLostError
from worker.postgres.lock import hold, raise_fence, release_foreign, retake_foreign

TARGET = Target("public", "schema_migrations")
ONE = bundle_of(tables(1), "1.0")
STRANGERS_TRIGGER = """
CREATE FUNCTION public.strange() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER strange BEFORE INSERT ON tidegate.ledger FOR EACH ROW EXECUTE FUNCTION public.strange()
"""
HURRIED = replace(SITE, limits=replace(LIMITS, advisory_timeout=0.2))


def keys_of(database: Database) -> Keys:
    return Keys.of_target(TARGET, database.name)


async def held_keys(database: Database) -> list[int]:
    """Advisory keys of one 64-bit number that anybody holds in the database."""
    rows = await database.fetch(
        "SELECT (classid::bigint << 32) | objid::bigint AS key FROM pg_locks "
        "WHERE locktype = 'advisory' AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = $1)",
        database.name,
    )
    return sorted(row["key"] for row in rows)


async def test_golang_migrates_keys_are_held_beside_our_own(database: Database) -> None:
    async with worker_on(database) as worker, hold(worker.session, keys_of(database), 5):
        assert await held_keys(database) == sorted({target_key(TARGET), *golang_keys(TARGET, database.name)})

    assert await held_keys(database) == []


async def test_a_waiter_is_told_who_holds_the_lock_and_gets_it_in_turn(database: Database) -> None:
    keys = keys_of(database)
    async with worker_on(database, name="a") as first, worker_on(database, name="b") as second:

        async def wait() -> None:
            async with hold(second.session, keys, 10) as waited:
                assert waited > 0

        async with anyio.create_task_group() as group, hold(first.session, keys, 5):
            group.start_soon(wait)
            event = await second.recorded.first(LockWaiting)

        pid = first.session.conn.get_server_pid()
        assert (event.holder_role, event.holder_application, event.holder_pid) == ("postgres", "tidegate a", pid)
        assert event.holder_address == "127.0.0.1"
        assert event.ours
        assert second.recorded.of(LockReleased)


async def test_a_wait_ends_at_its_limit_and_names_the_holder(database: Database) -> None:
    keys = keys_of(database)
    async with (
        worker_on(database, name="a") as first,
        worker_on(database, name="b") as second,
        hold(first.session, keys, 5),
    ):
        began = time.monotonic()
        with pytest.raises(TimedOutError) as caught:
            async with hold(second.session, keys, 0.3):
                pass
        assert time.monotonic() - began < 2

    said = caught.value.message
    assert all(part in said for part in ("postgres", "tidegate a", "127.0.0.1", "connected since"))
    assert caught.value.exit_code == 4
    assert second.recorded.of(LockTimedOut)


@pytest.mark.parametrize("place", [0, 1])
async def test_a_stranger_on_either_golang_key_blocks_us_and_what_we_got_is_given_back(
    database: Database, place: int
) -> None:
    stranger = await database.connect(server_settings={"application_name": "migrate"})
    key = golang_keys(TARGET, database.name)[place]
    try:
        await stranger.execute(f"SELECT pg_advisory_lock({key})")
        async with worker_on(database, site=HURRIED) as worker:
            with pytest.raises(TimedOutError, match="application migrate"):
                await worker.up(ONE)

            assert await held_keys(database) == [key]
            assert [event.ours for event in worker.recorded.of(LockWaiting)] == [False]
        assert await database.fetch("SELECT FROM tidegate.fence WHERE target = 'public.schema_migrations'") == []
    finally:
        await stranger.close()
    async with worker_on(database) as worker:
        assert (await worker.up(ONE)).applied == (1,)


async def test_the_lock_is_taken_over_when_its_holders_backend_is_terminated(database: Database) -> None:
    keys = keys_of(database)
    async with worker_on(database, name="a") as first, worker_on(database, name="b") as second:
        with pytest.raises(ConnectionLostError):  # noqa: PT012 - the end of the block is what raises
            async with hold(first.session, keys, 5), anyio.create_task_group() as group:

                async def take_over() -> None:
                    async with hold(second.session, keys, 10):
                        pass

                group.start_soon(take_over)
                await second.recorded.first(LockWaiting)
                await database.execute("SELECT pg_terminate_backend($1)", first.session.conn.get_server_pid())

        assert second.recorded.of(LockReleased)


async def test_a_concurrent_statement_lets_go_of_golang_migrates_keys_alone(database: Database) -> None:
    keys = keys_of(database)
    async with worker_on(database) as worker:
        await worker.up(ONE)
        async with hold(worker.session, keys, 5) as waited:
            held = await raise_fence(worker.session, keys, TARGET, waited)
            await release_foreign(held)
            assert await held_keys(database) == [target_key(TARGET)]

            await retake_foreign(held, 5)
            assert len(await held_keys(database)) == 3
            await worker.session.conn.execute(held.fence_sql)


async def test_a_worker_that_waits_is_idle_outside_any_transaction(database: Database) -> None:
    keys = keys_of(database)
    sql = "SELECT backend_xmin, wait_event_type FROM pg_stat_activity WHERE application_name = 'tidegate b'"
    async with (
        worker_on(database, name="a") as first,
        worker_on(database, name="b") as second,
        anyio.create_task_group() as group,
    ):

        async def wait() -> None:
            async with hold(second.session, keys, 10):
                pass

        async with hold(first.session, keys, 5):
            group.start_soon(wait)
            await second.recorded.first(LockWaiting)
            row = await database.fetchrow(sql)
            assert row is not None
            assert (row["backend_xmin"], row["wait_event_type"] == "Lock") == (None, False)


async def test_another_workers_work_is_found_under_the_lock_without_a_write(database: Database) -> None:
    async with worker_on(database, name="a") as first, worker_on(database, name="b") as second:
        await first.publish(ONE)
        first.recorded.events.clear()
        keys = keys_of(database)
        blocker = await database.connect()
        await blocker.execute(f"SELECT pg_advisory_lock({golang_keys(TARGET, database.name)[0]})")
        async with anyio.create_task_group() as group:
            group.start_soon(second.up)
            await second.recorded.first(LockWaiting)
            group.start_soon(first.up)
            await first.recorded.first(LockWaiting)
            await blocker.close()

        epochs = [len(worker.recorded.of(LockAcquired)) for worker in (first, second)]
        assert sorted(epochs) == [0, 1]
        async with hold(first.session, keys, 5):
            pass
    assert await database.fetchval("SELECT epoch FROM tidegate.fence WHERE target = 'public.schema_migrations'") == 1


def counted(worker: Worker, looks: int) -> tuple[Worker, anyio.Event]:
    """The worker, and what is set once it has looked at its target so many times."""
    seen: list[Checkpoint] = []
    reached = anyio.Event()

    def passing(checkpoint: Checkpoint) -> None:
        seen.append(checkpoint)
        if seen.count(Checkpoint.LOOKED) == looks:
            reached.set()

    return replace(worker, session=replace(worker.session, passing=passing)), reached


async def report(worker: Worker, reports: list[Report]) -> None:
    """Have the worker bring its target up, and keep what it says of that."""
    reports.append(await worker.up())


class Pauses:
    """The jitter of a session whose pauses between two attempts at the lock are counted."""

    def __init__(self) -> None:
        self._count = 0
        self._another = anyio.Event()

    def __call__(self) -> float:
        self._count += 1
        self._another.set()
        self._another = anyio.Event()
        return 0.0

    async def more(self, times: int) -> None:
        until = self._count + times
        with anyio.fail_after(10):
            while self._count < until:
                await self._another.wait()


async def test_who_waits_leaves_once_the_holders_job_has_ended_though_the_lock_is_still_held(
    database: Database,
) -> None:
    async with worker_on(database, name="a") as first, worker_on(database, name="b") as second:
        await first.publish(ONE)
        # The first look, and two at what was stated before the job has ended.
        waiter, looks = counted(second, 3)
        reports: list[Report] = []
        blocker = await database.connect()
        await blocker.execute("BEGIN; LOCK TABLE tidegate.fingerprint IN SHARE MODE")
        async with hold(first.session, keys_of(database), 5):
            with anyio.fail_after(10):
                async with anyio.create_task_group() as group:
                    group.start_soon(report, waiter, reports)
                    await second.recorded.first(LockWaiting)
                    # The same session takes the lock once more, and still holds it after that.
                    group.start_soon(first.up)
                    await looks.wait()
                    early = list(reports)
                    await blocker.close()
            assert len(set(await held_keys(database))) == 3

    assert early == []
    assert [(report.result, report.version) for report in reports] == [(Result.UP_TO_DATE, 1)]
    assert len(second.recorded.of(LockLeft)) == 1
    assert not second.recorded.of(LockAcquired) + second.recorded.of(LockReleased)


async def test_who_waits_goes_on_waiting_where_the_holder_has_left_something_to_do(database: Database) -> None:
    async with worker_on(database, name="a") as first, worker_on(database, name="b") as second:
        await first.publish(bundle_of(tables(1, 2), "2.0"))
        # The first look, and the one at what was stated.
        waiter, looks = counted(second, 2)
        reports: list[Report] = []
        async with anyio.create_task_group() as group, hold(first.session, keys_of(database), 5):
            group.start_soon(report, waiter, reports)
            await second.recorded.first(LockWaiting)
            await bring(first.session, SITE, Request(Insistence.COMMAND, Next(1), pin="up 1"))
            with anyio.fail_after(10):
                await looks.wait()

    assert [(report.result, report.applied) for report in reports] == [(Result.APPLIED, (2,))]
    assert not second.recorded.of(LockLeft)
    assert await database.fetchval("SELECT epoch FROM tidegate.fence WHERE target = 'public.schema_migrations'") == 2


async def test_what_is_in_the_way_of_a_look_while_the_lock_is_held_is_no_end_of_the_wait(database: Database) -> None:
    async with worker_on(database, name="a") as first, worker_on(database, name="b") as second:
        await first.up(ONE)
        await first.publish(bundle_of(tables(1, 2), "2.0"))
        pauses = Pauses()
        waiter = replace(second, session=replace(second.session, jitter=pauses))
        reports: list[Report] = []
        async with anyio.create_task_group() as group, hold(first.session, keys_of(database), 5):
            group.start_soon(report, waiter, reports)
            await second.recorded.first(LockWaiting)
            await database.execute(f"{STRANGERS_TRIGGER}; UPDATE tidegate.readiness SET set_at = clock_timestamp()")
            # An attempt that was under way, and a whole one.
            await pauses.more(2)
            await database.execute("DROP TRIGGER strange ON tidegate.ledger")

    assert [(report.result, report.applied) for report in reports] == [(Result.APPLIED, (2,))]
