"""A job brings a target to a bundle; this is its state machine.

The ledger and the journal are the truth. A job's state says what was tried last, and is repaired from them.
"""

from enum import Enum


class JobState(Enum):
    """Where a job stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    IN_DOUBT = "in_doubt"
    SUPERSEDED = "superseded"


class JobEvent(Enum):
    """What can happen to a job."""

    START = "start"
    SUCCEED = "succeed"
    FAIL = "fail"
    REFUSE = "refuse"
    DOUBT = "doubt"
    INTERRUPT = "interrupt"
    RETRY = "retry"
    SUPERSEDE = "supersede"


_NEXT: dict[tuple[JobState, JobEvent], JobState] = {
    (JobState.PENDING, JobEvent.START): JobState.RUNNING,
    (JobState.PENDING, JobEvent.SUCCEED): JobState.SUCCEEDED,
    (JobState.PENDING, JobEvent.REFUSE): JobState.REFUSED,
    (JobState.PENDING, JobEvent.RETRY): JobState.PENDING,
    # A worker that died left it running: whoever holds the lock now starts it again.
    (JobState.RUNNING, JobEvent.START): JobState.RUNNING,
    (JobState.RUNNING, JobEvent.SUCCEED): JobState.SUCCEEDED,
    (JobState.RUNNING, JobEvent.FAIL): JobState.FAILED,
    (JobState.RUNNING, JobEvent.REFUSE): JobState.REFUSED,
    (JobState.RUNNING, JobEvent.DOUBT): JobState.IN_DOUBT,
    (JobState.RUNNING, JobEvent.INTERRUPT): JobState.PENDING,
    # A down or a restored dump can leave work again for a bundle that was brought in before.
    (JobState.SUCCEEDED, JobEvent.START): JobState.RUNNING,
    (JobState.SUCCEEDED, JobEvent.SUCCEED): JobState.SUCCEEDED,
    # golang-migrate can leave the version table dirty behind our back.
    (JobState.SUCCEEDED, JobEvent.REFUSE): JobState.REFUSED,
    (JobState.FAILED, JobEvent.START): JobState.RUNNING,
    (JobState.FAILED, JobEvent.SUCCEED): JobState.SUCCEEDED,
    (JobState.FAILED, JobEvent.REFUSE): JobState.REFUSED,
    (JobState.FAILED, JobEvent.RETRY): JobState.PENDING,
    (JobState.REFUSED, JobEvent.START): JobState.RUNNING,
    (JobState.REFUSED, JobEvent.SUCCEED): JobState.SUCCEEDED,
    (JobState.REFUSED, JobEvent.REFUSE): JobState.REFUSED,
    (JobState.REFUSED, JobEvent.RETRY): JobState.PENDING,
    (JobState.IN_DOUBT, JobEvent.START): JobState.RUNNING,
    (JobState.IN_DOUBT, JobEvent.SUCCEED): JobState.SUCCEEDED,
    (JobState.IN_DOUBT, JobEvent.REFUSE): JobState.REFUSED,
    (JobState.IN_DOUBT, JobEvent.RETRY): JobState.PENDING,
    (JobState.SUPERSEDED, JobEvent.START): JobState.RUNNING,
    (JobState.SUPERSEDED, JobEvent.SUCCEED): JobState.SUCCEEDED,
    (JobState.SUPERSEDED, JobEvent.REFUSE): JobState.REFUSED,
    (JobState.SUPERSEDED, JobEvent.RETRY): JobState.PENDING,
    **{(state, JobEvent.SUPERSEDE): JobState.SUPERSEDED for state in JobState if state is not JobState.SUCCEEDED},
}

SETTLED = frozenset({JobState.FAILED, JobState.REFUSED, JobState.IN_DOUBT})
"""States in which a worker waits for a person, or for another bundle."""


def advance(state: JobState, event: JobEvent) -> JobState | None:
    """The state after `event`, or None where the event cannot happen in `state`."""
    return _NEXT.get((state, event))
