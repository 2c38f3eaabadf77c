"""What a look at a target comes to: every action and why, and what holds whatever was seen."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.plans import a_bundle
from worker.core.bundles.migration import Direction
from worker.core.planning.job import SETTLED, JobState
from worker.core.planning.plan import Pending, Plan, Refused, Run, UpToDate
from worker.core.planning.reconcile import (
    Action,
    Asked,
    Insistence,
    JobSeen,
    Next,
    Row,
    Scope,
    Seen,
    Subject,
    next_action,
)

PASSING = ("dirty", "version_table", "diverged", "unrelated", "checksum", "order")

DONE = UpToDate()
MORE = Pending((Run(a_bundle(1).migrations[0], Direction.UP),))
NO = Refused("dirty", "the version table is dirty", "mend it")

ROUND = Asked(Insistence.ROUND, Scope.ALL)
UP = Asked(Insistence.COMMAND, Scope.ALL)
DOWN = Asked(Insistence.COMMAND, Scope.BESIDES)

TRUE = Seen(Subject.WANTED, Row.TRUE)
FAILED = JobSeen(JobState.FAILED, "migration_failed")

questions = st.builds(Asked, st.sampled_from(Insistence), st.sampled_from(Scope))
plans: st.SearchStrategy[Plan] = st.sampled_from([DONE, MORE, NO])
jobs = st.builds(JobSeen, st.sampled_from(JobState), st.sampled_from([None, "script", "privilege", *PASSING]))
sights = st.builds(
    Seen,
    st.sampled_from(Subject),
    st.sampled_from(Row),
    st.none() | st.just("paused by somebody"),
    st.none() | jobs,
    st.none() | plans,
)


@pytest.mark.parametrize(
    ("asked", "seen", "expected"),
    [
        # A settled target costs no file and no lock.
        (ROUND, Seen(Subject.WANTED, Row.SETTLED), Action.NOTHING),
        (UP, Seen(Subject.WANTED, Row.SETTLED), Action.NOTHING),
        # Whatever else is asked for needs a plan.
        (DOWN, Seen(Subject.WANTED, Row.SETTLED), Action.PLAN),
        (Asked(Insistence.ROUND, Scope.BESIDES), Seen(Subject.WANTED, Row.SETTLED), Action.PLAN),
        (UP, Seen(Subject.OTHER, Row.SETTLED), Action.PLAN),
        (ROUND, TRUE, Action.PLAN),
        (ROUND, Seen(Subject.WANTED, Row.MISSING), Action.PLAN),
        (ROUND, Seen(Subject.WANTED, Row.STALE), Action.PLAN),
        # With a plan, work; a row or a job that does not say yet what is so is work too.
        (ROUND, replace(TRUE, plan=MORE), Action.WORK),
        (ROUND, replace(TRUE, plan=DONE), Action.WORK),
        (ROUND, replace(TRUE, plan=NO), Action.WORK),
        (ROUND, replace(TRUE, plan=DONE, job=FAILED), Action.WORK),
        (DOWN, Seen(Subject.WANTED, Row.SETTLED, plan=DONE), Action.WORK),
        # An older image that starts during a rollback changes nothing.
        (UP, Seen(Subject.OTHER, Row.SETTLED, plan=DONE), Action.NOTHING),
        (UP, Seen(Subject.OTHER, Row.TRUE, plan=DONE), Action.NOTHING),
        (UP, Seen(Subject.OTHER, Row.STALE, plan=DONE), Action.WORK),
        (UP, Seen(Subject.OTHER, Row.MISSING, plan=DONE), Action.WORK),
        (UP, Seen(Subject.OTHER, Row.TRUE, plan=MORE), Action.WORK),
        (UP, Seen(Subject.WANTED, Row.TRUE, plan=DONE), Action.WORK),
        (DOWN, Seen(Subject.OTHER, Row.TRUE, plan=DONE), Action.WORK),
    ],
)
def test_what_is_seen_says_what_is_done(asked: Asked, seen: Seen, expected: Action) -> None:
    assert next_action(asked, seen) == Next(expected)


@pytest.mark.parametrize("asked", [ROUND, UP, DOWN])
def test_where_nothing_is_published_there_is_nothing_to_do(asked: Asked) -> None:
    assert next_action(asked, Seen(Subject.NOTHING, Row.MISSING)) == Next(Action.NOTHING, "nothing is published")


def test_a_paused_target_is_left_alone_by_a_round_and_not_by_a_person() -> None:
    paused = replace(TRUE, paused="paused by somebody", plan=MORE)
    assert next_action(ROUND, paused) == Next(Action.NOTHING, "paused by somebody")
    assert next_action(UP, paused) == Next(Action.WORK)


@pytest.mark.parametrize(
    "seen",
    [
        Seen(Subject.NOTHING, Row.STALE),
        Seen(Subject.WANTED, Row.STALE, paused="paused by somebody"),
        Seen(Subject.WANTED, Row.STALE, job=FAILED, plan=MORE),
    ],
)
def test_a_row_that_is_no_longer_true_is_mended_even_where_the_target_is_left_alone(seen: Seen) -> None:
    decided = next_action(ROUND, seen)
    assert decided.action is Action.STAMP
    assert decided.why


@pytest.mark.parametrize("state", sorted(SETTLED, key=lambda state: state.value))
def test_a_job_that_ended_badly_waits_for_a_person(state: JobState) -> None:
    seen = replace(TRUE, job=JobSeen(state, "script"), plan=MORE)
    assert next_action(ROUND, seen) == Next(
        Action.NOTHING, f"its job is {state.value}; it waits for tidegate retry, or for another bundle"
    )
    assert next_action(UP, seen) == Next(Action.WORK)


@pytest.mark.parametrize("reason", PASSING)
def test_a_refusal_ends_with_its_cause(reason: str) -> None:
    refused = replace(TRUE, job=JobSeen(JobState.REFUSED, reason))
    assert next_action(ROUND, replace(refused, plan=NO)).action is Action.NOTHING
    assert next_action(ROUND, replace(refused, plan=MORE)) == Next(Action.WORK)


def test_a_failure_with_the_reason_of_a_refusal_does_not_end_by_itself() -> None:
    seen = replace(TRUE, job=JobSeen(JobState.FAILED, "dirty"), plan=MORE)
    assert next_action(ROUND, seen).action is Action.NOTHING


@given(questions, sights)
def test_with_a_plan_no_other_is_asked_for(asked: Asked, seen: Seen) -> None:
    if seen.plan is not None:
        assert next_action(asked, seen).action is not Action.PLAN


@given(questions, sights, plans)
def test_what_is_decided_without_a_plan_is_decided_so_with_any(asked: Asked, seen: Seen, decided: Plan) -> None:
    early = next_action(asked, replace(seen, plan=None))
    if early.action is not Action.PLAN:
        assert next_action(asked, replace(seen, plan=decided)) == early


@given(questions, sights)
def test_only_what_is_left_as_it_is_has_a_why(asked: Asked, seen: Seen) -> None:
    decided = next_action(asked, seen)
    if decided.why is not None:
        assert decided.action in {Action.NOTHING, Action.STAMP}
    else:
        assert decided.action is not Action.STAMP


@given(questions, sights)
def test_a_stale_row_is_never_left_as_it_is(asked: Asked, seen: Seen) -> None:
    assert next_action(asked, replace(seen, row=Row.STALE)).action is not Action.NOTHING


@given(questions, sights)
def test_a_true_row_is_not_written_again(asked: Asked, seen: Seen) -> None:
    if seen.row is not Row.STALE:
        assert next_action(asked, seen).action is not Action.STAMP


@given(st.sampled_from(Scope), sights)
def test_a_person_is_never_told_that_a_target_waits_for_one(scope: Scope, seen: Seen) -> None:
    if seen.subject is not Subject.NOTHING:
        assert next_action(Asked(Insistence.COMMAND, scope), seen).why is None


@given(questions, sights)
def test_what_is_pending_for_a_target_that_nobody_holds_back_is_worked_on(asked: Asked, seen: Seen) -> None:
    free = replace(seen, subject=Subject.OTHER, paused=None, job=None, plan=MORE)
    assert next_action(asked, free) == Next(Action.WORK)
