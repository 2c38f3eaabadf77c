"""Checks of a whole fleet: the home half, what is declared, every database and every target, several at once.

What is wrong with one keeps no other from being checked, and what is wrong with a database is said once.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from worker.core.bundles.bundle import Bundle
from worker.core.checks.findings import Finding, Severity, error
from worker.core.fleet.declared import Declared, Fleet, Group
from worker.core.target import quote_identifier
from worker.core.value import dataclass
from worker.doctor.target import examine_target, of_refusal
from worker.errors import ExitCode, NoDatabaseError, RefusedError, TidegateError
from worker.jobs.locate import Located, locate
from worker.jobs.look import look
from worker.jobs.roster import Roster, Server, read_roster
from worker.jobs.site import Site
from worker.jobs.work import at_hand
from worker.postgres.fleet import knows_fleets
from worker.postgres.fleet_targets import FleetTargets
from worker.postgres.session import Session
from worker.postgres.survey import survey

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong, where it was found first, and with how many targets; `code` is what it alone would exit with."""

    where: str
    finding: Finding
    targets: int
    code: ExitCode


@dataclass(frozen=True, slots=True)
class FleetCheckup:
    """So many targets are declared in so many databases; `sound` of them have nothing wrong."""

    targets: int
    databases: int
    sound: int
    troubles: tuple[Trouble, ...]


@dataclass(frozen=True, slots=True)
class Rounds:
    """How the doctor reaches a fleet; `site_of` gives a target's site, `bundle` is the one that was given."""

    fleet: Fleet
    origin: str
    server: Callable[[Group], Server]
    home: "Callable[[], AbstractAsyncContextManager[Session]]"
    target: "Callable[[Located], AbstractAsyncContextManager[Session]]"
    site_of: Callable[[Declared], Site]
    bundle: Bundle | None


async def examine_fleet(rounds: Rounds) -> FleetCheckup:
    """Check everything; writes nothing."""
    return await _Rounds(rounds).all()


