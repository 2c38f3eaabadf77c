"""Watches a migration from a second connection: who waits behind it, whom it waits for, and for how long.

The connection is opened only once a migration is slow, and idles outside any transaction. Whatever befalls it is
told once and hurts no migration: then nobody is counted, and nothing is cancelled.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from worker.core.backoff import Backoff
from worker.core.events.migration_events import AppBlocked, MigrationWaiting, WatchLost
from worker.core.running.blocking import Allowance, Blocker, Overrun, Stretch, Waiter
from worker.core.status.sighting import Progress, Sighting
from worker.errors import TidegateError
from worker.postgres.blocking import Sight
from worker.postgres.connection import closing
from worker.postgres.faults import message_of
from worker.postgres.listener import Bell
from worker.postgres.lock import Held

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

PATIENCE_SECONDS = 0.1
"""A migration that takes no longer is not watched."""

ANSWER_SECONDS = 2.0
"""Connecting, or an answer, that takes longer ends the watch for now."""

POLL_SECONDS = 0.15
"""Between two looks; the server spends no more than a sixth of the time on them."""

PROGRESS_SECONDS = 1.0
"""Between two questions how far a long command has come."""

_SHARE = 5
_TELL_SECONDS = 0.25
_TELLING = 2
_AGAIN = Backoff(first=5.0, ceiling=60.0)


@dataclass(slots=True)
class Sent:
    """A message that is under way, or was, and what the watch saw of it; times are the session's clock's."""

    began: float
    allowance: Allowance
    pause: float = POLL_SECONDS
    blocked: Stretch = field(default_factory=Stretch)
    waits: Stretch = field(default_factory=Stretch)
    waiter: Waiter | None = None
    blocker: Blocker | None = None
    overrun: Overrun | None = None
    is_told: bool = False

    def looked(self, now: float, behind: tuple[Waiter, ...], ahead: Blocker | None) -> None:
        """Take what a look saw; a wait that began before the message did is the message's only from its beginning."""
        since = max(self.began, now - behind[0].seconds) if behind else None
        self.blocked = self.blocked.seen(now, since)
        self.waits = self.waits.seen(now, None if ahead is None else now)
        self.waiter = behind[0] if behind else self.waiter
        self.blocker = ahead or self.blocker


@dataclass(slots=True)
class Watched:
    """A migration that is under way: how long it kept the application waiting, how often each blocker was seen."""

    version: int
    began: float
    blocked_seconds: float = 0.0
    blockers: dict[int, int] = field(default_factory=dict)
    progress: Progress | None = None
    progress_at: float = float("-inf")


