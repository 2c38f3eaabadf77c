"""A job's state machine: what each event makes of each state, and what holds for all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.planning.job import SETTLED, JobEvent, JobState, advance

_ = None
E, S = JobEvent, JobState
P, R, OK, F, X, D, Z = (
    S.PENDING, S.RUNNING, S.SUCCEEDED, S.FAILED, S.REFUSED, S.IN_DOUBT, S.SUPERSEDED
)  # fmt: skip
TABLE = {
    #     START SUCCEED FAIL REFUSE DOUBT INTERRUPT RETRY SUPERSEDE
    P:  (R,    OK,     _,   X,     _,    _,        P,    Z),
    R:  (R,    OK,     F,   X,     D,    P,        _,    Z),
    OK: (R,    OK,     _,   X,     _,    _,        _,    _),
    F:  (R,    OK,     _,   X,     _,    _,        P,    Z),
    X:  (R,    OK,     _,   X,     _,    _,        P,    Z),
    D:  (R,    OK,     _,   X,     _,    _,        P,    Z),
    Z:  (R,    OK,     _,   X,     _,    _,        P,    Z),
}  # fmt: skip
CASES = [(state, event, after) for state, row in TABLE.items() for event, after in zip(JobEvent, row, strict=True)]


@pytest.mark.parametrize(("state", "event", "after"), CASES)
def test_an_event_leads_from_one_state_to_the_next(state: JobState, event: JobEvent, after: JobState | None) -> None:
    assert advance(state, event) is after


def test_every_state_can_be_started_and_can_turn_out_to_be_done() -> None:
    for state in JobState:
        assert advance(state, JobEvent.START) is JobState.RUNNING
        assert advance(state, JobEvent.SUCCEED) is JobState.SUCCEEDED


def test_what_is_settled_waits_for_a_retry() -> None:
    for state in SETTLED:
        assert advance(state, JobEvent.RETRY) is JobState.PENDING


def test_only_a_running_job_fails_is_in_doubt_or_is_interrupted() -> None:
    for event in (JobEvent.FAIL, JobEvent.DOUBT, JobEvent.INTERRUPT):
        assert [state for state in JobState if advance(state, event)] == [JobState.RUNNING]


@given(st.lists(st.sampled_from(JobEvent), max_size=20))
def test_no_sequence_of_events_leaves_a_job_that_cannot_be_brought_to_its_end(sequence: list[JobEvent]) -> None:
    state = JobState.PENDING
    for event in sequence:
        state = advance(state, event) or state
    started = advance(state, JobEvent.START)
    assert started is not None
    assert advance(started, JobEvent.SUCCEED) is JobState.SUCCEEDED
