"""The target half: what a target's own database says, and the writes to it that carry an epoch."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from worker.core.migration import Direction
from worker.core.plan import Entry, Observed, Progress, VersionRow
from worker.core.readiness import Identity, Readiness, VersionTable
from worker.core.target import Target, quote_identifier
from worker.errors import RefusedError
from worker.postgres.lock import Held
from worker.postgres.queries import queries, quote_literal
from worker.postgres.session import Session

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

_NO_TABLE = "(SELECT NULL::bigint AS version, NULL::boolean AS dirty LIMIT 0) AS absent"


@dataclass(frozen=True, slots=True)
class Survey:
    """What a session is connected to; read without a lock and without any of Tidegate's tables."""

    database: str
    login: str
    role: str
    target: Target
    identity: Identity
    has_table: bool
    has_control: bool


@dataclass(frozen=True, slots=True)
class Observation:
    """What the target half says of one target."""

    observed: Observed
    readiness: Readiness | None
    epoch: int | None
    pinned: str | None


async def survey(session: Session, schema: str | None, table: str) -> Survey:
    """Look at the server, the database and the role of this session.

    Raises:
        RefusedError: no schema of the search path exists, so that unqualified names would have no home.
    """
    row = await session.conn.fetchrow(queries("target", session.control)["survey"], schema, table)
    if row is None or row["schema"] is None:
        raise RefusedError(
            "no schema of this role's search_path exists, so the version table has no home",
            hint="create the schema, or set search_path for the role: ALTER ROLE … SET search_path = public",
            reason="privilege",
        )
    return Survey(
        row["database"],
        row["login"],
        row["role"],
        Target(row["schema"], table),
        Identity(row["system_identifier"], row["database_oid"]),
        row["has_table"],
        row["has_control"],
    )


class TargetHalf:
    """The target half's reads and writes for one target, on one connection."""

    def __init__(self, session: Session, target: Target) -> None:
        self._conn = session.conn
        self._control = session.control
        self._sql = queries("target", session.control)
        self._target = target
        self._worker = session.worker

    async def observe(self, *, has_table: bool) -> Observation:
        """Read everything that planning needs, in one round trip and one snapshot."""
        table = self._target.relation if has_table else _NO_TABLE
        row = await self._conn.fetchrow(self._sql["observe"].replace(":version_table", table), self._target.name)
        if row is None:
            raise AssertionError("the observe query returns one row")
        observed = Observed(_ledger(row), _version_row(row), _progress(row))
        return Observation(observed, _readiness(row) if row["has_readiness"] else None, row["epoch"], row["pinned"])

    async def observe_version(self, *, has_table: bool) -> Observation:
        """Read the version table alone, where there is no control schema."""
        sql = (
            f"SELECT version AS v_version, dirty AS v_dirty FROM {self._target.relation} ORDER BY version DESC LIMIT 1"
        )
        row = await self._conn.fetchrow(sql) if has_table else None
        return Observation(Observed(recorded=None if row is None else _version_row(row)), None, None, None)

    async def ensure_version_table(self) -> None:
        """Create the version table in golang-migrate's form where it is missing."""
        await self._conn.execute(
            f"CREATE TABLE IF NOT EXISTS {self._target.relation} "
            "(version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)"
        )

    async def rivals(self, *, has_control: bool) -> tuple[str, ...]:
        """Names of other golang-migrate tables that hold a version and belong to no target of ours."""
        known = {row["target"] for row in await self._conn.fetch(self._sql["known_targets"])} if has_control else set()
        tables = [Target(row["schema"], row["table"]) for row in await self._conn.fetch(self._sql["rivals"])]
        others = [table for table in tables if table != self._target and table.name not in known]
        return tuple([t.name for t in others if await self._conn.fetchval(f"SELECT true FROM {t.relation} LIMIT 1")])

    async def adopt(self, held: Held, entries: Iterable[Entry], bundle: str, action: str) -> None:
        """Record versions that are applied without having been run here; `action` is adopt or force."""
        rows = tuple(entries)
        async with self._conn.transaction():
            await self._conn.execute(held.fence_sql)
            await self._conn.execute(
                self._sql["adopt"],
                self._target.name,
                bundle,
                self._worker,
                held.epoch,
                [e.version for e in rows],
                [e.name for e in rows],
                [e.checksum for e in rows],
                {"adopt": "adopted", "force": "forced"}[action],
                action,
            )

    async def pin(self, held: Held, what: str | None) -> None:
        """Pin the target, saying what pinned it, or let it go."""
        async with self._conn.transaction():
            await self._conn.execute(held.fence_sql)
            await self._conn.execute(pin_sql(held, what))

    async def write_readiness(self, held: Held, row: Readiness, wanted_at: datetime | None) -> float | None:
        """Write the readiness row under the fence, and tell the gates; returns the seconds since `wanted_at`."""
        async with self._conn.transaction():
            await self._conn.execute(held.fence_sql)
            seconds: float | None = await self._conn.fetchval(
                self._sql["write_readiness"],
                self._target.name,
                row.bundle,
                list(row.versions),
                row.lowest_pending,
                list(row.deferred),
                list(row.bundles),
                row.serves,
                row.version_table.value,
                row.identity.system_identifier,
                row.identity.database_oid,
                row.epoch,
                self._worker,
                wanted_at,
            )
            await self._conn.execute("SELECT pg_notify($1, $2)", f"{self._control}_ready", self._target.name)
        return seconds

    async def history(self, limit: int) -> "list[Record]":
        """What was done to the target, newest first."""
        return await self._conn.fetch(self._sql["history"], self._target.name, limit)