class Watch:
    """Watches the migrations of one held target, one after the other."""

    def __init__(self, held: Held) -> None:
        self._session = held.session
        self._key = held.keys.own[0]
        self._bell = Bell()
        self._cancelling = anyio.Lock(fast_acquire=True)
        self._running: Watched | None = None
        self._sent: Sent | None = None
        self._is_lost = False

    @contextmanager
    def migration(self, version: int) -> Iterator[Watched]:
        """A migration is under way while the block runs."""
        running = self._running = Watched(version, self._session.clock())
        self._bell.ring()
        try:
            yield running
        finally:
            self._running = None

    @asynccontextmanager
    async def over(self, allowance: Allowance, lock_ms: int) -> AsyncIterator[Sent]:
        """A message is under way while the block runs; one that overruns its allowance is cancelled.

        `lock_ms` is its lock timeout: an attempt that is so short is looked at in the middle.
        """
        pause = min(POLL_SECONDS, lock_ms / 2000) if lock_ms else POLL_SECONDS
        sent = self._sent = Sent(self._session.clock(), allowance, pause)
        self._bell.ring()
        try:
            yield sent
        finally:
            # A cancel request that is on its way must not reach the message that comes next.
            with anyio.CancelScope(shield=True):
                async with self._cancelling:
                    self._sent = None
            if self._running is not None:
                self._running.blocked_seconds += sent.blocked.ended(self._session.clock())

    async def run(self) -> None:
        """Watch until cancelled."""
        connect = self._session.second
        failures = 0
        while connect is not None:
            try:
                await self._slow()
                async with closing(await _opened(connect)) as conn:
                    failures = 0
                    await self._look_on(conn)
            except Exception as error:  # noqa: BLE001  whatever befalls the watch, no migration is to suffer
                self._tell_lost(error)
            failures += 1
            await anyio.sleep(_AGAIN.delay(failures, self._session.jitter()))

    async def _slow(self) -> None:
        """Return once a migration has been under way for a while."""
        while True:
            while self._running is None:
                await self._bell.heard()
            running = self._running
            await anyio.sleep(max(0.0, running.began + PATIENCE_SECONDS - self._session.clock()))
            if self._running is running:
                return

    async def _look_on(self, conn: "Connection[Record]") -> None:
        sight = Sight(conn, self._session.control, self._session.conn.get_server_pid())
        with anyio.fail_after(ANSWER_SECONDS):
            await sight.prepare()
        while True:
            while self._sent is None:
                await self._bell.heard()
            sent = self._sent
            with anyio.move_on_after(sent.pause):
                # The next message has a pause of its own: a short one may be over before this one's is.
                while self._sent is sent:
                    await self._bell.heard()
            if self._sent is sent:
                await self._look(sight, sent)

    async def _look(self, sight: Sight, sent: Sent) -> None:
        began = self._session.clock()
        with anyio.fail_after(ANSWER_SECONDS):
            behind, ahead = await sight.behind(), await sight.ahead()
        now = self._session.clock()
        sent.pause = max(POLL_SECONDS, _SHARE * (now - began))
        running = self._running
        if self._sent is not sent or running is None:
            return
        sent.looked(now, behind, ahead)
        if ahead is not None:
            self._tell_blocker(running, ahead)
        if behind and not sent.is_told and sent.blocked.length >= _TELL_SECONDS:
            sent.is_told = True
            self._tell_blocked(running, sent, behind)
        overrun = sent.allowance.overrun(sent.blocked, sent.waits)
        if overrun is not None:
            await self._cancel(sight, sent, overrun)
            if sent.overrun is Overrun.APP_BLOCKED:
                self._tell_blocked(running, sent, behind)
        if now - running.progress_at >= PROGRESS_SECONDS:
            with anyio.fail_after(ANSWER_SECONDS):
                running.progress, running.progress_at = await sight.progress(), now
        if self._sent is sent:
            self._session.sighted(Sighting(running.version, ahead, behind, running.progress))

    async def _cancel(self, sight: Sight, sent: Sent, overrun: Overrun) -> None:
        async with self._cancelling:
            if self._sent is not sent:
                return
            try:
                with anyio.fail_after(ANSWER_SECONDS):
                    sent.overrun = overrun if await sight.cancel(self._key) else None
            except Exception:
                # It may yet reach the backend, and would then hit what runs there next: nothing is to run there.
                self._session.conn.terminate()
                raise

    def _tell_blocked(self, running: Watched, sent: Sent, behind: tuple[Waiter, ...]) -> None:
        if behind:
            first = behind[0]
            self._session.emit(
                AppBlocked(
                    running.version,
                    len(behind),
                    first.role,
                    first.application,
                    sent.blocked.length,
                    over_budget=sent.overrun is Overrun.APP_BLOCKED,
                )
            )

    def _tell_blocker(self, running: Watched, blocker: Blocker) -> None:
        """Name a blocker when it is seen for the second time; most are gone before."""
        looks = running.blockers[blocker.pid] = running.blockers.get(blocker.pid, 0) + 1
        if looks == _TELLING:
            self._session.emit(
                MigrationWaiting(
                    running.version,
                    blocker.kind.value,
                    blocker.role,
                    blocker.application,
                    blocker.pid,
                    blocker.state,
                    blocker.since,
                )
            )

    def _tell_lost(self, error: Exception) -> None:
        if self._is_lost:
            return
        self._is_lost = True
        match error:
            case TidegateError():
                why = error.message
            case TimeoutError():
                why = f"no answer within {ANSWER_SECONDS:g} s"
            case _:
                why = message_of(error)
        self._session.emit(WatchLost(why))


async def _opened(connect: "Callable[[], Awaitable[Connection[Record]]]") -> "Connection[Record]":
    # Not to be cut by the end of a migration: a connect that is cancelled half-way leaves an error that nobody awaits.
    with anyio.fail_after(ANSWER_SECONDS, shield=True):
        conn = await connect()
    return conn  # noqa: RET504  mypy does not know that the block above never falls through


@asynccontextmanager
async def beside(work: Callable[[], Coroutine[None, None, None]]) -> AsyncIterator[None]:
    """Run `work` beside the block, and cancel it at the block's end; the block's error is raised as it is."""
    raised: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        try:
            yield
        except Exception as error:  # noqa: BLE001  raised again below, where no task group wraps it
            raised = error
        tasks.cancel_scope.cancel()
    if raised is not None:
        raise raised
