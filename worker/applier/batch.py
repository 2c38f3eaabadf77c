"""Migrations that share one transaction: all of them are applied and recorded, or none, and then each by itself."""

from collections.abc import Sequence

from worker.applier.attempts import Attempts, Patience, Refused
from worker.applier.limits import Share
from worker.applier.locate import check_unbroken
from worker.applier.messages import Message, Timeouts, joined
from worker.applier.run import Applier, finished
from worker.applier.steps import (
    Step,
    durations_of,
    message_of,
    script_of,
    tell_done,
    tell_finished,
    tell_started,
    timeouts_of,
    works_of,
)
from worker.applier.watch import Watched
from worker.core.events.event import Outcome
from worker.core.events.migration_events import BatchStarted, BatchUndone
from worker.postgres.faults import Fault, fault_of
from worker.postgres.lock import retake


async def run_batch(applier: Applier, steps: Sequence[Step]) -> frozenset[int]:
    """Run migrations upwards in one transaction, again where only others were in the way; returns what is applied.

    That is all of them or none; whoever is told of none runs them one by one, with the other half of the lock budget.

    Raises:
        MigrationFailedError: A body ended the transaction that it was given, so that it must not be run again.
        DrainedError: It is not tried again, since the worker was asked to stop.
        FencedError: Another worker has taken over; nothing was committed.
        ConnectionLostError: The connection broke; the ledger says whether the commit came through.
    """
    return await _Batch(applier, steps).run()


class _Batch:
    def __init__(self, applier: Applier, steps: Sequence[Step]) -> None:
        self._applier = applier
        self._works = works_of(applier.held, applier.bundle, steps)
        self._first, self._last = self._works[0].migration.version, self._works[-1].migration.version
        self._session = applier.held.session
        self._emit = self._session.emit.bind(batch=f"{self._first}-{self._last}")

    async def run(self) -> frozenset[int]:
        limits, first = self._applier.limits, self._works[0]
        patience = Patience(limits.lock_budget * Share.HALF.value, limits.block_budget_ms / 1000 or None)
        attempts = Attempts(first, timeouts_of(limits), patience, self._applier.watch)
        # Of each of the others it is told when all of them are done.
        tell_started(self._emit, first)
        self._emit(BatchStarted(self._first, self._last, len(self._works)))
        segment = next((segment for work in self._works for segment in script_of(work).segments), None)
        with self._applier.watch.migration(self._first) as watched:
            try:
                refused = await attempts.together(segment, self._message)
            except BaseException:
                seconds = self._session.clock() - first.began
                self._emit(finished(attempts, watched, Outcome.INTERRUPTED, seconds))
                raise
        return await self._ended(attempts, watched, refused)

    def _message(self, timeouts: Timeouts) -> Message:
        return joined([message_of(work, timeouts) for work in self._works])

    async def _ended(self, attempts: Attempts, watched: Watched, refused: Refused | None) -> frozenset[int]:
        held = self._applier.held
        if refused is not None and fault_of(refused.error, held.session.conn) is Fault.LOCK_DROPPED:
            # Which of them dropped it is to be found out, and the others are to be run.
            await retake(held, self._applier.limits.advisory_timeout)
        durations = await durations_of(self._applier, self._works)
        first, *others = self._works
        if (milliseconds := durations.get(self._first)) is not None:
            # What befell the whole transaction is told with the first one.
            befell = (attempts.retries, attempts.lock_wait, watched.blocked_seconds)
            tell_finished(self._emit, first, milliseconds, befell)
        tell_done(self._emit, others, durations)
        if refused is not None:
            cause = refused.error.sqlstate or ""
            self._emit(BatchUndone(self._first, self._last, len(self._works), cause))
            for work in self._works:
                if work.migration.version not in durations:
                    check_unbroken(work, refused.error)
            return frozenset(durations)
        # A body that was committed may have deleted what was recorded before it.
        return frozenset(work.migration.version for work in self._works)
