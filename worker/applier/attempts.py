"""Sends a migration's messages: once, or, where only a whole new attempt can mend what went wrong, again."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import anyio
import asyncpg

from worker.applier.locate import REPLAY_SECONDS, Refusal, failed
from worker.applier.messages import Message, Timeouts, Work
from worker.applier.send import LateRefusalError, Unit, clear, send_message, start_anew
from worker.applier.watch import Sent, Watch
from worker.core.backoff import Backoff
from worker.core.events.migration_events import MigrationRetried
from worker.core.running.blocking import Allowance, Blocker, Kind, Overrun, Words, kept_waiting, never_free, stopped
from worker.core.running.recovery import Temper
from worker.core.sql.script import Mode, Segment
from worker.core.value import dataclass
from worker.errors import MigrationFailedError
from worker.postgres.faults import Fault, fault_of, told
from worker.postgres.session import DrainedError

_RETRY = Backoff(first=0.05, ceiling=5.0)
_LATER_CEILING = 60.0
_LOCK_TIMEOUT = "55P03"
_CANCELLED = "57014"
# A waiter has the server cancel an autovacuum only once it has waited for deadlock_timeout.
_BEYOND_DEADLOCK_MS = 500
_DEADLOCK_TIMEOUT = "SELECT setting::int FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout'"
_DRAIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Patience:
    """In seconds: how long locks are waited for in all attempts, and how long one may keep the application waiting."""

    locks: float
    blocking: float | None

    @property
    def later(self) -> Backoff:
        """Pauses after an attempt that blocked the application: it gets at least about as long as it lost."""
        first = self.blocking or 0.0
        return Backoff(first, max(first, _LATER_CEILING))


@dataclass(frozen=True, slots=True)
class Refused:
    """An attempt that the server refused; a late one when its transaction was over."""

    error: asyncpg.PostgresError
    sent: Sent
    ended: float
    is_late: bool

    @property
    def is_for_the_application(self) -> bool:
        """Whether it was cancelled for keeping the application waiting."""
        return self.error.sqlstate == _CANCELLED and self.sent.overrun is Overrun.APP_BLOCKED

    @property
    def is_for_a_lock(self) -> bool:
        """Whether a lock was not free in time."""
        waited = self.error.sqlstate == _CANCELLED and self.sent.overrun is Overrun.WAITED
        return waited or self.error.sqlstate == _LOCK_TIMEOUT


@dataclass(frozen=True, slots=True)
class _GivenUp:
    """The last attempt at a message, and how many there were."""

    message: Message
    refused: Refused
    attempts: int


@dataclass(frozen=True, slots=True)
class Lone:
    """A statement that no transaction can hold; `segment` is the one that is told of where it fails.

    `start` is what sets its session up, `is_left` looks at what a cut one left behind, mends it, and tells whether the
    statement is still to be run.
    """

    segment: Segment | None
    message: Message
    temper: Temper
    start: Callable[[Timeouts], Message]
    is_left: Callable[[], Awaitable[bool]]


class Attempts:
    """The messages of one migration; `retries` and `lock_wait` (seconds) tell what the repeated ones came to."""

    def __init__(self, work: Work, timeouts: Timeouts, patience: Patience, watch: Watch) -> None:
        self.work = work
        self._session = work.held.session
        self._timeouts = timeouts
        self._patience = patience
        self._watch = watch
        self._yielded = 0
        self._blocker: Blocker | None = None
        self._pushed: set[int] = set()
        self.retries = 0
        self.lock_wait = 0.0

    async def once(self, segment: Segment | None, message: Message) -> None:
        """Send a message that belongs to `segment`, None meaning that only our own records are in it.

        Raises:
            MigrationFailedError: The server refused it, and where.
        """
        refused = await self._try(Unit.STATEMENT, message, Allowance(None, self._patience.locks), 0)
        if refused is not None:
            raise await self._failed(segment, message, refused, 1) from refused.error

    def timeouts_of(self, temper: Temper) -> Timeouts:
        """Those of a lone statement's first attempt."""
        return _limited(self._own(temper), self._patience.locks)

    async def alone(self, lone: Lone) -> None:
        """Send a lone statement, whose session is set up, again where it failed for what others did.

        Raises:
            MigrationFailedError: The server refused it, or it blocked the application each time; and where.
            DrainedError: It is not tried again, since the worker was asked to stop.
        """
        deadline = self._session.clock() + self._patience.locks
        own, attempt = self._own(lone.temper), 0
        while True:
            attempt += 1
            began = self._session.clock()
            if attempt > 1:
                await self.once(None, lone.start(_limited(own, deadline - began)))
            allowance = self._allowance(lone.temper, own, deadline - began)
            refused = await self._try(Unit.STATEMENT, lone.message, allowance, own.lock_ms)
            if refused is None:
                return
            if lone.temper is Temper.ONCE or not self._is_repeatable(refused) or refused.ended >= deadline:
                raise await self._failed(lone.segment, lone.message, refused, attempt) from refused.error
            await self._pause(lone.segment, attempt, refused, deadline, began)
            is_undone = lone.temper is Temper.QUICK and not refused.is_for_the_application
            if not is_undone and not await lone.is_left():
                return
            own = await self._next_timeouts(refused, self._own(lone.temper))

    async def transact(self, segment: Segment | None, compose: Callable[[Timeouts], Message]) -> None:
        """Send a whole transaction, again where it failed for what others did, for as long as patience lasts.

        These are lock timeouts, deadlocks, serialization failures, and attempts that blocked the application. It is
        composed anew each time, since it records how long the migration took.

        Raises:
            MigrationFailedError: The server refused it, and where; nothing of it was committed.
            DrainedError: It is not tried again, since the worker was asked to stop.
        """
        given_up = await self._repeated(segment, compose)
        if given_up is not None:
            refused = given_up.refused
            raise await self._failed(segment, given_up.message, refused, given_up.attempts) from refused.error

    async def together(self, segment: Segment | None, compose: Callable[[Timeouts], Message]) -> Refused | None:
        """Send a transaction that several migrations share, as `transact` does; returns the last attempt's refusal.

        Then nothing of it is committed or left in the session; each migration is to be run by itself.

        Raises:
            DrainedError: It is not tried again, since the worker was asked to stop.
        """
        given_up = await self._repeated(segment, compose)
        if given_up is None:
            return None
        await start_anew(self.work.held, segment)
        return given_up.refused

    async def _repeated(self, segment: Segment | None, compose: Callable[[Timeouts], Message]) -> _GivenUp | None:
        deadline = self._session.clock() + self._patience.locks
        own, attempt = self._timeouts, 0
        while True:
            attempt += 1
            began = self._session.clock()
            message = compose(_limited(own, deadline - began))
            allowance = self._allowance(Temper.QUICK, own, deadline - began)
            refused = await self._try(Unit.TRANSACTION, message, allowance, own.lock_ms)
            if refused is None or (refused.is_late and await self._came_through(message)):
                return None
            if not self._is_repeatable(refused) or refused.ended >= deadline:
                return _GivenUp(message, refused, attempt)
            await self._pause(segment, attempt, refused, deadline, began)
            await start_anew(self.work.held, segment)
            own = await self._next_timeouts(refused, self._timeouts)

    def _own(self, temper: Temper) -> Timeouts:
        """The timeouts that the settings and the file give a lone statement; no lock timeout is 0 there."""
        timeouts = self._timeouts
        return timeouts if temper is Temper.QUICK else replace(timeouts, lock_ms=timeouts.patient_ms)

    def _allowance(self, temper: Temper, own: Timeouts, remaining: float) -> Allowance:
        # The server's lock timeout is limit enough for one attempt, where there is one.
        waiting = None if temper is Temper.QUICK and own.lock_ms else remaining
        return Allowance(None if temper is Temper.ONCE else self._patience.blocking, waiting)

    async def _try(self, unit: Unit, message: Message, allowance: Allowance, lock_ms: int) -> Refused | None:
        async with self._watch.over(allowance, lock_ms) as sent:
            try:
                await send_message(self.work.held, message, unit)
            except asyncpg.PostgresError as error:
                return self._refused(error, sent, is_late=False)
            except LateRefusalError as late:
                return self._refused(late.error, sent, is_late=True)
        return None

    def _refused(self, error: asyncpg.PostgresError, sent: Sent, *, is_late: bool) -> Refused:
        # An attempt can end between two looks; who was in the way before is likely to be so still.
        self._blocker = sent.blocker or self._blocker
        return Refused(error, sent, self._session.clock(), is_late)

    async def _came_through(self, message: Message) -> bool:
        """Whether a transaction was committed that was refused when it was over, in its COMMIT or behind that.

        What stands behind its COMMIT is sent again then; where it is refused again, only the connection's end helps.
        """
        is_committed = False
        async with told(self._session, "looking up whether a migration was committed"):
            # The control schema's own first migration has no tables to look at as long as it is not committed.
            with suppress(asyncpg.UndefinedTableError):
                is_committed = await self._session.conn.fetchval(message.proof)
        if is_committed:
            await clear(self.work.held, f"{self.work.file} is applied")
        return is_committed

    def _is_repeatable(self, refused: Refused) -> bool:
        fault = fault_of(refused.error, self._session.conn)
        return fault is Fault.REPEATABLE or refused.is_for_the_application

    async def _pause(
        self, segment: Segment | None, attempt: int, refused: Refused, deadline: float, began: float
    ) -> None:
        self.retries += 1
        self.lock_wait += refused.ended - began
        backoff, cause = _RETRY, refused.error.sqlstate or ""
        if refused.is_for_the_application:
            self._yielded += 1
            attempt, backoff, cause = self._yielded, self._patience.later, Overrun.APP_BLOCKED.value
        delay = max(0.0, min(deadline - refused.ended, backoff.delay(attempt, self._session.jitter())))
        self._session.emit(MigrationRetried(self.work.migration.version, cause, self.retries, delay))
        await self._rest(delay)
        if segment is not None and self._session.draining():
            # Our own records are tried again all the same: they say what was done.
            raise DrainedError

    async def _rest(self, seconds: float) -> None:
        """Let so many seconds pass, or fewer where the worker is asked to stop."""
        until = self._session.clock() + seconds
        while (left := until - self._session.clock()) > 0 and not self._session.draining():  # noqa: ASYNC110  it is asked, and does not tell
            await anyio.sleep(min(left, _DRAIN_SECONDS))

    @asynccontextmanager
    async def _overseen(self) -> AsyncIterator[None]:
        """Around the repetition of a body: it takes its locks again, and holds them no longer than an attempt may."""
        blocking = self._patience.blocking
        limit = REPLAY_SECONDS if blocking is None else min(REPLAY_SECONDS, blocking)
        async with self._watch.over(Allowance(blocking), self._timeouts.lock_ms):
            with anyio.move_on_after(limit):
                yield

    async def _next_timeouts(self, refused: Refused, own: Timeouts) -> Timeouts:
        """One longer attempt against each autovacuum: it has to give way to whoever waits so long, and no sooner."""
        blocker = refused.sent.blocker
        if not refused.is_for_a_lock or blocker is None or blocker.kind is not Kind.AUTOVACUUM:
            return own
        if own.lock_ms == 0 or blocker.pid in self._pushed:
            return own
        self._pushed.add(blocker.pid)
        deadlock_ms: int = await self._session.conn.fetchval(_DEADLOCK_TIMEOUT)
        return replace(own, lock_ms=max(own.lock_ms, deadlock_ms + _BEYOND_DEADLOCK_MS))

    async def _failed(
        self, segment: Segment | None, message: Message, refused: Refused, attempts: int
    ) -> MigrationFailedError:
        refusal = Refusal(segment, message, refused.error, self._words(refused, attempts))
        return await failed(self.work, refusal, self._overseen)

    def _words(self, refused: Refused, attempts: int) -> Words | None:
        """What to say instead of the server's words, which tell neither who nor how to go on."""
        sent = refused.sent
        left = "nothing was changed" if self.work.mode is not Mode.JOURNALLED else "what was done before stays done"
        if refused.is_for_the_application:
            return kept_waiting(sent.waiter, sent.blocked.length, self._patience.blocking or 0.0, attempts, left)
        if refused.is_for_a_lock:
            return never_free(self._blocker, self._patience.locks, attempts, left)
        if refused.error.sqlstate == _CANCELLED:
            return stopped(self._timeouts.statement_ms, refused.ended - sent.began)
        return None


def _limited(own: Timeouts, remaining: float) -> Timeouts:
    """Without a lock timeout of its own an attempt gets what remains of the budget, so that nothing waits for ever.

    A watch that sees the wait would end it as well, but there may be none.
    """
    return own if own.lock_ms else replace(own, lock_ms=max(1, math.ceil(remaining * 1000)))