async def read_readiness(
    conn: "Connection[Record]", control: str, target: str | None
) -> "tuple[tuple[str, Readiness, Identity], ...]":
    """The readiness rows that match, each with the target's name and the identity of the server asked."""
    rows = await conn.fetch(queries("target", control)["readiness"], target)
    return tuple((row["target"], _readiness(row), Identity(row["here_system"], row["here_database"])) for row in rows)


def version_row_sql(target: Target, version: int | None, *, dirty: bool) -> str:
    """SQL that leaves exactly this row in the version table.

    A reader sees exactly one row at any moment: both statements commit together, and none of them is a TRUNCATE.
    """
    if version is None:
        return f"DELETE FROM {target.relation}"
    values = f"{version}, {'true' if dirty else 'false'}"
    return f"DELETE FROM {target.relation}; INSERT INTO {target.relation} (version, dirty) VALUES ({values})"


def pin_sql(held: Held, what: str | None) -> str:
    """SQL that pins the target, or lets it go."""
    pinned = "NULL" if what is None else quote_literal(what)
    fence = f"{quote_identifier(held.session.control)}.fence"
    return f"UPDATE {fence} SET pinned = {pinned} WHERE target = {quote_literal(held.target.name)}"


def lower_readiness_sql(held: Held, version: int, bundles: Iterable[str]) -> str:
    """SQL that takes a version out of the readiness row; `bundles` are the labels that are still met without it."""
    labels = ", ".join(map(quote_literal, bundles))
    return (
        f"UPDATE {quote_identifier(held.session.control)}.readiness SET versions = array_remove(versions, {version}), "
        f"lowest_pending = least(lowest_pending, {version}), bundles = ARRAY[{labels}]::text[], "
        f"epoch = {held.epoch}, set_at = clock_timestamp() WHERE target = {quote_literal(held.target.name)}"
    )


def _ledger(row: "Record") -> tuple[Entry, ...]:
    return tuple(map(Entry, row["versions"], row["names"], row["checksums"]))


def _version_row(row: "Record") -> VersionRow | None:
    return None if row["v_version"] is None else VersionRow(row["v_version"], row["v_dirty"])


def _progress(row: "Record") -> Progress | None:
    if row["j_version"] is None:
        return None
    return Progress(
        row["j_version"], Direction(row["j_direction"]), tuple(row["j_done"]), row["j_cut"], row["j_cut_pid"]
    )


def _readiness(row: "Record") -> Readiness:
    return Readiness(
        bundle=row["bundle"],
        versions=tuple(row["r_versions"]),
        lowest_pending=row["lowest_pending"],
        deferred=tuple(row["deferred"]),
        bundles=tuple(row["bundles"]),
        serves=row["serves"],
        version_table=VersionTable(row["version_table"]),
        identity=Identity(row["system_identifier"], row["database_oid"]),
        epoch=row["r_epoch"],
    )
