"""The board: what a worker knows by its events, its looks, and what is seen of what runs."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.fixtures.statuses import NOON, a_status
from worker.board import Board
from worker.core.events.event import Event, Outcome
from worker.core.events.events import (
    JobFailed,
    JobFinished,
    JobStarted,
    LockAcquired,
    LockLeft,
    LockReleased,
    LockTimedOut,
    LockWaiting,
)
from worker.core.events.failure import Failure
from worker.core.events.migration_events import (
    BatchStarted,
    BatchUndone,
    MigrationFinished,
    MigrationRetried,
    MigrationStarted,
    PipelineStarted,
    PipelineStopped,
    SegmentFinished,
)
from worker.core.planning.job import JobState
from worker.core.running.blocking import Blocker, Kind, Waiter
from worker.core.status.sighting import Progress, Sighting
from worker.core.status.snapshot import WAITERS, Blocked, JobProgress, LockWait, Trouble

HOLDER = Blocker(7, Kind.CLIENT, "app", "report", "active", "noon", 8.5)
PROGRESS = Progress("CREATE INDEX", "building index", 1, 4, "blocks")
STARTED = MigrationStarted(4, "a", "up", "transaction", 1, 3)
SUCCEEDED = MigrationFinished(4, "a", "up", "transaction", Outcome.SUCCEEDED, 0.1, 0, 0.0, 0.0)
WAITING = LockWaiting("ops", "psql", "local", 9, "noon", ours=False)
BUSY = a_status(version=3, applied=3, pending=(4, 5), names=("a", "b"), state=JobState.PENDING)


class Clock:
    """A second passes at each question."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def board() -> Board:
    return Board("w-1", "0.1.0", Clock())


def tell(board: Board, *events: Event) -> Board:
    for event in events:
        board.sink(event, {"target": "public.schema_migrations", "bundle": "1.4.0"})
    return board


def test_a_job_counts_its_migrations_and_the_target_follows_before_it_is_read_again(board: Board) -> None:
    board.reached(BUSY)
    tell(board, JobStarted(2, 4, 5))
    assert board.snapshot().targets[0].state is JobState.RUNNING
    tell(board, STARTED, SUCCEEDED)
    snapshot = board.snapshot()
    job, (target,) = snapshot.job, snapshot.targets
    assert job is not None
    assert replace(job, started_at=NOON) == JobProgress("public.schema_migrations", "1.4.0", 1, 2, NOON)
    assert (target.version, target.applied, target.pending, target.names) == (4, 4, (5,), ("b",))
    assert tell(board, JobFinished(Outcome.SUCCEEDED, 2, 0.1)).snapshot().job is None


@pytest.mark.parametrize("event", [BatchStarted(4, 9, 3), PipelineStarted(4, 9, 3)])
@pytest.mark.parametrize("end", [SUCCEEDED, BatchUndone(4, 9, 3, "42P01"), PipelineStopped(4, 9, 3, 0, "slow")])
def test_what_goes_together_is_known_by_its_ends_while_it_goes(board: Board, event: Event, end: Event) -> None:
    assert tell(board, event).snapshot().job is None
    job = tell(board, JobStarted(3, 4, 9), event).snapshot().job
    assert job is not None
    assert (job.first, job.last, job.together) == (4, 9, "4 to 9")
    job = tell(board, end).snapshot().job
    assert job is not None
    assert (job.first, job.last, job.together) == (None, None, "")


def test_a_row_that_was_written_counts_before_the_job_has_ended(board: Board) -> None:
    board.reached(BUSY)
    assert BUSY.readiness is not None
    now = replace(BUSY.readiness, bundle="1.5.0")
    tell(board, JobStarted(2, 4, 5))
    board.stated("another.schema_migrations", replace(now, bundle="0"))
    board.stated(BUSY.target, now)
    (target,) = board.snapshot().targets
    assert (target.readiness, target.state) == (now, JobState.RUNNING)


def test_a_migration_that_failed_is_not_counted(board: Board) -> None:
    board.reached(BUSY)
    tell(board, JobStarted(2, 4, 5), STARTED, replace(SUCCEEDED, outcome=Outcome.FAILED))
    snapshot = board.snapshot()
    assert snapshot.running is None
    assert snapshot.job is not None
    assert (snapshot.job.done, snapshot.targets[0].pending) == (0, (4, 5))


def test_a_sighting_belongs_to_the_migration_that_runs(board: Board) -> None:
    board.sighted(Sighting(4, HOLDER))
    assert board.snapshot().running is None
    tell(board, STARTED).sighted(Sighting(3, HOLDER))
    running = board.snapshot().running
    assert running is not None
    assert (running.waiting, running.statements, running.direction) == (None, 3, "up")


