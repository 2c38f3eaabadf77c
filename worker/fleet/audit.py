"""Looks whether the targets that the home half takes for settled are so.

A tenant's database may have been restored, or changed by hand. What is not as it should be is due again, and the slots
see to it. A command looks once before it begins, at many targets at once; it takes no lock and no lease.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import anyio

from worker.core.planning.reconcile import Action, Insistence
from worker.errors import TidegateError, first_of
from worker.fleet.home import Home
from worker.fleet.seats import Seat, Seats
from worker.fleet.sights import glimpses
from worker.fleet.terms import Terms
from worker.jobs.decide import decide_early
from worker.jobs.site import Request, Result
from worker.postgres.faults import told
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
        self._away: set[str] = set()

    async def run(self) -> None:
        """Have what is not as it should be due again; a database that is away is left to those who come to it.

        Raises:
            TidegateError: The home half is away.
        """
        self._away.clear()
        try:
            await self._spread()
        except ExceptionGroup as group:
            raise first_of(group) from group

    async def _spread(self) -> None:
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
                    if claims[0].database not in self._away:
                        taken, seat = seat, None
                        seat, wrong = await self._look_at(taken, claims)
                        await self._unsettle(wrong)
        finally:
            await self._seats.leave(seat)

    async def _look_at(self, taken: Seat | None, claims: Sequence[Claim]) -> tuple[Seat | None, Sequence[Claim]]:
        """Where it sits then, and what is wrong; a database that is away is not tried again by this audit."""
        self._seats.reserve(taken, claims[0].database)
        seat: Seat | None = None
        try:
            seat = await self._seats.sit(taken, claims[0])
            return seat, await self._wrong(seat, claims)
        except BaseException as error:
            is_home = seat is not None and _lost_home(seat)
            await self._seats.leave(seat)
            if is_home or not isinstance(error, TidegateError):
                raise
        # The slots find out what is the matter, if there is anything to do.
        self._away.add(claims[0].database)
        return None, ()

    async def _wrong(self, seat: Seat, claims: Sequence[Claim]) -> list[Claim]:
        """Those that are not as they should be."""
        async with told(seat.session, "looking at settled targets"):
            seen = await glimpses(seat.session, claims)
        site = self._terms.site

        def is_right(claim: Claim) -> bool:
            glimpse = seen.get(claim.id)
            if glimpse is None:
                return False
            decision = decide_early(site, _REQUEST, glimpse.view, None)
            return decision is not None and (decision.action, decision.result) == (Action.NOTHING, Result.UP_TO_DATE)

        return [claim for claim in claims if not is_right(claim)]

    async def _unsettle(self, wrong: Sequence[Claim]) -> None:
        if wrong:
            async with self._home.half() as half:
                await half.unsettle(wrong)


def _lost_home(seat: Seat) -> bool:
    return seat.session.at_home.conn.is_closed() and not seat.session.conn.is_closed()


def _beside(claim: Claim) -> tuple[str, str]:
    return claim.database, claim.line
