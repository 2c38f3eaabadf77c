"""Sends a migration's messages: once, or, where only a whole new attempt can mend what went wrong, again."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import anyio
import asyncpg

from worker.applier.locate import failed
from worker.applier.messages import Message, Timeouts, Work
from worker.applier.send import Unit, send, start_anew
from worker.applier.watch import Sent, Watch
from worker.core.backoff import Backoff
from worker.core.blocking import Allowance, Blocker, Kind, Overrun, Words, kept_waiting, never_free, stopped
from worker.core.migration_events import MigrationRetried
from worker.core.script import Mode, Segment
from worker.errors import MigrationFailedError
from worker.postgres.faults import Fault, fault_of

_RETRY = Backoff(first=0.05, ceiling=5.0)
_LATER_CEILING = 60.0
_LOCK_TIMEOUT = "55P03"
_CANCELLED = "57014"
# A waiter has the server cancel an autovacuum only once it has waited for deadlock_timeout.
_BEYOND_DEADLOCK_MS = 500
_DEADLOCK_TIMEOUT = "SELECT setting::int FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout'"


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
class _Refused:
    """An attempt that the server refused."""

    error: asyncpg.PostgresError
    sent: Sent
    ended: float

    @property
    def is_for_the_application(self) -> bool:
        return self.error.sqlstate == _CANCELLED and self.sent.overrun is Overrun.APP_BLOCKED

    @property
    def is_for_a_lock(self) -> bool:
        waited = self.error.sqlstate == _CANCELLED and self.sent.overrun is Overrun.WAITED
        return waited or self.error.sqlstate == _LOCK_TIMEOUT


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
        refused = await self._try(
            Unit.STATEMENT, message, Allowance(None, self._patience.locks), self._timeouts.lone_lock_ms
        )
        if refused is not None:
            raise await self._failed(segment, message, refused, 1) from refused.error

    async def alone(
        self, segment: Segment, message: Message, is_left: Callable[[], Awaitable[bool]], *, may_cut: bool
    ) -> None:
        """Send a lone statement; one that was cancelled because it blocked the application is tried again.

        `is_left` looks at what the cancelled one left behind, mends it, and tells whether the statement is still to be
        run. With `may_cut` false nobody could tell that, and it is not cancelled.

        Raises:
            MigrationFailedError: The server refused it, or it blocked the application each time; and where.
        """
        deadline = self._session.clock() + self._patience.locks
        blocking = self._patience.blocking if may_cut else None
        attempt = 0
        while True:
            attempt += 1
            allowance = Allowance(blocking, self._patience.locks)
            refused = await self._try(Unit.STATEMENT, message, allowance, self._timeouts.lone_lock_ms)
            if refused is None:
                return
            if not refused.is_for_the_application or refused.ended >= deadline:
                raise await self._failed(segment, message, refused, attempt) from refused.error
            await self._pause(attempt, refused, deadline)
            if not await is_left():
                return

    async def transact(self, segment: Segment | None, compose: Callable[[Timeouts], Message]) -> None:
        """Send a whole transaction, again where it failed for what others did, for as long as patience lasts.

        These are lock timeouts, deadlocks, serialization failures, and attempts that blocked the application. It is
        composed anew each time, since it records how long the migration took.

        Raises:
            MigrationFailedError: The server refused it, and where; nothing of it was committed.
        """
        deadline = self._session.clock() + self._patience.locks
        timeouts, attempt = self._timeouts, 0
        while True:
            attempt += 1
            began, message = self._session.clock(), compose(timeouts)
            # The server's lock timeout is limit enough for one attempt, where there is one.
            allowance = Allowance(self._patience.blocking, None if timeouts.lock_ms else deadline - began)
            refused = await self._try(Unit.TRANSACTION, message, allowance, timeouts.lock_ms)
            if refused is None:
                return
            if not self._is_repeatable(refused) or refused.ended >= deadline:
                raise await self._failed(segment, message, refused, attempt) from refused.error
            self.lock_wait += refused.ended - began
            await self._pause(attempt, refused, deadline)
            await start_anew(self.work.held, segment)
            timeouts = await self._next_timeouts(refused)

    async def _try(self, unit: Unit, message: Message, allowance: Allowance, lock_ms: int) -> _Refused | None:
        async with self._watch.over(allowance, lock_ms) as sent:
            try:
                await send(self.work.held, message.text, unit)
            except asyncpg.PostgresError as error:
                # An attempt can end between two looks; who was in the way before is likely to be so still.
                self._blocker = sent.blocker or self._blocker
                return _Refused(error, sent, self._session.clock())
        return None

    def _is_repeatable(self, refused: _Refused) -> bool:
        fault = fault_of(refused.error, self._session.conn)
        return fault is Fault.REPEATABLE or refused.is_for_the_application

    async def _pause(self, attempt: int, refused: _Refused, deadline: float) -> None:
        self.retries += 1
        backoff, cause = _RETRY, refused.error.sqlstate or ""
        if refused.is_for_the_application:
            self._yielded += 1
            attempt, backoff, cause = self._yielded, self._patience.later, Overrun.APP_BLOCKED.value
        delay = max(0.0, min(deadline - refused.ended, backoff.delay(attempt, self._session.jitter())))
        self._session.emit(MigrationRetried(self.work.migration.version, cause, self.retries, delay))
        await anyio.sleep(delay)

    async def _next_timeouts(self, refused: _Refused) -> Timeouts:
        """One longer attempt against each autovacuum: it has to give way to whoever waits so long, and no sooner."""
        blocker = refused.sent.blocker
        if not refused.is_for_a_lock or blocker is None or blocker.kind is not Kind.AUTOVACUUM:
            return self._timeouts
        if blocker.pid in self._pushed:
            return self._timeouts
        self._pushed.add(blocker.pid)
        deadlock_ms: int = await self._session.conn.fetchval(_DEADLOCK_TIMEOUT)
        return replace(self._timeouts, lock_ms=max(self._timeouts.lock_ms, deadlock_ms + _BEYOND_DEADLOCK_MS))

    async def _failed(
        self, segment: Segment | None, message: Message, refused: _Refused, attempts: int
    ) -> MigrationFailedError:
        return await failed(self.work, segment, message, refused.error, self._words(refused, attempts))

    def _words(self, refused: _Refused, attempts: int) -> Words | None:
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
