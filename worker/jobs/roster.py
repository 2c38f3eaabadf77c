"""Which targets a fleet has now: what its file lists, and what its queries yield."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import anyio

from worker.core.connecting.dsn import ConnectionParams
from worker.core.fleet.declared import Asked, Declared, Fleet, Group, Listed, declare
from worker.core.fleet.names import check_distinct, check_names
from worker.core.value import dataclass
from worker.errors import TidegateError
from worker.postgres.connection import closing
from worker.postgres.roster import CURRENT_SCHEMA, yielded

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

_AT_ONCE = 4
"""Databases of a group that are asked for their schemas at once."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a group's databases lie: `key` is the same for groups of one server, `database` the one of its URL.

    `called` names a database for the home half, "" for its own; `connect` opens a plain connection to one; `params` are
    read anew each time.
    """

    key: str
    database: str
    called: Callable[[str], str]
    connect: "Callable[[str], Awaitable[Connection[Record]]]"
    params: Callable[[], ConnectionParams]


@dataclass(frozen=True, slots=True)
class Place:
    """A database of the fleet: its server, and what it is called there."""

    server: Server
    database: str

    @property
    def is_home(self) -> bool:
        """Whether the home half lies there too."""
        return not self.server.called(self.database)


@dataclass(frozen=True, slots=True)
class Roster:
    """What is declared; `whole` are the sources of which nothing is missing, `wrong` what could not be read and why."""

    declared: tuple[Declared, ...]
    places: Mapping[str, Place]
    whole: tuple[str, ...]
    wrong: tuple[tuple[Group, TidegateError], ...]


async def read_roster(fleet: Fleet, server_of: Callable[[Group], Server], origin: str) -> Roster:
    """Read all groups; what is wrong with one hurts no other.

    Raises:
        SettingError: Two groups declare one target.
    """
    reading = _Reading(server_of)
    for group in fleet.groups:
        await reading.group(group)
    broken = {group.source for group, _ in reading.wrong}
    whole = tuple(group.source for group in fleet.groups if group.source not in broken)
    return Roster(check_distinct(reading.declared, origin), reading.places, whole, tuple(reading.wrong))


class _Reading:
    def __init__(self, server_of: Callable[[Group], Server]) -> None:
        self._server_of = server_of
        self.declared: list[Declared] = []
        self.places: dict[str, Place] = {}
        self.wrong: list[tuple[Group, TidegateError]] = []

    async def group(self, group: Group) -> None:
        try:
            server = self._server_of(group)
            databases = tuple(await self._databases(group, server))
        except TidegateError as error:
            self.wrong.append((group, error))
            return
        self.places |= {server.called(database): Place(server, database) for database in databases}
        for database, found in zip(databases, await self._all_schemas(group, server, databases), strict=True):
            if isinstance(found, TidegateError):
                self.wrong.append((group, found))
            else:
                self.declared += declare(group, server.called(database), found)

    async def _all_schemas(
        self, group: Group, server: Server, databases: Sequence[str]
    ) -> list[Iterable[str] | TidegateError]:
        """The schemas of each database, or what is wrong with it; several are asked at once."""
        found: list[Iterable[str] | TidegateError] = [()] * len(databases)
        limit = anyio.CapacityLimiter(_AT_ONCE)

        async def ask(place: int) -> None:
            async with limit:
                try:
                    found[place] = await self._schemas(group, server, databases[place])
                except TidegateError as error:
                    found[place] = error

        async with anyio.create_task_group() as tasks:
            for place in range(len(databases)):
                tasks.start_soon(ask, place)
        return found

    async def _databases(self, group: Group, server: Server) -> Iterable[str]:
        match group.databases:
            case None:
                return (server.database,)
            case Listed(names):
                return names
            case Asked(sql):
                return await _names(server, server.database, sql, f"{group.place}, databases_query", "databases")

    async def _schemas(self, group: Group, server: Server, database: str) -> Iterable[str]:
        match group.schemas:
            case Listed(names):
                return names
            case Asked(sql):
                return await _names(server, database, sql, f"{group.place}, schemas_query", "schemas")
            case None if group.rows:
                return ()
            case None:
                return await _names(server, database, CURRENT_SCHEMA, f"{group.place}: the search_path", "schema")


async def _names(server: Server, database: str, sql: str, origin: str, what: str) -> tuple[str, ...]:
    async with closing(await server.connect(database)) as conn:
        return check_names(await yielded(conn, sql, origin), f"{origin} in {database}", what)