class _Rounds:
    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds
        self._bounds = rounds.fleet.bounds
        self._limit = anyio.CapacityLimiter(self._bounds.workers)
        self._servers: dict[str, anyio.CapacityLimiter] = {}
        self._troubles: dict[tuple[str, str, str], Trouble] = {}
        self._ailing: set[str] = set()
        self._seen: dict[tuple[object, str], str] = {}
        self._bundles: dict[str, Bundle] = {}
        self._loading = anyio.Lock()
        self._is_home_away = False

    async def all(self) -> FleetCheckup:
        registered = await self._home()
        roster = await self._roster()
        declared = (*roster.declared, *registered) if roster is not None else registered
        wards: dict[str, list[Declared]] = {}
        for each in declared:
            wards.setdefault(each.database, []).append(each)
        if self._is_home_away:
            # Every target's connection has one to the home half beside it.
            self._ailing.update(each.name for each in declared)
            wards = {}
        async with anyio.create_task_group() as tasks:
            for mine in wards.values():
                step = -(-len(mine) // self._bounds.per_database)
                for start in range(0, len(mine), step):
                    tasks.start_soon(self._ward, mine[start : start + step])
        troubles = sorted(self._troubles.values(), key=lambda each: (each.finding.severity.value, each.where))
        databases = len({each.database for each in declared})
        return FleetCheckup(len(declared), databases, len(declared) - len(self._ailing), tuple(troubles))

    async def _home(self) -> tuple[Declared, ...]:
        """Check the home half; returns the targets that add_target() registered there."""
        try:
            async with self._rounds.home() as session:
                if await knows_fleets(session):
                    takes = any(group.rows for group in self._rounds.fleet.groups)
                    return await FleetTargets(session).registered() if takes else ()
                if not await FleetTargets(session).may_begin():
                    self._note("the home half", _not_allowed(session), RefusedError.exit_code)
        except TidegateError as refusal:
            self._is_home_away = isinstance(refusal, NoDatabaseError)
            self._note("the home half", of_refusal(refusal), refusal.exit_code)
        return ()

    async def _roster(self) -> Roster | None:
        try:
            roster = await read_roster(self._rounds.fleet, self._rounds.server, self._rounds.origin)
        except TidegateError as refusal:
            self._note(self._rounds.origin, of_refusal(refusal), refusal.exit_code)
            return None
        for group, wrong in roster.wrong:
            self._note(group.place, of_refusal(wrong), wrong.exit_code)
        return roster

    async def _ward(self, mine: list[Declared]) -> None:
        """Check targets of one database, on one connection."""
        try:
            located = locate(self._rounds.fleet, self._rounds.server, mine[0])
        except TidegateError as refusal:
            self._note_all(mine, refusal)
            return
        server = self._servers.setdefault(located.place.server.key, anyio.CapacityLimiter(self._bounds.per_server))
        async with server, self._limit:
            await self._visits(located, mine)

    async def _visits(self, located: Located, mine: list[Declared]) -> None:
        left = mine
        try:
            async with self._rounds.target(located) as session:
                while left:
                    await self._visit(session, left[0])
                    left = left[1:]
        except TidegateError as refusal:
            self._note_all(left, refusal)

    async def _visit(self, session: Session, each: Declared) -> None:
        """Check one target.

        Raises:
            NoDatabaseError: The connection was lost.
        """
        session, site = replace(session, path=each.path), self._rounds.site_of(each)
        try:
            await self._look_twice(session, each)
            findings = await examine_target(session, site, await self._bundle(session, site, each.line))
        except NoDatabaseError:
            raise
        except TidegateError as refusal:
            findings = (of_refusal(refusal),)
        for finding in findings:
            if finding.severity is not Severity.OK:
                self._note(each.name, finding, RefusedError.exit_code, each)

    async def _look_twice(self, session: Session, each: Declared) -> None:
        """Find out whether the same target is declared under another name too, over another road to its database."""
        seen = await survey(session, each.target.schema, each.target.table)
        other = self._seen.setdefault((seen.identity, each.target.name), each.name)
        if other != each.name:
            twice = error("duplicate_target", f"{other} is the same target", advice="take it out of one group")
            self._note(each.name, twice, ExitCode.USAGE, each)

    async def _bundle(self, session: Session, site: Site, line: str) -> Bundle | None:
        """The bundle to plan with: the one that was given, or the wanted one of the line, read once."""
        if self._rounds.bundle is not None:
            return self._rounds.bundle
        async with self._loading:
            if line not in self._bundles:
                bundle = await at_hand(session, site, await look(session, site), None)
                if bundle is None:
                    return None
                self._bundles[line] = bundle
        return self._bundles[line]

    def _note_all(self, mine: Iterable[Declared], refusal: TidegateError) -> None:
        """Say of all these targets that they could not be checked; they lie in one database."""
        for each in mine:
            where = f"the database {each.database}" if each.database else "the home half's database"
            self._note(where, of_refusal(refusal), refusal.exit_code, each)

    def _note(self, where: str, finding: Finding, code: ExitCode, target: Declared | None = None) -> None:
        """Note a trouble; the same one of several targets of a database counts them."""
        database = "" if target is None else target.database
        key = (database, finding.check, f"{finding.severity.value} {finding.message}")
        known = self._troubles.get(key)
        count = (0 if known is None else known.targets) + (target is not None)
        self._troubles[key] = Trouble(where if known is None else known.where, finding, count, code)
        if target is not None and finding.severity is Severity.ERROR:
            self._ailing.add(target.name)


def _not_allowed(session: Session) -> Finding:
    return error(
        "create_on_database",
        f"the control schema {session.control} is not there, and role {session.role} may not create it",
        sql=f"CREATE SCHEMA {quote_identifier(session.control)} AUTHORIZATION {quote_identifier(session.role)};",
    )
