"""What a gate's session stands on: which server it really talks to, and what its role may read."""

from typing import TYPE_CHECKING

from worker.core.planning.job import JobState
from worker.core.value import dataclass
from worker.postgres.queries import queries

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Facts that can be read without any right; `pooled` says that server processes are handed out."""

    role: str
    pooled: bool
    standby: bool
    has_schema: bool
    may_use_schema: bool
    has_readiness: bool
    may_read_readiness: bool
    may_read_jobs: bool

    @property
    def hears(self) -> bool:
        """Whether LISTEN works here."""
        return not (self.pooled or self.standby)


@dataclass(frozen=True, slots=True)
class SeenJob:
    """The job of the wanted bundle, and its failure's message."""

    bundle: str
    state: JobState
    message: str | None


async def read_surroundings(conn: "Connection[Record]", control: str) -> Surroundings:
    """Look around; needs no right on anything."""
    row = await conn.fetchrow(queries("surroundings", control)["surroundings"])
    if row is None:
        raise AssertionError("the surroundings query returns one row")
    return Surroundings(
        row["role"],
        row["pid"] != conn.get_server_pid(),
        row["standby"],
        row["has_schema"],
        row["may_use_schema"],
        row["has_readiness"],
        row["may_read_readiness"],
        row["may_read_jobs"],
    )


async def read_job(conn: "Connection[Record]", control: str, target: str | None) -> SeenJob | None:
    """Read the job of the wanted bundle; only where `may_read_jobs` holds."""
    row = await conn.fetchrow(queries("surroundings", control)["job"], target)
    return None if row is None else SeenJob(row["label"], JobState(row["state"]), row["message"])
