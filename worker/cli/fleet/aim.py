"""One target of a fleet, as if the settings named it: what the verbs for one target then work at."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import anyio

from worker.cli.app import App
from worker.cli.fleet.app import FleetApp
from worker.core.fleet.declared import Declared, Fleet
from worker.errors import TidegateError, UsageError
from worker.fleet.terms import Path
from worker.jobs import steer
from worker.jobs.locate import Located, locate, locate_unread, pick
from worker.jobs.look import look
from worker.jobs.roster import read_roster
from worker.jobs.site import Site
from worker.postgres.connection import Purpose, closing, connect
from worker.postgres.fleet import knows_fleets
from worker.postgres.fleet_targets import FleetTargets
from worker.postgres.session import Session

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

    from worker.cli.arguments import Flags


class Aimed(App):
    """The verbs' surroundings for one target of the fleet."""

    def __init__(self, flags: "Flags", located: Located) -> None:
        super().__init__(flags)
        self._located = located
        self._fleet = FleetApp(App(flags))

    @cached_property
    def site(self) -> Site:
        """The target's."""
        return site_of(self._fleet.site, self._located.declared)

    @property
    def gate_target(self) -> str:
        """What the target is called in its own database."""
        return self._located.declared.target.name

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A session on the target's database, with one on the home half beside it where that lies elsewhere."""
        async with aimed_session(self._fleet, self._located) as session:
            yield replace(session, emit=self.emit, sighted=self.sighted, passing=self.passing)

    async def connect(self, purpose: Purpose) -> "Connection[Record]":
        """Open a connection to the target's database."""
        params = self._fleet.source(self._located.group, purpose).read()
        name = f"tidegate {purpose.value} {self.settings.worker}"[:63]
        return await connect(replace(params, database=self._located.place.database), purpose, application_name=name)

    async def moved(self) -> None:
        """Have the fleet's workers look at the target again, which a person brought elsewhere."""
        # Without a home half that can be reached no fleet is told, and what the verb came to is said all the same.
        with suppress(TidegateError):
            async with self._home_session() as session:
                if await knows_fleets(session):
                    await FleetTargets(session).unsettle(self._located.declared.name)

    @asynccontextmanager
    async def _home_session(self) -> AsyncIterator[Session]:
        session = await self._fleet.home()
        async with closing(session.conn):
            yield session


def aimed(flags: "Flags", word: str) -> Aimed:
    """The surroundings of the target that a word means, by what the home half knows, or else by the fleet's file.

    Raises:
        UsageError: The fleet has no such target, or several.
    """
    return Aimed(flags, anyio.run(_located, FleetApp(App(flags)), word))


def aimed_unread(flags: "Flags", name: str) -> Aimed:
    """The same by the fleet's file alone, for a gate, whose role reads readiness and nothing else.

    Raises:
        UsageError: No group of the file can have such a target.
    """
    own = FleetApp(App(flags))
    return Aimed(flags, locate_unread(own.read(), own.server, name))


async def _located(own: FleetApp, word: str) -> Located:
    fleet = own.read()
    session = await own.home()
    async with closing(session.conn):
        found = await _meant(session, fleet, word) if await knows_fleets(session) else None
    if found is None:
        roster = await read_roster(fleet, own.server, own.path)
        found = pick(word, roster.declared)
    return locate(fleet, own.server, found)


async def _meant(session: Session, fleet: Fleet, word: str) -> Declared | None:
    known = await FleetTargets(session).candidates(fleet.sources, word)
    return pick(word, known) if known else None


async def check_names(session: Session, fleet: Fleet, words: Sequence[str] | None) -> tuple[str, ...] | None:
    """The whole names of the targets that words mean, None for all.

    Raises:
        UsageError: The fleet has no such target, or several.
    """
    if words is None:
        return None
    targets = FleetTargets(session)
    found = [pick(word, await targets.candidates(fleet.sources, word)).name for word in words]
    return tuple(dict.fromkeys(found))


async def unpin(own: FleetApp, fleet: Fleet, session: Session, name: str) -> None:
    """End the pin that down, goto, force or up N left on a target, in its own database; a paused one stays as it is."""
    known = await FleetTargets(session).known(fleet.sources, name)
    if known is None:
        raise UsageError(f"--target {name}: the fleet has no such target", hint="see tidegate status --fleet")
    located = locate(fleet, own.server, known.declared)
    site = site_of(own.site, located.declared)
    async with aimed_session(own, located) as at:
        view = await look(at, site)
        is_paused = view.target is not None and view.target.paused_at is not None
        if view.observation.pinned is not None and not is_paused:
            await steer.resume(at, site)


@asynccontextmanager
async def aimed_session(own: FleetApp, located: Located) -> AsyncIterator[Session]:
    """A session on a target's database, as a fleet's worker has it, and closed in the end."""
    path = located.declared.path
    session = await own.target(located.place, Path.SAID if path else Path.USUAL)
    async with closing(session.conn):
        if session.home is None:
            yield replace(session, path=path)
        else:
            async with closing(session.home):
                yield replace(session, path=path)


def site_of(site: Site, declared: Declared) -> Site:
    """The site of one target, from what all targets' are made from."""
    target = declared.target
    return replace(
        site, schema=target.schema, table=target.table, line=declared.line, database=declared.database or None
    )
