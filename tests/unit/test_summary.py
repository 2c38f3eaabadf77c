"""What is said first of a worker: the one thing that matters most, and what to do."""

from dataclasses import replace

import pytest

from tests.fixtures.statuses import NOON, a_fleet, a_row, a_running, a_snapshot, a_status
from worker.core.events.failure import Failure
from worker.core.fleet.count import Count
from worker.core.planning.job import JobState
from worker.core.planning.readiness import AtLeast
from worker.core.status.fleet_status import AtWork, Halt, Misdeclared
from worker.core.status.snapshot import JobProgress, LockWait, Snapshot, Trouble
from worker.core.status.summary import summarise
from worker.core.status.tone import Tone

JOB = JobProgress("public.schema_migrations", "1.4.0", 2, 7, NOON)
FAILED = a_status(state=JobState.FAILED, failure=Failure("3_a.up.sql", None, "no", line=4))
TROUBLE = Trouble("owner", "it is not the owner", "say SET ROLE", NOON)


def lock_wait(*, ours: bool) -> LockWait:
    return LockWait("ops", "psql", "local", 7, "noon", ours=ours, since=NOON)


@pytest.mark.parametrize(
    ("snapshot", "tone", "title", "detail"),
    [
        (a_snapshot(), Tone.GOOD, "Ready", "1.4.0 is applied: 3 migrations, at version 3"),
        (a_snapshot(targets=()), Tone.IDLE, "Looking", "not been read yet"),
        (a_snapshot(a_status(wanted=None)), Tone.IDLE, "Nothing wanted yet", "No bundle is published"),
        (a_snapshot(a_status(wanted=None, elsewhere="say --fleet")), Tone.IDLE, "Told elsewhere", "home of a fleet"),
        (a_snapshot(database="refused"), Tone.WAITING, "No database", "refused"),
        (a_snapshot(database="refused", looked_at=NOON), Tone.BAD, "No database", "refused"),
        (a_snapshot(draining=True), Tone.BUSY, "Stopping", "it ends now"),
        (a_snapshot(draining=True, running=a_running()), Tone.BUSY, "Stopping", "migration 7 index_orders is done"),
        (
            a_snapshot(lock_wait=lock_wait(ours=False)),
            Tone.WAITING,
            "Waiting for its turn",
            "psql of role ops, backend 7",
        ),
        (a_snapshot(running=a_running(), job=JOB), Tone.WAITING, "Waiting for a lock", "application report, backend 7"),
        (a_snapshot(running=a_running(waiting=None)), Tone.WAITING, "In the application's way", "keeps 3 sessions"),
        (
            a_snapshot(running=a_running(waiting=None, blocked=None), job=JOB),
            Tone.BUSY,
            "Applying",
            "2 of 7 migrations",
        ),
        (a_snapshot(job=JOB), Tone.BUSY, "Applying", "2 of 7 migrations of bundle 1.4.0 done"),
        (
            a_snapshot(job=replace(JOB, first=3, last=6)),
            Tone.BUSY,
            "Applying",
            "Migrations 3 to 6 go up together; 2",
        ),
        (a_snapshot(FAILED), Tone.BAD, "A migration failed", "3_a.up.sql:4: no"),
        (a_snapshot(a_status(state=JobState.REFUSED, refusal="no")), Tone.BAD, "Refused", "no"),
        (a_snapshot(a_status(state=JobState.IN_DOUBT, refusal="cut")), Tone.BAD, "In doubt", "cut"),
        (a_snapshot(trouble=TROUBLE), Tone.BAD, "A person is needed", "it is not the owner"),
        (a_snapshot(a_status(dirty=True)), Tone.BAD, "Dirty", "version 3 is half applied"),
        (a_snapshot(a_status(paused="paused by ops")), Tone.IDLE, "Left alone", "is paused by ops"),
        (a_snapshot(a_status(readiness=None)), Tone.WAITING, "Not ready", "no readiness row"),
        (a_snapshot(a_status(pending=(9,), readiness=a_row(deferred=(9,)))), Tone.GOOD, "Ready", "does not wait for"),
    ],
)
def test_a_state_has_its_tone_its_title_and_its_words(snapshot: Snapshot, tone: Tone, title: str, detail: str) -> None:
    said = summarise(snapshot, None)
    assert (said.tone, said.title) == (tone, title)
    assert detail in said.detail


def test_what_stops_a_person_comes_with_what_to_do() -> None:
    assert "pg_terminate_backend(7)" in summarise(a_snapshot(running=a_running()), None).advice
    assert "pg_terminate_backend(7)" in summarise(a_snapshot(lock_wait=lock_wait(ours=False)), None).advice
    assert "terminate" not in summarise(a_snapshot(lock_wait=lock_wait(ours=True)), None).advice
    assert summarise(a_snapshot(trouble=TROUBLE), None).advice == "Say SET ROLE"
    assert "tidegate retry" in summarise(a_snapshot(FAILED), None).advice


def test_a_job_that_failed_speaks_for_itself_and_work_comes_before_trouble() -> None:
    assert summarise(a_snapshot(FAILED, trouble=TROUBLE), None).title == "A migration failed"
    assert summarise(a_snapshot(FAILED, job=JOB), None).title == "Applying"


def test_the_workers_own_requirement_decides_whether_it_is_ready() -> None:
    assert summarise(a_snapshot(), AtLeast(3)).tone is Tone.GOOD
    assert summarise(a_snapshot(), AtLeast(4)).title == "Not ready"


def of(*states: str, wanted: str | None = "1.4.0") -> tuple[Count, ...]:
    """So many targets of one line in each of these states, one more each time."""
    return tuple(Count("shop", wanted, state, number) for number, state in enumerate(states, start=1))


@pytest.mark.parametrize(
    ("snapshot", "tone", "title", "detail"),
    [
        (a_fleet(halted=(Halt("shop", 5, 5, 90),)), Tone.BAD, "shop is halted", "5 targets ended badly, and 5 may: 90"),
        (a_fleet(), Tone.BAD, "50 targets need a person", "99000 up to date, 940 due, 1 running"),
        (a_fleet(fleet=of("in_doubt")), Tone.BAD, "1 target needs a person", "Of 1 target: 1 in doubt"),
        (
            a_fleet(fleet=of("succeeded"), misdeclared=(Misdeclared("targets 2", "yields none", "mend it"),)),
            Tone.BAD, "A person is needed", "targets 2: yields none",
        ),
        (a_fleet(fleet=of("due", "succeeded")), Tone.BUSY, "Applying", "Of 3 targets: 2 up to date, 1 due"),
        (
            a_fleet(fleet=of("succeeded"), at_work=(AtWork("t.m", "1", 0, 1, NOON),)),
            Tone.BUSY, "Applying", "1 up to date",
        ),
        (a_fleet(fleet=of("unreachable", "succeeded")), Tone.WAITING, "Waiting", "1 unreachable"),
        (a_fleet(fleet=of("due", wanted=None)), Tone.IDLE, "Nothing wanted yet", "for any line"),
        (a_fleet(fleet=()), Tone.IDLE, "No targets yet", "yield none"),
        (a_fleet(fleet=of("paused", "succeeded")), Tone.GOOD, "Ready", "Of 3 targets: 2 up to date, 1 paused"),
        (a_fleet(database="refused"), Tone.BAD, "No database", "refused"),
    ],
)  # fmt: skip
def test_of_a_fleet_the_worst_is_said_first(snapshot: Snapshot, tone: Tone, title: str, detail: str) -> None:
    said = summarise(snapshot, None)
    assert (said.tone, said.title) == (tone, title)
    assert detail in said.detail
