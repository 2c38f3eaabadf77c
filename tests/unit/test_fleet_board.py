"""A fleet's worker knows what it is at, and what a server said is masked on its board."""

from dataclasses import replace

from tests.fixtures.statuses import NOON
from worker.core.events.event import Outcome
from worker.core.events.events import JobFailed, JobFinished, JobStarted, ListenerConnected
from worker.core.events.fleet_events import TargetLeft
from worker.core.events.migration_events import MigrationFinished, MigrationStarted
from worker.core.fleet.count import Count
from worker.core.status.fleet_status import AtWork, FleetStatus, Halt, Misdeclared, TroubledTarget, halts_of
from worker.fleet.board import FleetBoard

ONE, TWO = {"target": "t1.m", "bundle": "1.0"}, {"target": "t2.m", "bundle": "1.0"}
COUNTS = (Count("shop", "1.0", "succeeded", 2), Count("shop", "1.0", "failed", 3), Count("shop", "1.0", "due", 5))


def board() -> FleetBoard:
    return FleetBoard("w", "0", lambda: NOON, lambda text: text.replace("sesame", "***"))


def test_several_targets_are_at_work_at_once_and_none_speaks_for_the_fleet() -> None:
    found = board()
    for context in (ONE, TWO):
        found.sink(JobStarted(3, 1, 3), context)
    found.sink(MigrationStarted(1, "a", "up", "transactional", 1, 1), ONE)
    found.sink(MigrationFinished(1, "a", "up", "transactional", Outcome.SUCCEEDED, 1.0, 0, 0.0, 0.0), ONE)
    found.sink(MigrationStarted(2, "b", "up", "transactional", 1, 1), ONE)
    found.sink(JobFailed(Outcome.FAILED, "migration_failed", "no", "mend it", 0, 1.0), TWO)
    found.sink(ListenerConnected(), {})
    said = found.snapshot()
    assert said.at_work == (AtWork("t1.m", "1.0", 1, 3, NOON, "2 b"),)
    assert (said.running, said.job, said.trouble, said.listening) == (None, None, None, True)
    found.sink(JobFinished(Outcome.SUCCEEDED, 3, 1.0), ONE)
    assert found.snapshot().at_work == ()


def test_an_idle_worker_is_at_nothing_whatever_a_lost_connection_cut_off() -> None:
    found = board()
    found.sink(JobStarted(3, 1, 3), ONE)
    found.fleet_read(FleetStatus(COUNTS), is_idle=False)
    assert found.snapshot().at_work
    found.fleet_read(FleetStatus(COUNTS), is_idle=True)
    assert found.snapshot().at_work == ()


def test_a_target_that_was_left_without_a_word_is_not_worked_at_any_more() -> None:
    found = board()
    for context in (ONE, TWO):
        found.sink(JobStarted(3, 1, 3), context)
    found.sink(TargetLeft(), TWO)
    found.fleet_read(FleetStatus(COUNTS), is_idle=False)
    assert [each.target for each in found.snapshot().at_work] == ["t1.m"]


def test_what_a_server_or_a_file_said_is_masked() -> None:
    trouble = TroubledTarget("t1.m", "shop", "failed", "sesame is no number", "not sesame")
    wrong = Misdeclared("fleet.toml, targets 2", "sesame", "sesame")
    found = board()
    found.fleet_read(FleetStatus(COUNTS, (), (trouble,), (wrong,)), is_idle=True)
    said = found.snapshot()
    assert said.troubled == (replace(trouble, message="*** is no number", hint="not ***"),)
    assert said.misdeclared == (replace(wrong, message="***", hint="***"),)
    assert said.is_fleet
    assert said.database is None


def test_a_line_is_halted_when_its_budget_is_used_up_and_something_is_left() -> None:
    assert halts_of(COUNTS, {"shop": 3}, {"shop": 3, "audit": 1}) == (Halt("shop", 3, 3, 5),)
    assert halts_of(COUNTS, {"shop": 3}, {"shop": 4}) == ()
    assert halts_of(COUNTS, {"shop": 3}, {"shop": None}) == ()
    assert halts_of(COUNTS[:2], {"shop": 3}, {"shop": 1}) == ()


def test_a_line_that_was_resumed_is_not_halted_by_what_failed_before() -> None:
    assert halts_of(COUNTS, {}, {"shop": 1}) == ()
    assert halts_of(COUNTS, {"shop": 1}, {"shop": 1}) == (Halt("shop", 1, 1, 5),)
