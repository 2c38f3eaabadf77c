"""Runs one effect of a plan on a held target: in one transaction, or by segments under the journal."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache

import anyio

from worker.applier import messages
from worker.applier.attempts import Attempts, Patience
from worker.applier.journalled import run_journalled
from worker.applier.limits import Limits, Share
from worker.applier.messages import Timeouts, Work
from worker.applier.watch import Watch, Watched, beside
from worker.core.bundles.migration import Direction, Directives, Migration, Side
from worker.core.events.event import Outcome
from worker.core.events.migration_events import MigrationFinished, MigrationStarted
from worker.core.planning.plan import Run
from worker.core.sql.script import Mode, Script, read_script
from worker.errors import InDoubtError, MigrationFailedError, RefusedError, TidegateError
from worker.postgres.lock import Held

_SMALL = 2000


async def load_ahead() -> None:
    """Have loaded what the first migration needs, for whoever waits for the server anyway."""
    anyio.Event()


@asynccontextmanager
async def applying(held: Held, bundle: str, limits: Limits) -> AsyncIterator["Applier"]:
    """An applier, with a watch beside it for as long as the block runs."""
    watch = Watch(held)
    async with beside(watch.run):
        yield Applier(held, bundle, limits, watch)


class Applier:
    """Runs migrations on one held target, one after the other."""

    def __init__(self, held: Held, bundle: str, limits: Limits, watch: Watch) -> None:
        self.held = held
        self.bundle = bundle
        self.limits = limits
        self.watch = watch

    async def run(
        self, effect: Run, version_after: int | None, also: tuple[str, ...] = (), share: Share = Share.WHOLE
    ) -> None:
        """Run one side of a migration and record it; `also` is SQL that commits together with it.

        Raises:
            MigrationFailedError: The SQL failed; nothing of the transaction that failed was committed.
            RefusedError: The text cannot be run as what it claims to be.
            InDoubtError: A cut statement may or may not have taken effect.
            FencedError: Another worker has taken over; nothing was committed.
            ConnectionLostError: The connection broke; the ledger says whether the commit came through.
        """
        script = read(effect.migration, effect.direction)
        session, began, outcome = self.held.session, self.held.session.clock(), Outcome.INTERRUPTED
        bundle = effect.lender or self.bundle
        work = Work(self.held, effect.migration, effect.direction, script.mode, bundle, version_after, began, also)
        attempts = Attempts(work, self._timeouts(work.side), self._patience(work.side, share), self.watch)
        session.emit(started(work, script))
        with self.watch.migration(work.migration.version) as watched:
            try:
                await self._run_mode(attempts, script, effect)
                outcome = Outcome.SUCCEEDED
            except MigrationFailedError:
                outcome = Outcome.FAILED
                raise
            except RefusedError:
                outcome = Outcome.REFUSED
                raise
            except InDoubtError:
                outcome = Outcome.IN_DOUBT
                raise
            finally:
                session.emit(finished(attempts, watched, outcome, session.clock() - began))

    async def _run_mode(self, attempts: Attempts, script: Script, effect: Run) -> None:
        if script.mode is Mode.JOURNALLED or effect.resume is not None:
            # What was begun by segments goes on by segments, even if the file has changed to fit one transaction.
            await run_journalled(attempts, script, effect.resume, self.limits.advisory_timeout)
        else:
            segment = next(iter(script.segments), None)
            await attempts.transact(segment, lambda now: messages.final(attempts.work, segment, now))

    def _timeouts(self, side: Side | None) -> Timeouts:
        limits, said = self.limits, Directives() if side is None else side.directives
        lock_ms = limits.lock_timeout_ms if said.lock_timeout_ms is None else said.lock_timeout_ms
        statement_ms = limits.statement_timeout_ms if said.statement_timeout_ms is None else said.statement_timeout_ms
        return Timeouts(lock_ms, said.lock_timeout_ms or 0, statement_ms)

    def _patience(self, side: Side | None, share: Share) -> Patience:
        limits, said = self.limits, Directives() if side is None else side.directives
        block_ms = limits.block_budget_ms if said.block_budget_ms is None else said.block_budget_ms
        return Patience(limits.lock_budget * share.value, block_ms / 1000 if block_ms else None)


def read(migration: Migration, direction: Direction) -> Script:
    """Classify the side that is to be run; a side without a file is an empty script.

    Raises:
        BundleError: The text is not SQL that can be sent; names the file and the line.
        RefusedError: The text would lie about what it did.
    """
    side = migration.up if direction is Direction.UP else migration.down
    return Script(Mode.EMPTY, ()) if side is None else _classified(side)


def _classified(side: Side) -> Script:
    try:
        return (_small if len(side.sql) <= _SMALL else _large)(side.sql, side.directives)
    except TidegateError as error:
        raise type(error)(f"{side.file}: {error.message}", hint=error.hint, reason=error.reason) from error


# A run reads a script when it is published, before the first one is sent, and to send it; and one bundle goes to many
# targets. What a file is does not change.
@lru_cache(maxsize=1024)
def _small(sql: str, directives: Directives) -> Script:
    return read_script(sql, directives)


@lru_cache(maxsize=128)
def _large(sql: str, directives: Directives) -> Script:
    return read_script(sql, directives)


def started(work: Work, script: Script) -> MigrationStarted:
    """The event that says that a migration begins."""
    migration = work.migration
    segments, statements = len(script.segments), sum(len(segment.statements) for segment in script.segments)
    return MigrationStarted(
        migration.version, migration.name, work.direction.value, work.mode.value, segments, statements
    )


def finished(attempts: Attempts, watched: Watched, outcome: Outcome, seconds: float) -> MigrationFinished:
    """The event that says how a migration ended."""
    work = attempts.work
    return MigrationFinished(
        work.migration.version,
        work.migration.name,
        work.direction.value,
        work.mode.value,
        outcome,
        seconds,
        attempts.retries,
        attempts.lock_wait,
        watched.blocked_seconds,
    )
