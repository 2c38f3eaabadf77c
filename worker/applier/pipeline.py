"""Migrations that are sent one behind the other in one message, each a transaction of its own.

Such a message is sent once, is not watched, and has a limit: what is refused or takes long runs by itself after that,
where who waits for whom is seen, and each error is told as it always is.
"""

from collections.abc import Sequence

import asyncpg

from worker.applier.limits import Limits
from worker.applier.locate import check_unbroken
from worker.applier.messages import Work, chained
from worker.applier.run import Applier
from worker.applier.send import send_chain
from worker.applier.steps import Step, message_of, timeouts_of, works_of
from worker.applier.telling import Telling
from worker.applier.watch import beside
from worker.core.events.migration_events import PipelineStarted, PipelineStopped
from worker.core.sql.script import PART
from worker.postgres.faults import ConnectionLostError, Fault, FencedError, fault_of
from worker.postgres.lock import retake

MOST_CHARACTERS = PART
"""Of the files of one message; a longer file travels in portions."""

_SECONDS = 1.0
_MILLIS = 1000

Stopped = asyncpg.PostgresError | TimeoutError | None


async def run_pipeline(applier: Applier, steps: Sequence[Step], telling: Telling) -> int:
    """Run migrations upwards, each with its fence and its records; returns how many of them are applied.

    Those are the first ones, of which `telling` may tell later. Whoever is told of fewer than all looks whether the
    target is as it left it, for a body that was rolled back may have dropped the lock.

    Raises:
        MigrationFailedError: A body ended the transaction that it was given, so that it must not be run again.
        FencedError: Another worker has taken over; nothing was committed since.
        ConnectionLostError: The connection broke; the ledger says what was committed.
    """
    return await _Pipeline(applier, steps, telling).run()


class _Pipeline:
    def __init__(self, applier: Applier, steps: Sequence[Step], telling: Telling) -> None:
        self._applier = applier
        self._telling = telling
        self._works = works_of(applier.held, applier.bundle, steps)
        self._emit = applier.held.session.emit

    async def run(self) -> int:
        try:
            stopped = await self._sent()
            done = await self._done(stopped)
        except FencedError:
            self._tell_stopped(await self._recorded(), "fenced")
            raise
        except BaseException as error:
            self._tell_stopped(None, "lost" if isinstance(error, ConnectionLostError) else "interrupted")
            raise
        if stopped is not None and done < len(self._works):
            self._tell_stopped(done, getattr(stopped, "sqlstate", None) or "slow")
            check_unbroken(self._works[done], stopped)
        return done

    @property
    def _ends(self) -> tuple[int, int]:
        return self._works[0].migration.version, self._works[-1].migration.version

    async def _sent(self) -> Stopped:
        held, limits = self._applier.held, self._applier.limits
        message = chain(self._works, limits)
        async with beside(self._begin):
            stopped = await send_chain(held, message, patience(limits, _SECONDS))
        if stopped is not None and fault_of(stopped, held.session.conn) is Fault.LOCK_DROPPED:
            await retake(held, limits.advisory_timeout)
        return stopped

    async def _begin(self) -> None:
        """Tell what is to be told while the server works."""
        self._telling.tell()
        self._emit(PipelineStarted(*self._ends, len(self._works)))

    async def _done(self, stopped: Stopped) -> int:
        if stopped is not None:
            return await self._recorded()
        await self._telling.soon(self._works)
        return len(self._works)

    async def _recorded(self) -> int:
        """How many are committed, once those are told: all up to the last one that is recorded.

        A body that was committed may have deleted what was recorded before it.
        """
        recorded = await self._telling.now(self._works)
        return max(
            (place for place, work in enumerate(self._works, 1) if work.migration.version in recorded), default=0
        )

    def _tell_stopped(self, applied: int | None, cause: str) -> None:
        self._emit(PipelineStopped(*self._ends, len(self._works), applied, cause))


def chain(works: Sequence[Work], limits: Limits) -> str:
    """The message."""
    timeouts = timeouts_of(limits)
    return chained([message_of(work, timeouts) for work in works])


def patience(limits: Limits, most: float) -> float:
    """How many seconds a message may take: nobody sees whom it keeps waiting, so half of what a seen one may."""
    budget = limits.block_budget_ms
    return min(most, budget / 2 / _MILLIS) if budget else most
