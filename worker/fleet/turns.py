"""Turns: only so many questions are asked at once, and one that is slow to connect does not keep the others from it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class Turn:
    """One of the turns of a limiter, held for a block."""

    def __init__(self, limiter: anyio.CapacityLimiter) -> None:
        self._limiter = limiter
        self._is_held = False

    async def take(self) -> None:
        """Wait for it."""
        await self._limiter.acquire_on_behalf_of(self)
        self._is_held = True

    def give_back(self) -> None:
        """Let the next one have it."""
        if self._is_held:
            self._is_held = False
            self._limiter.release_on_behalf_of(self)

    @asynccontextmanager
    async def lent(self, seconds: float) -> AsyncIterator[None]:
        """Hold it for so long in the block at most; behind a longer one, wait for it again."""
        timer = asyncio.get_running_loop().call_later(seconds, self.give_back)
        try:
            yield
        finally:
            timer.cancel()
        if not self._is_held:
            await self.take()


@asynccontextmanager
async def turn_of(limiter: anyio.CapacityLimiter) -> AsyncIterator[Turn]:
    """A turn, for the block."""
    turn = Turn(limiter)
    await turn.take()
    try:
        yield turn
    finally:
        turn.give_back()
