"""Migrations that share one transaction: all of them are applied and recorded, or none, and then each by itself."""

from collections.abc import Sequence
from dataclasses import replace

from worker.applier.attempts import Attempts, Patience, Refused
from worker.applier.limits import Share
from worker.applier.messages import Message, Timeouts, Work, final, joined, recorded_at_sql
from worker.applier.run import Applier, finished, read, started
from worker.applier.watch import Watched
from worker.core.bundles.migration import Direction
from worker.core.events.event import Outcome
from worker.core.events.migration_events import BatchStarted, BatchUndone, MigrationFinished
from worker.core.planning.batch import is_joining
from worker.core.planning.plan import Run
from worker.core.sql.script import Script
from worker.core.value import dataclass
from worker.postgres.faults import Fault, fault_of
from worker.postgres.lock import retake
from worker.postgres.target_half import TargetHalf


@dataclass(frozen=True, slots=True)
class Step:
    """A migration of a batch, the version table's value behind it, and SQL that commits together with it."""

    effect: Run
    version_after: int | None
    also: tuple[str, ...] = ()


def joins(effect: Run) -> bool:
    """Whether a migration can share a transaction.

    Raises:
        RefusedError: Its text cannot be run as what it claims to be.
    """
    return is_joining(effect, read(effect.migration, effect.direction))


async def run_batch(applier: Applier, steps: Sequence[Step]) -> frozenset[int]:
    """Run migrations upwards in one transaction, again where only others were in the way; returns what is applied.

    That is all of them or none; whoever is told of none runs them one by one, with the other half of the lock budget.

    Raises:
        DrainedError: It is not tried again, since the worker was asked to stop.
        FencedError: Another worker has taken over; nothing was committed.
        ConnectionLostError: The connection broke; the ledger says whether the commit came through.
    """
    return await _Batch(applier, steps).run()


class _Batch:
    def __init__(self, applier: Applier, steps: Sequence[Step]) -> None:
        began = applier.held.session.clock()
        self._applier = applier
        self._works = [_work(applier, step, began) for step in steps]
        for before, place in zip(self._works, range(1, len(steps)), strict=False):
            since = recorded_at_sql(applier.held, before.migration.version)
            self._works[place] = replace(self._works[place], since=since)
        self._first, self._last = self._works[0].migration.version, self._works[-1].migration.version
        self._emit = applier.held.session.emit.bind(batch=f"{self._first}-{self._last}")

    async def run(self) -> frozenset[int]:
        limits, first = self._applier.limits, self._works[0]
        patience = Patience(limits.lock_budget * Share.HALF.value, limits.block_budget_ms / 1000 or None)
        timeouts = Timeouts(limits.lock_timeout_ms, 0, limits.statement_timeout_ms)
        attempts = Attempts(first, timeouts, patience, self._applier.watch)
        self._emit(BatchStarted(self._first, self._last, len(self._works)))
        # What is shown as running is the first one, until all of them are done.
        self._emit(started(first, _script(first)))
        segment = next((segment for work in self._works for segment in _script(work).segments), None)
        with self._applier.watch.migration(self._first) as watched:
            try:
                refused = await attempts.together(segment, self._message)
            except BaseException:
                seconds = self._applier.held.session.clock() - first.began
                self._emit(finished(attempts, watched, Outcome.INTERRUPTED, seconds))
                raise
        return await self._ended(attempts, watched, refused)

    def _message(self, timeouts: Timeouts) -> Message:
        return joined([final(work, next(iter(_script(work).segments), None), timeouts) for work in self._works])

    async def _ended(self, attempts: Attempts, watched: Watched, refused: Refused | None) -> frozenset[int]:
        held = self._applier.held
        if refused is not None and fault_of(refused.error, held.session.conn) is Fault.LOCK_DROPPED:
            # Which of them dropped it is to be found out, and the others are to be run.
            await retake(held, self._applier.limits.advisory_timeout)
        versions = [work.migration.version for work in self._works]
        durations = await TargetHalf(held.session, held.target).durations(held.epoch, versions)
        for place, work in enumerate(self._works):
            if work.migration.version in durations:
                self._tell(work, durations[work.migration.version], attempts, watched if place == 0 else None)
        if refused is not None:
            cause = refused.error.sqlstate or ""
            self._emit(BatchUndone(self._first, self._last, len(self._works), cause))
        return frozenset(durations)

    def _tell(self, work: Work, milliseconds: float, attempts: Attempts, watched: Watched | None) -> None:
        """Tell a migration that is committed; what befell the whole transaction is told with the first one."""
        if watched is None:
            self._emit(started(work, _script(work)))
        self._emit(
            MigrationFinished(
                work.migration.version,
                work.migration.name,
                work.direction.value,
                work.mode.value,
                Outcome.SUCCEEDED,
                milliseconds / 1000,
                0 if watched is None else attempts.retries,
                0.0 if watched is None else attempts.lock_wait,
                0.0 if watched is None else watched.blocked_seconds,
            )
        )


def _work(applier: Applier, step: Step, began: float) -> Work:
    migration, mode = step.effect.migration, read(step.effect.migration, Direction.UP).mode
    bundle = step.effect.lender or applier.bundle
    return Work(applier.held, migration, Direction.UP, mode, bundle, step.version_after, began, step.also)


def _script(work: Work) -> Script:
    return read(work.migration, work.direction)