def test_a_wait_counts_from_when_its_holder_was_first_seen(board: Board) -> None:
    tell(board, STARTED)
    board.sighted(Sighting(4, HOLDER))
    first = board.snapshot().running
    board.sighted(Sighting(4, replace(HOLDER, query_seconds=9.5)))
    second = board.snapshot().running
    board.sighted(Sighting(4, replace(HOLDER, pid=8)))
    third = board.snapshot().running
    board.sighted(Sighting(4))
    last = board.snapshot().running
    assert None not in {first, second, third, last}
    waits = [running.waiting for running in (first, second, third)]
    assert None not in waits
    assert waits[0].since == waits[1].since < waits[2].since
    assert waits[1].holder.query_seconds == 9.5
    assert last.waiting is None


def test_who_waits_longest_is_kept_by_name_and_the_others_are_counted(board: Board) -> None:
    waiters = tuple(Waiter(pid, "app", "web", 9.0 - pid) for pid in range(WAITERS + 2))
    tell(board, STARTED).sighted(Sighting(4, behind=waiters, progress=PROGRESS))
    running = board.snapshot().running
    assert running is not None
    assert running.blocked == Blocked(WAITERS + 2, waiters[:WAITERS])
    assert running.progress == PROGRESS
    assert PROGRESS.ratio == 0.25


def test_between_two_attempts_nobody_is_behind_and_the_holder_stays(board: Board) -> None:
    tell(board, STARTED).sighted(Sighting(4, HOLDER, (Waiter(8, "app", "web", 1.0),)))
    running = tell(board, MigrationRetried(4, "55P03", 2, 0.5)).snapshot().running
    assert running is not None
    assert (running.retries, running.cause, running.blocked) == (2, "55P03", None)
    assert running.waiting is not None


def test_the_next_part_begins_with_nothing_seen(board: Board) -> None:
    tell(board, replace(STARTED, segments=2)).sighted(Sighting(4, HOLDER, (), PROGRESS))
    running = tell(board, SegmentFinished(4, 1, 2, 0.1)).snapshot().running
    assert running is not None
    assert (running.segment, running.waiting, running.progress) == (2, None, None)


@pytest.mark.parametrize("end", [LockAcquired(2, 0.1), LockLeft(0.2), LockReleased(0.1), LockTimedOut(9.0), SUCCEEDED])
def test_the_wait_for_the_lock_is_told_until_it_ends(board: Board, end: Event) -> None:
    wait = tell(board, WAITING).snapshot().lock_wait
    assert wait is not None
    assert replace(wait, since=NOON) == LockWait("ops", "psql", "local", 9, "noon", ours=False, since=NOON)
    assert tell(board, end).snapshot().lock_wait is None


def test_a_target_is_to_be_read_again_once_the_lock_was_held(board: Board) -> None:
    board.reached(BUSY)
    assert not board.is_stale
    assert tell(board, LockReleased(0.1)).is_stale
    board.reached(BUSY)
    assert not board.is_stale


def test_trouble_is_kept_until_a_round_comes_to_its_end(board: Board) -> None:
    trouble = tell(board, JobFailed(Outcome.REFUSED, "owner", "no", "grant", 0, 0.0)).snapshot().trouble
    assert trouble is not None
    assert replace(trouble, since=NOON) == Trouble("owner", "no", "grant", NOON)
    board.reached(BUSY)
    assert board.snapshot().trouble is not None
    board.settled()
    assert board.snapshot().trouble is None


def test_a_lost_database_leaves_what_was_known_and_when(board: Board) -> None:
    board.reached(BUSY)
    seen = board.snapshot()
    board.unreachable("refused")
    now = board.snapshot()
    assert (now.database, now.targets, now.looked_at) == ("refused", seen.targets, seen.looked_at)


def test_what_a_server_said_is_shown_without_the_secrets() -> None:
    board = Board("w-1", "0.1.0", Clock(), lambda text: text.replace("hidden", "***"))
    failure = Failure("1_hidden.up.sql", "P0001", "not hidden", "try hidden", 1, 1, "SELECT 'hidden'")
    board.reached(a_status(failure=failure, refusal="no hidden", hint="use hidden"))
    board.unreachable("refused hidden")
    snapshot = tell(board, JobFailed(Outcome.REFUSED, "owner", "hidden is not it", "ask hidden", 0, 0.0)).snapshot()
    assert "hidden" not in str(snapshot)
    assert snapshot.database == "refused ***"
    assert snapshot.targets[0].failure == Failure("1_***.up.sql", "P0001", "not ***", "try ***", 1, 1, "SELECT '***'")
    assert (snapshot.targets[0].refusal, snapshot.targets[0].hint) == ("no ***", "use ***")


def test_what_is_read_besides_a_look_is_shown_and_the_look_keeps_its_time(board: Board) -> None:
    board.reached(BUSY)
    looked_at = board.snapshot().looked_at

    board.read_besides(replace(BUSY, version=4))

    assert (board.snapshot().targets[0].version, board.snapshot().looked_at) == (4, looked_at)
