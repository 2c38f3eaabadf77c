"""Turns: only so many questions are asked at once, and one that is slow to connect does not keep the others from it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio

from worker.core.value import dataclass
from worker.errors import NoDatabaseError

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Bounds:
    """So many turns, and so many that are late; a turn to connect is for `moment`, being late for `patience` seconds.

    Who is late is given more than that for as long as nobody else is.
    """

    turns: int
    late: int
    moment: float
    patience: float


@dataclass(frozen=True, slots=True)
class _Late:
    scope: anyio.CancelScope
    since: float


class Turns:
    """Turns within bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.limiter = anyio.CapacityLimiter(bounds.turns)
        self._late: deque[_Late] = deque()

    @asynccontextmanager
    async def turn(self) -> "AsyncIterator[Turn]":
        """A turn, for the block."""
        turn = Turn(self)
        await turn.take()
        try:
            yield turn
        finally:
            turn.give_back()

    def wait_for_room(self, now: float) -> float:
        """So many seconds until one more may be late: the one that is so for longest has then had its time."""
        if len(self._late) < self.bounds.late:
            return 0.0
        return max(0.0, self._late[0].since + self.bounds.patience - now)

    def enter(self, scope: anyio.CancelScope, now: float) -> None:
        """Count one as late, and end the one that is so for longest where they are too many."""
        if len(self._late) >= self.bounds.late:
            self._late.popleft().scope.cancel()
        self._late.append(_Late(scope, now))

    def leave(self, scope: anyio.CancelScope) -> None:
        """Count it as late no more."""
        self._late = deque(late for late in self._late if late.scope is not scope)


class Turn:
    """One of the turns, held for a block."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._is_held = False
        self._timer: asyncio.TimerHandle | None = None

    async def take(self) -> None:
        """Wait for it, unless it is held."""
        if not self._is_held:
            await self._turns.limiter.acquire_on_behalf_of(self)
            self._is_held = True

    def give_back(self) -> None:
        """Let the next one have it."""
        if self._is_held:
            self._is_held = False
            self._turns.limiter.release_on_behalf_of(self)

    async def connect(self, connecting: Callable[[], Awaitable[_T]]) -> _T:
        """Connect, and hold the turn for a moment of it at most; `take()` waits for it again.

        Raises:
            NoDatabaseError: It took longer than others were to wait for it.
        """
        scope = anyio.CancelScope()
        self._lend(scope, self._turns.bounds.moment)
        try:
            with scope:
                return await connecting()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._turns.leave(scope)
        raise NoDatabaseError("its database gave no answer")

    def _lend(self, scope: anyio.CancelScope, seconds: float) -> None:
        """Hold it for so long, and then until one more may be late."""
        self._timer = asyncio.get_running_loop().call_later(seconds, self._become_late, scope)

    def _become_late(self, scope: anyio.CancelScope) -> None:
        now = asyncio.get_running_loop().time()
        wait = self._turns.wait_for_room(now)
        if wait > 0:
            self._lend(scope, wait)
            return
        self._turns.enter(scope, now)
        self.give_back()
