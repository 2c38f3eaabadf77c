"""The home half's targets one by one: which one a person means, and what is known of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from worker.core.fleet.declared import REGISTERED, Declared
from worker.core.target import Target
from worker.core.value import dataclass
from worker.postgres.faults import credible, told
from worker.postgres.queries import queries
from worker.postgres.session import Session

if TYPE_CHECKING:
    from asyncpg import Record

CANDIDATES = 6
"""So many targets that a word may mean are read: enough to say that it is not clear which is meant."""


@dataclass(frozen=True, slots=True)
class Known:
    """A target of the fleet; `wanted` is the label that its line wants."""

    declared: Declared
    wanted: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a target, by the fleet's states; `why` is of one that needs a person or could not be reached."""

    name: str
    line: str
    wanted: str | None
    state: str
    paused_by: str | None
    why: str | None


class FleetTargets:
    """Reads single targets of a fleet, on a connection to the home half."""

    def __init__(self, session: Session) -> None:
        self._session = session.at_home
        self._conn = self._session.conn
        self._sql = queries("fleet_targets", session.control)

    async def candidates(self, sources: Sequence[str], word: str) -> tuple[Declared, ...]:
        """The targets that a word may mean; one whose name it is comes first."""
        async with told(self._session, "looking for a target"):
            rows = await self._conn.fetch(self._sql["candidates"], list(sources), word, CANDIDATES)
        with credible("target"):
            return tuple(map(_declared, rows))

    async def known(self, sources: Sequence[str], name: str) -> Known | None:
        """The target of that name."""
        async with told(self._session, "looking for a target"):
            row = await self._conn.fetchrow(self._sql["exact"], list(sources), name)
        with credible("target"):
            return None if row is None else Known(_declared(row), row["wanted"])

    async def registered(self) -> tuple[Declared, ...]:
        """The targets that add_target() registered."""
        async with told(self._session, "reading the registered targets"):
            rows = await self._conn.fetch(self._sql["registered"])
        with credible("target"):
            return tuple(map(_declared, rows))

    async def may_begin(self) -> bool:
        """Whether the role may make what a fleet needs in the home half."""
        async with told(self._session, "checking the home half"):
            return bool(await self._conn.fetchval(self._sql["may_begin"]))

    async def of_line(self, sources: Sequence[str], line: str) -> tuple[str, ...]:
        """The names of a line's targets."""
        async with told(self._session, "reading a line's targets"):
            rows = await self._conn.fetch(self._sql["of_line"], list(sources), line)
        return tuple(row["name"] for row in rows)

    async def outcomes(self, names: Sequence[str]) -> tuple[Outcome, ...]:
        """What became of these targets."""
        async with told(self._session, "reading what came of targets"):
            rows = await self._conn.fetch(self._sql["outcomes"], list(names))
        columns = ("name", "line", "wanted", "state", "paused_by", "why")
        return tuple(Outcome(*(row[column] for column in columns)) for row in rows)

    async def unsettle(self, name: str) -> None:
        """Have workers look at a target again, which a person brought elsewhere."""
        async with told(self._session, "having a target looked at again"):
            await self._conn.execute(self._sql["unsettle"], name, f"{self._session.control}_wake")


def _declared(row: "Record") -> Declared:
    target = Target(row["schema"], row["version_table"])
    looked_in = (target.schema,) if row["source"] == REGISTERED else tuple(row["path"] or ())
    return Declared(row["database"], target, row["line"], row["source"], looked_in)
