"""Migrations that are sent one behind the other in one message, each a transaction of its own.

Such a message is sent once, is not watched, and has a limit: what is refused or takes long runs by itself after that,
where who waits for whom is seen, and each error is told as it always is.
"""

from collections.abc import Sequence

from worker.applier.limits import Limits
from worker.applier.messages import Work, chained
from worker.applier.run import Applier
from worker.applier.send import send_chain
from worker.applier.steps import Step, durations_of, message_of, tell_done, timeouts_of, works_of
from worker.core.events.migration_events import PipelineStarted, PipelineStopped
from worker.postgres.faults import Fault, fault_of
from worker.postgres.lock import retake

MOST_CHARACTERS = 1_000_000
"""Of the files of one message."""

_SECONDS = 1.0
_MILLIS = 1000


async def run_pipeline(applier: Applier, steps: Sequence[Step]) -> frozenset[int]:
    """Run migrations upwards, each with its fence and its records; returns the versions that are applied.

    Those are the first ones. Whoever is told of fewer than all looks whether the target is as it left it, for a body
    that was rolled back may have dropped the lock.

    Raises:
        FencedError: Another worker has taken over; nothing was committed since.
        ConnectionLostError: The connection broke; the ledger says what was committed.
    """
    held, emit = applier.held, applier.held.session.emit
    works = works_of(held, applier.bundle, steps)
    ends = works[0].migration.version, works[-1].migration.version
    emit(PipelineStarted(*ends, len(works)))
    stopped = await send_chain(held, chain(works, applier.limits), patience(applier.limits, _SECONDS))
    if stopped is not None and fault_of(stopped, held.session.conn) is Fault.LOCK_DROPPED:
        await retake(held, applier.limits.advisory_timeout)
    durations = await durations_of(applier, works)
    tell_done(emit, works, durations)
    if stopped is not None and len(durations) < len(works):
        emit(PipelineStopped(*ends, len(works), len(durations), getattr(stopped, "sqlstate", None) or "slow"))
    return frozenset(durations)


def chain(works: Sequence[Work], limits: Limits) -> str:
    """The message."""
    timeouts = timeouts_of(limits)
    return chained([message_of(work, timeouts) for work in works])


def patience(limits: Limits, most: float) -> float:
    """How many seconds a message may take: nobody sees whom it keeps waiting, so half of what a seen one may."""
    budget = limits.block_budget_ms
    return min(most, budget / 2 / _MILLIS) if budget else most
