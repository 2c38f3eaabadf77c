"""What a run is at, as its events tell it."""

from io import StringIO

import pytest
from rich.console import Console

from worker.cli.progress_screen import picture
from worker.cli.under_way import UnderWay
from worker.core.events.event import Event, Outcome
from worker.core.events.events import GateWaiting, JobStarted, LockAcquired, LockLeft, LockWaiting
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
from worker.core.running.blocking import Blocker, Kind, Waiter
from worker.core.status.sighting import Progress, Sighting

STARTED = MigrationStarted(2, "b", "up", "journalled", 3)
WAITING = LockWaiting("owner", "psql", "local", 9, "now", ours=False)


def finished(outcome: Outcome) -> MigrationFinished:
    return MigrationFinished(2, "b", "up", "journalled", outcome, 1.0, 0, 0.0, 0.0)


def after(*events: Event) -> UnderWay:
    under_way = UnderWay(lambda: 10.0)
    for event in events:
        under_way.take(event)
    return under_way


def test_only_what_succeeded_counts_as_done() -> None:
    told = after(JobStarted(3, 1, 3), STARTED, finished(Outcome.SUCCEEDED), STARTED, finished(Outcome.FAILED))

    assert (told.done, told.total, told.migration) == (1, 3, None)


@pytest.mark.parametrize("event", [BatchStarted(2, 9, 5), PipelineStarted(2, 9, 5)])
@pytest.mark.parametrize(
    "end", [finished(Outcome.SUCCEEDED), BatchUndone(2, 9, 5, "42P01"), PipelineStopped(2, 9, 5, 0, "slow")]
)
def test_what_goes_together_is_named_by_its_first_and_its_last(event: Event, end: Event) -> None:
    under_way = after(JobStarted(9, 1, 9), STARTED, event)
    assert under_way.together == "2 to 9"
    assert "2 to 9 together  0 s" in drawn(under_way)

    under_way.take(end)
    under_way.take(STARTED)
    assert "2 b  segment 1 of 3  0 s" in drawn(under_way)


def drawn(under_way: UnderWay) -> str:
    screen = Console(file=StringIO(), width=100)
    screen.print(picture(under_way, screen.width))
    return screen.file.getvalue()


def test_the_segment_that_runs_is_the_one_behind_the_last_that_is_done() -> None:
    assert after(STARTED).segment == 1
    assert after(STARTED, SegmentFinished(2, 1, 3, 0.1)).segment == 2
    assert after(STARTED, SegmentFinished(2, 3, 3, 0.1)).segment == 3


@pytest.mark.parametrize(
    ("events", "parts"),
    [
        ([MigrationRetried(2, "40P01", 1, 0.5)], ["attempt 1 was rolled back (40P01)"]),
        ([WAITING], ["waits for the lock", "backend 9"]),
        ([GateWaiting("bundle 1", "pending", "bundle 1 is not applied")], ["bundle 1 is not applied"]),
    ],
)
def test_it_says_who_or_what_is_waited_for(events: list[Event], parts: list[str]) -> None:
    said = after(STARTED, *events).wait

    assert all(part in said for part in parts), said


def test_who_is_in_the_way_is_remembered_until_the_next_attempt() -> None:
    under_way = after(STARTED)
    under_way.see(Sighting(2, Blocker(77, Kind.CLIENT, "api", "shop", "active", "unknown")))
    assert under_way.wait.startswith("waits for a lock of role api, application shop, backend 77")

    under_way.take(MigrationRetried(2, "55P03", 4, 1.5))
    assert under_way.wait.startswith("waits for a lock of role api")
    assert under_way.wait.endswith("; attempt 5 comes in 1.5 s")


def test_what_is_seen_replaces_what_was_told() -> None:
    under_way = after(STARTED, MigrationRetried(2, "55P03", 4, 1.5))
    under_way.see(
        Sighting(2, None, (Waiter(5, "api", "shop", 0.5),), Progress("CREATE INDEX", "building", 1, 4, "rows"))
    )

    assert "1 session waits behind it, longest role api" in under_way.wait
    assert under_way.progress is not None
    under_way.take(SegmentFinished(2, 1, 3, 0.1))
    assert (under_way.wait, under_way.progress) == ("", None)


@pytest.mark.parametrize(
    "event", [STARTED, LockAcquired(1, 0.1), LockLeft(0.2), SegmentFinished(2, 1, 3, 0.1), JobStarted(1, 1, 1)]
)
def test_a_wait_is_over_when_it_goes_on(event: Event) -> None:
    assert after(WAITING, event).wait == ""
