"""Looks whether the targets that the home half takes for settled are so.

A tenant's database may have been restored, or changed by hand. What is not as it should be is due again, and the slots
see to it. A command looks once before it begins, at many targets at once; it takes no lock and no lease.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import anyio

from worker.core.planning.reconcile import Action, Insistence
from worker.errors import TidegateError
from worker.fleet.home import Home
from worker.fleet.seats import Seat, Seats
from worker.fleet.sights import glimpses
from worker.fleet.terms import Terms
from worker.jobs.decide import decide_early
from worker.jobs.site import Request, Result
from worker.postgres.fleet import Claim

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

_AT_ONCE = 64
_REQUEST = Request(Insistence.ROUND)


class Audit:
    """One look at all settled targets of a fleet."""

    def __init__(self, home: Home, seats: Seats, terms: Terms) -> None:
        self._home = home
        self._seats = seats
        self._terms = terms

    async def run(self) -> None:
        """Have what is not as it should be due again; a database that is away is left to those who come to it.

        Raises:
            TidegateError: The home half is away.
        """
        bounds = self._terms.fleet.bounds
        send, receive = anyio.create_memory_object_stream[Sequence[Claim]](0)
        async with anyio.create_task_group() as tasks, receive:
            for _ in range(min(bounds.workers, bounds.per_database, bounds.per_server)):
                tasks.start_soon(self._look_on, receive.clone())
            await self._deal(send)

    async def _deal(self, send: "MemoryObjectSendStream[Sequence[Claim]]") -> None:
        """Read the settled targets page by page, and hand each database's on."""
        last = 0
        async with send:
            while True:
                async with self._home.half() as half:
                    page = await half.settled(self._terms.fleet.sources, self._terms.names, last, _AT_ONCE)
                if not page:
                    return
                last = page[-1].id
                known = (claim for claim in page if claim.database in self._seats.places)
                for _, claims in groupby(sorted(known, key=_beside), _beside):
                    await send.send(tuple(claims))

    async def _look_on(self, receive: "MemoryObjectReceiveStream[Sequence[Claim]]") -> None:
        seat: Seat | None = None
        try:
            async with receive:
                async for claims in receive:
                    self._seats.reserve(seat, claims[0].database)
                    taken, seat = seat, None
                    try:
                        seat = await self._seats.sit(taken, claims[0])
                        await self._look_at(seat, claims)
                    except TidegateError:
                        # The slots find out what is the matter, if there is anything to do.
                        await self._seats.leave(seat)
                        seat = None
        finally:
            await self._seats.leave(seat)

    async def _look_at(self, seat: Seat, claims: Sequence[Claim]) -> None:
        seen = await glimpses(seat.session, claims)
        site = self._terms.site

        def is_right(claim: Claim) -> bool:
            glimpse = seen.get(claim.id)
            if glimpse is None:
                return False
            decision = decide_early(site, _REQUEST, glimpse.view, None)
            return decision is not None and (decision.action, decision.result) == (Action.NOTHING, Result.UP_TO_DATE)

        wrong = [claim for claim in claims if not is_right(claim)]
        if wrong:
            async with self._home.half() as half:
                await half.unsettle(wrong)


def _beside(claim: Claim) -> tuple[str, str]:
    return claim.database, claim.line
