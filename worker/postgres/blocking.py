"""Asks the server who waits for whom."""

from typing import TYPE_CHECKING

from worker.core.running.blocking import Blocker, Kind, Waiter
from worker.core.status.company import PREFIX
from worker.core.status.sighting import Progress
from worker.postgres.queries import queries

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection


class Sight:
    """What a second connection sees of one backend, and can do to it."""

    def __init__(self, conn: "Connection[Record]", control: str, pid: int) -> None:
        self._conn = conn
        self._sql = queries("blocking", control)
        self._pid = pid

    async def prepare(self) -> None:
        """Become the role that logged in: the server lets no other one cancel what that one runs."""
        await self._conn.execute("SET ROLE NONE")

    async def behind(self) -> tuple[Waiter, ...]:
        """The application's sessions that wait behind the backend, the longest first."""
        rows = await self._conn.fetch(self._sql["behind"], self._pid, PREFIX)
        return tuple(Waiter(row["pid"], row["role"], row["application"], row["seconds"]) for row in rows)

    async def ahead(self) -> Blocker | None:
        """Whom the backend waits for."""
        return _blocker(await self._conn.fetchrow(self._sql["ahead"], self._pid))

    async def progress(self) -> Progress | None:
        """How far a long command of the backend has come, where the server tells."""
        row = await self._conn.fetchrow(self._sql["progress"], self._pid)
        return None if row is None else Progress(row["command"], row["phase"], row["done"], row["total"], row["unit"])

    async def cancel(self, key: int) -> bool:
        """Cancel the statement that the backend runs; only if it holds the lock of that key."""
        return bool(await self._conn.fetchval(self._sql["cancel"], self._pid, key))


async def control_holder(conn: "Connection[Record]", control: str) -> Blocker | None:
    """Who holds a lock that would block a statement on the control tables."""
    return _blocker(await conn.fetchrow(queries("blocking", control)["control_holder"]))


def _blocker(row: "Record | None") -> Blocker | None:
    if row is None:
        return None
    pid, kind = row["pid"] or 0, Kind(row["kind"])
    return Blocker(pid, kind, row["role"], row["application"], row["state"], row["since"], row.get("query_seconds"))
