"""A job's start is cut before its first migration: its row waits for the next round, and its end is told."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.fixtures.cuts import WAITING, held_open
from tests.fixtures.halts import halted
from tests.fixtures.jobs import until
from tests.fixtures.processes import StartTidegate
from tests.fixtures.relay import Relay, beside
from tests.fixtures.scenes import Manner, facts, nothing_is_left, source, up
from tests.fixtures.servers import Database
from tests.fixtures.sites import Worker, bundle_of, tables, worker_on
from tests.fixtures.workers import complaints, finish, migrations_in
from tests.fixtures.workers import tables as table_files
from worker.core.events.event import Outcome
from worker.core.events.events import JobFinished, JobStarted
from worker.postgres.faults import ConnectionLostError
from worker.postgres.home_half import HomeHalf

ONE = bundle_of(tables(1), "1.0")
TWO = bundle_of(tables(1, 2), "2.0")

_LAST = "FROM tidegate.job AS j WHERE j.bundle_id = (SELECT max(id) FROM tidegate.bundle)"


def state(database: Database) -> str:
    """The state of the newest bundle's job, and how often it was begun."""
    return database.psql(f"SELECT j.state || ' ' || j.attempts {_LAST}")


def told(database: Database) -> str:
    """The states that its events tell."""
    events = f"tidegate.job_event AS e WHERE e.job_id IN (SELECT j.id {_LAST})"
    return database.psql(f"SELECT string_agg(e.state, ' ' ORDER BY e.id) FROM {events}")


async def published(worker: Worker) -> None:
    """Version 1 is applied, and version 2 is wanted."""
    await worker.up(ONE)
    await worker.publish(TWO)
    worker.recorded.events.clear()


def ended(worker: Worker) -> list[Outcome]:
    """How jobs ended that were interrupted or went well; none was said to have started."""
    assert worker.recorded.of(JobStarted) == []
    return [event.outcome for event in worker.recorded.of(JobFinished)]


async def test_a_start_that_is_cancelled_before_it_is_known_waits_for_the_next_round(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = HomeHalf.start_job
    async with worker_on(database) as worker:
        await published(worker)
        with anyio.CancelScope() as scope, monkeypatch.context() as patch:

            async def cancelled(home: HomeHalf, *asked: Any) -> None:
                await start(home, *asked)
                assert state(database) == "running 1"
                scope.cancel()
                await anyio.lowlevel.checkpoint()

            patch.setattr(HomeHalf, "start_job", cancelled)
            await worker.round()

        assert scope.cancelled_caught
        assert (state(database), told(database)) == ("pending 1", "running pending")
        assert ended(worker) == [Outcome.INTERRUPTED]
        assert (await worker.round()).applied == (2,)
    assert state(database) == "succeeded 2"


@pytest.mark.parametrize("is_cut", [False, True], ids=["cancelled", "cut"])
async def test_a_start_that_waits_for_a_lock_ends_interrupted(database: Database, *, is_cut: bool) -> None:
    async with worker_on(database) as worker:
        await published(worker)
        pid, scope = worker.session.conn.get_server_pid(), anyio.CancelScope()

        async def round_() -> None:
            with scope:
                if is_cut:
                    with pytest.raises(ConnectionLostError):
                        await worker.round()
                else:
                    await worker.round()

        behind = held_open(database, "BEGIN; LOCK TABLE tidegate.job IN EXCLUSIVE MODE")
        async with behind as other, anyio.create_task_group() as tasks:
            tasks.start_soon(round_)
            await until(other, WAITING, pid, "relation")
            if is_cut:
                await other.execute("SELECT pg_terminate_backend($1)", pid)
            else:
                scope.cancel()
                await other.execute("ROLLBACK")
        assert ended(worker) == [Outcome.INTERRUPTED]
    async with worker_on(database) as worker:
        assert (await worker.round()).applied == (2,)


@pytest.mark.parametrize("is_cut", [False, True], ids=["killed", "cut"])
def test_a_run_that_ends_between_its_start_and_its_first_migration_is_begun_again(
    tidegate: StartTidegate, database: Database, tmp_path: Path, *, is_cut: bool
) -> None:
    up(database, migrations_in(tmp_path, table_files(1)))
    relay = Relay(database.server.port)
    with beside(relay):
        process = halted(tidegate, relay.leading_to(database), source(tmp_path, Manner.TRANSACTIONAL), "opened", 1)
        assert state(database) == "running 1"

        if is_cut:
            relay.cut()
            process.thaw()
            process.wait_for_event("job.finished", outcome="interrupted")
            finish(process)
            assert complaints(process) == []
        else:
            process.kill()
            process.wait()
            assert state(database) == "running 1"
            up(database, tmp_path)

    assert (state(database), told(database)) == ("succeeded 2", "running running succeeded")
    facts(database).are_whole()
    nothing_is_left(database)
