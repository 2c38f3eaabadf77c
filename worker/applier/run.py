"""Runs one effect of a plan on a held target: in one transaction, or by segments under the journal."""

from dataclasses import dataclass
from typing import assert_never

import anyio
import asyncpg

from worker.applier import messages
from worker.applier.journalled import run_journalled
from worker.applier.limits import Limits
from worker.applier.locate import failed
from worker.applier.messages import Timeouts, Work
from worker.applier.send import send
from worker.core.backoff import Backoff
from worker.core.events import MigrationFinished, MigrationRetried, MigrationStarted, Outcome
from worker.core.migration import Direction, Migration, Side
from worker.core.plan import Run
from worker.core.script import Mode, Script, Segment, read_script
from worker.errors import InDoubtError, MigrationFailedError, RefusedError, TidegateError
from worker.postgres.faults import Fault, fault_of
from worker.postgres.lock import Held

_RETRY = Backoff(first=0.05, ceiling=5.0)


class Applier:
    """Runs migrations on one held target, one after the other."""

    def __init__(self, held: Held, bundle: str, limits: Limits) -> None:
        self._held = held
        self._bundle = bundle
        self._limits = limits

    async def run(self, effect: Run, version_after: int | None, also: tuple[str, ...] = ()) -> None:
        """Run one side of a migration and record it; `also` is SQL that commits together with it.

        Raises:
            MigrationFailedError: The SQL failed; nothing of the transaction that failed was committed.
            RefusedError: The text cannot be run as what it claims to be.
            InDoubtError: A cut statement may or may not have taken effect.
            FencedError: Another worker has taken over; nothing was committed.
            ConnectionLostError: The connection broke; the ledger says whether the commit came through.
        """
        script = read(effect.migration, effect.direction)
        work = Work(self._held, effect.migration, effect.direction, script.mode, self._bundle, version_after, also)
        session, tally = self._held.session, _Tally(self._held.session.clock())
        session.emit(_started(work, script))
        try:
            await self._run_mode(work, script, effect, tally)
            tally.outcome = Outcome.SUCCEEDED
        except MigrationFailedError:
            tally.outcome = Outcome.FAILED
            raise
        except RefusedError:
            tally.outcome = Outcome.REFUSED
            raise
        except InDoubtError:
            tally.outcome = Outcome.IN_DOUBT
            raise
        finally:
            session.emit(_finished(work, tally, session.clock()))

    async def _run_mode(self, work: Work, script: Script, effect: Run, tally: "_Tally") -> None:
        timeouts = self._timeouts(work.side, script.mode)
        match script.mode:
            case Mode.EMPTY:
                await self._transact(work, None, timeouts, tally)
            case Mode.TRANSACTIONAL:
                await self._transact(work, script.segments[0], timeouts, tally)
            case Mode.JOURNALLED:
                await run_journalled(work, script, effect.resume, timeouts, self._limits.advisory_timeout)
            case _:
                assert_never(script.mode)

    async def _transact(self, work: Work, segment: Segment | None, timeouts: Timeouts, tally: "_Tally") -> None:
        """Send the one message; only what a whole new attempt can mend is tried again."""
        session, message = self._held.session, messages.final(work, segment, timeouts)
        deadline = session.clock() + self._limits.lock_budget
        while True:
            began = session.clock()
            try:
                await send(self._held, message.text)
            except asyncpg.PostgresError as error:
                repeatable = fault_of(error, session.conn) is Fault.REPEATABLE
                if not repeatable or session.clock() >= deadline:
                    raise await failed(work, segment, message, error) from error
                tally.retries += 1
                tally.lock_wait += session.clock() - began
                delay = _RETRY.delay(tally.retries, session.jitter())
                session.emit(MigrationRetried(work.migration.version, error.sqlstate or "", tally.retries, delay))
                await anyio.sleep(delay)
            else:
                return

    def _timeouts(self, side: Side | None, mode: Mode) -> Timeouts:
        # A lock timeout would also end a concurrent statement's waits for older snapshots, and leave its remains.
        lock_ms = 0 if mode is Mode.JOURNALLED else self._limits.lock_timeout_ms
        statement_ms = self._limits.statement_timeout_ms
        if side is None:
            return Timeouts(lock_ms, statement_ms)
        said = side.directives
        return Timeouts(
            lock_ms if said.lock_timeout_ms is None else said.lock_timeout_ms,
            statement_ms if said.statement_timeout_ms is None else said.statement_timeout_ms,
        )


def read(migration: Migration, direction: Direction) -> Script:
    """Classify the side that is to be run; a side without a file is an empty script.

    Raises:
        BundleError: The text is not SQL that can be sent; names the file and the line.
        RefusedError: The text would lie about what it did.
    """
    side = migration.up if direction is Direction.UP else migration.down
    if side is None:
        return Script(Mode.EMPTY, ())
    try:
        return read_script(side.sql, side.directives)
    except TidegateError as error:
        raise type(error)(f"{side.file}: {error.message}", hint=error.hint, reason=error.reason) from error


@dataclass(slots=True)
class _Tally:
    """What the canonical line says of a migration; times are seconds."""

    began: float
    outcome: Outcome = Outcome.INTERRUPTED
    retries: int = 0
    lock_wait: float = 0.0


def _started(work: Work, script: Script) -> MigrationStarted:
    migration = work.migration
    segments = len(script.segments)
    return MigrationStarted(migration.version, migration.name, work.direction.value, work.mode.value, segments)


def _finished(work: Work, tally: _Tally, now: float) -> MigrationFinished:
    return MigrationFinished(
        work.migration.version,
        work.migration.name,
        work.direction.value,
        work.mode.value,
        tally.outcome,
        now - tally.began,
        tally.retries,
        tally.lock_wait,
    )
