"""The connection to the home half: one statement at a time, opened anew where it was lost."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import anyio

from worker import control_schema
from worker.control_schema import Found
from worker.core.checks.standing import Standing
from worker.errors import NoDatabaseError, RefusedError
from worker.jobs.preflight import check_home, check_sight
from worker.jobs.site import Site
from worker.postgres.connection import close
from worker.postgres.faults import DRIVER_ERRORS
from worker.postgres.fleet import FleetHalf, knows_fleets
from worker.postgres.session import Session
from worker.postgres.sight import control_versions
from worker.postgres.survey import survey


class HomeSeat(FleetHalf):
    """The fleet's part of the home half, with the session that it is read on."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.session = session


Opening = Callable[[HomeSeat], Awaitable[None]]
"""What is done on the home half before anything is claimed."""


class Home:
    """A fleet's own connection to the home half; the slots write their jobs on others."""

    def __init__(self, door: Callable[[], Awaitable[Session]]) -> None:
        self._door = door
        self._session: Session | None = None
        self._lock = anyio.Lock()
        # Whether anything was done there: before that, there may be no control schema.
        self._is_known = False

    @asynccontextmanager
    async def half(self) -> AsyncIterator[HomeSeat]:
        """The home half, for the block alone.

        Raises:
            NoDatabaseError: It is away.
        """
        async with self._lock:
            if self._session is None or self._session.conn.is_closed():
                self._session = await self._opened()
            try:
                yield HomeSeat(self._session)
                self._is_known = True
            except (NoDatabaseError, *DRIVER_ERRORS):
                await self.hang_up()
                raise

    async def _opened(self) -> Session:
        session = await self._door()
        half = FleetHalf(session)
        try:
            await half.prepare()
            if self._is_known:
                # Leases hold while their connection lasts, and those that are held are of the one that was lost.
                with suppress(RefusedError):
                    await half.renew()
        except BaseException:
            session.conn.terminate()
            raise
        return session

    async def hang_up(self) -> None:
        """Close the connection."""
        session, self._session = self._session, None
        if session is not None:
            await close(session.conn)


async def targets_by_line(session: Session, sources: tuple[str, ...]) -> dict[str, int]:
    """How many targets each line has, none where the home half knows of no fleet yet.

    Raises:
        RefusedError: The role may not read there, or somebody else's objects are there; names the SQL to run.
    """
    if not await knows_fleets(session):
        return {}
    check_sight((await survey(session, session.control, "target_version")).standing)
    return await FleetHalf(session).sizes(sources)


async def have_control(session: Session, site: Site, may: Callable[[Standing], None] = check_home) -> None:
    """Have what the session's database needs of a control schema as new as this program, and nothing strange on it.

    `may` refuses a role that is not to make it.

    Raises:
        RefusedError: The role may not write there, or somebody else's objects are there; names the SQL to run.
    """
    seen = await survey(session, session.control, "target_version")
    if not (seen.has_control and control_schema.covers(session, await control_versions(session))):
        may(seen.standing)
        found = Found.SOMETHING if seen.has_control else Found.NOTHING
        if await control_schema.ensure(session, site.limits, site.readers, found):
            return
        seen = await survey(session, session.control, "target_version")
    check_sight(seen.standing)
