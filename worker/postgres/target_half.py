"""The target half: what a target's own database says, and the writes to it that carry an epoch.

The writes go into a transaction that the caller opened with `fenced`, so that several of them can commit together.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING

from worker.core.bundles.migration import Direction
from worker.core.planning.plan import Entry, Observed, Progress, VersionRow
from worker.core.planning.readiness import Identity, Readiness, VersionTable
from worker.core.target import Target, quote_identifier, quote_literal
from worker.core.value import dataclass
from worker.errors import RefusedError
from worker.postgres.faults import credible, told
from worker.postgres.lock import Held
from worker.postgres.queries import Value, queries, with_values
from worker.postgres.readiness_row import readiness_sql
from worker.postgres.session import Session

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection


class Action(Enum):
    """Why versions are recorded without having been run here."""

    ADOPT = "adopt"
    FORCE = "force"


class Answer(Enum):
    """What a person says about a statement that was cut: it took effect, or it did not and is to run."""

    DONE = "done"
    NOT_DONE = "not-done"


_NO_TABLE = "(SELECT NULL::bigint AS version, NULL::boolean AS dirty LIMIT 0) AS absent"


@dataclass(frozen=True, slots=True)
class Observation:
    """What the target half says of one target; `pinned` is the command that pinned it."""

    observed: Observed
    readiness: Readiness | None = None
    epoch: int | None = None
    pinned: str | None = None
    pinned_at: datetime | None = None


class TargetHalf:
    """The target half's reads and writes for one target, on one connection."""

    def __init__(self, session: Session, target: Target) -> None:
        self._session = session
        self._conn = session.conn
        self._sql = queries("target", session.control)
        self._target = target
        self._worker = session.worker

    async def observe(self, *, has_table: bool) -> Observation:
        """Read everything that planning needs, in one round trip and one snapshot."""
        sql = observe_sql(self._sql["observe"], self._target, has_table=has_table)
        async with told(self._session, f"looking at {self._target.name}"):
            with credible("the target half"):
                row = await self._conn.fetchrow(sql, self._target.name)
                if row is None:
                    raise AssertionError("the observe query returns one row")
                return observation_of(row)

    async def observe_version(self, *, has_table: bool) -> Observation:
        """Read the version table alone, where there is no control schema."""
        if not has_table:
            return Observation(Observed())
        sql = (
            f"SELECT version AS v_version, dirty AS v_dirty FROM {self._target.relation} ORDER BY version DESC LIMIT 1"
        )
        async with told(self._session, f"reading {self._target.name}"):
            row = await self._conn.fetchrow(sql)
        return Observation(Observed(recorded=None if row is None else _version_row(row)))

    async def ensure_version_table(self) -> None:
        """Create the version table in golang-migrate's form where it is missing; the next commit makes it last."""
        async with told(self._session, f"creating {self._target.name}"):
            await self._conn.execute(f"SET LOCAL synchronous_commit = off; {ensure_version_table_sql(self._target)}")

    async def rivals(self, *, has_control: bool) -> tuple[str, ...]:
        """Names of other golang-migrate tables that hold a version and belong to no target of ours."""
        async with told(self._session, "looking for other version tables"):
            known = self._sql["known_targets"].rstrip() if has_control else "NULL::text[]"
            rows = await self._conn.fetch(self._sql["rivals"].replace(":known", known))
            tables = [(Target(row["schema"], row["table"]), row["known"] or ()) for row in rows]
            others = [table for table, ours in tables if table != self._target and table.name not in ours]
            return tuple(
                [t.name for t in others if await self._conn.fetchval(f"SELECT true FROM {t.relation} LIMIT 1")]
            )

    async def adopt(self, held: Held, entries: Iterable[Entry], bundle: str, action: Action) -> None:
        """Record versions that are applied without having been run here."""
        rows = tuple(entries)
        await self._conn.execute(
            self._sql["adopt"],
            self._target.name,
            bundle,
            self._worker,
            held.epoch,
            [str(e.version) for e in rows],
            [e.name for e in rows],
            [e.checksum for e in rows],
            {Action.ADOPT: "adopted", Action.FORCE: "forced"}[action],
            action.value,
        )

    async def force(self, held: Held, version: int | None) -> None:
        """Set the version table, and forget what the ledger holds above it and what was under way."""
        await self._conn.execute(version_row_sql(self._target, version, dirty=False))
        await self.forget_above(held, version, Action.FORCE)
        await self._conn.execute(self._sql["clear_journal"], self._target.name)

    async def forget_above(self, held: Held, version: int | None, action: Action) -> None:
        """Take what is above the version out of the ledger, all of it for None; history keeps it."""
        above = -1 if version is None else version
        mode = {Action.ADOPT: "forgotten", Action.FORCE: "forced"}[action]
        values = (self._target.name, above, self._worker, held.epoch, action.value, mode)
        await self._conn.execute(self._sql["forget_above"], *values)

    async def accept(self, held: Held, checksums: Mapping[int, str], bundle: str, why: str) -> None:
        """Record these checksums, by version, as of the files that were applied; `why` goes into the history."""
        versions, sums = list(map(str, checksums)), list(checksums.values())
        values = (self._target.name, bundle, self._worker, held.epoch, versions, sums, why)
        await self._conn.execute(self._sql["accept"], *values)

    async def answer(self, held: Held, progress: Progress, given: Answer) -> None:
        """Say in the journal what became of the cut segment, and in the history who said so.

        Raises:
            RefusedError: The segment is not a cut one; nothing was written.
        """
        # A segment that did not take effect is run as one that failed without effect is.
        state = {Answer.DONE: "done", Answer.NOT_DONE: "failed"}[given]
        segment = len(progress.done)
        tag = await self._conn.execute(
            self._sql["answer"],
            self._target.name,
            progress.version,
            progress.direction.value,
            segment,
            state,
            given.value,
            self._worker,
            held.epoch,
        )
        if tag != "INSERT 0 1":
            raise RefusedError(
                f"segment {segment + 1} of version {progress.version} was not cut, so there is nothing to answer",
                hint="tidegate status says how things stand",
                reason="not_in_doubt",
            )

    async def pin(self, held: Held, what: str | None) -> None:
        """Pin the target, saying what pinned it, or let it go."""
        await self._conn.execute(pin_sql(held, what))

    async def write_readiness(self, held: Held, row: Readiness) -> None:
        """Write the readiness row, and tell the gates."""
        await self._conn.execute(readiness_sql(held, row))

    @property
    def stated_sql(self) -> str:
        """SQL for when the readiness row was written; whoever waits for the lock sees by it that a job is done."""
        return with_values(self._sql["stated"], self._target.name)

    async def since_wanted(self, wanted_at: datetime) -> float | None:
        """The seconds from when the bundle became wanted to when the readiness row was written."""
        async with told(self._session, "reading readiness"):
            seconds: float | None = await self._conn.fetchval(self._sql["since_wanted"], self._target.name, wanted_at)
        return seconds

    async def recorded_from(self) -> dict[int, str]:
        """The label of the bundle that each version in the ledger was recorded from."""
        async with told(self._session, "reading the ledger"):
            rows = await self._conn.fetch(self._sql["recorded_from"], self._target.name)
        return {row["version"]: row["bundle"] for row in rows}

    async def durations(self, epoch: int, versions: Iterable[int]) -> dict[int, float]:
        """How long, in milliseconds, those of these versions took that were applied under this epoch."""
        async with told(self._session, "reading the ledger"):
            rows = await self._conn.fetch(self._sql["durations"], self._target.name, list(map(str, versions)), epoch)
        return {row["version"]: row["duration_ms"] for row in rows}

    async def history(self, limit: int) -> "list[Record]":
        """What was done to the target, newest first."""
        async with told(self._session, "reading the history"):
            with credible("history"):
                return await self._conn.fetch(self._sql["history"], self._target.name, limit)


async def read_readiness(
    conn: "Connection[Record]", control: str, target: str | None
) -> "tuple[tuple[str, Readiness, Identity], ...]":
    """The readiness rows that match, each with the target's name and the identity of the server asked."""
    rows = await conn.fetch(queries("target", control)["readiness"], target)
    with credible("readiness"):
        return tuple((r["r_target"], _readiness(r), Identity(r["here_system"], r["here_database"])) for r in rows)


def version_row_sql(target: Target, version: int | None, *, dirty: bool) -> str:
    """SQL that leaves exactly this row in the version table.

    A reader sees exactly one row at any moment: both statements commit together, and none of them is a TRUNCATE.
    """
    if version is None:
        return f"DELETE FROM {target.relation}"
    values = f"{version}, {'true' if dirty else 'false'}"
    return f"DELETE FROM {target.relation}; INSERT INTO {target.relation} (version, dirty) VALUES ({values})"


def ensure_version_table_sql(target: Target) -> str:
    """SQL that creates the version table in golang-migrate's form where it is missing."""
    return f"CREATE TABLE IF NOT EXISTS {_version_table(target)}"


def create_version_table_sql(target: Target) -> str:
    """SQL that creates the version table; it fails where somebody made one since it was looked for."""
    return f"CREATE TABLE {_version_table(target)}"


def _version_table(target: Target) -> str:
    return f"{target.relation} (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)"


def first_fence_sql(held: Held) -> str:
    """SQL that makes the target's row in the fence, with the epoch that is held; it fails where there is one."""
    values = f"{quote_literal(held.target.name)}, {held.epoch}, {quote_literal(held.session.worker)}, pg_backend_pid()"
    fence = f"{quote_identifier(held.session.control)}.fence"
    return f"INSERT INTO {fence} (target, epoch, worker, backend_pid) VALUES ({values})"


def history_ids_sql(session: Session) -> str:
    """SQL that has the next number of the history's sequence logged; it goes last into the transaction that made it.

    A server with `wal_level = minimal` logs no number that is taken there, nor the next 32: after a crash it would
    give them again.
    """
    history = f"{quote_identifier(session.control)}.history"
    return f"SELECT setval(pg_get_serial_sequence({quote_literal(history)}, 'id'), max(id)) FROM {history}"


def pin_sql(held: Held, what: str | None) -> str:
    """SQL that pins the target, or lets it go."""
    pinned, at = ("NULL", "NULL") if what is None else (quote_literal(what), "clock_timestamp()")
    fence = f"{quote_identifier(held.session.control)}.fence"
    return f"UPDATE {fence} SET pinned = {pinned}, pinned_at = {at} WHERE target = {quote_literal(held.target.name)}"


def lower_readiness_sql(held: Held, version: int, bundles: Iterable[str]) -> str:
    """SQL that takes a version out of the readiness row; `bundles` are the labels that are still met without it."""
    labels = ", ".join(map(quote_literal, bundles))
    return (
        f"UPDATE {quote_identifier(held.session.control)}.readiness SET versions = array_remove(versions, {version}), "
        f"lowest_pending = least(lowest_pending, {version}), bundles = ARRAY[{labels}]::text[], "
        f"epoch = {held.epoch}, set_at = clock_timestamp() WHERE target = {quote_literal(held.target.name)}"
    )


def observe_sql(sql: str, target: Target, *values: Value, has_table: bool) -> str:
    """A query that reads the version table, with that table's name and the values put in, or with an empty one."""
    # Apart from each other: a table's name may hold a `$1`, and a line the table's place.
    table = target.relation if has_table else _NO_TABLE
    return table.join([with_values(part, *values) if values else part for part in sql.split(":version_table")])


def observation_of(row: "Record") -> Observation:
    """An observation, from the columns of the query `observe`."""
    ledger = tuple(map(Entry, map(int, row["l_versions"]), row["l_names"], row["l_checksums"]))
    observed = Observed(ledger, _version_row(row), _progress(row))
    readiness = None if row["r_target"] is None else _readiness(row)
    return Observation(observed, readiness, row["f_epoch"], row["f_pinned"], row["f_pinned_at"])


def _version_row(row: "Record") -> VersionRow | None:
    return None if row["v_version"] is None else VersionRow(row["v_version"], row["v_dirty"])


def _progress(row: "Record") -> Progress | None:
    if row["j_version"] is None:
        return None
    done, cut = tuple(row["j_done"]), (row["j_cut"], row["j_cut_pid"], row["j_cut_at"])
    return Progress(row["j_version"], Direction(row["j_direction"]), done, *cut)


def _readiness(row: "Record") -> Readiness:
    return Readiness(
        bundle=row["r_bundle"],
        versions=tuple(map(int, row["r_versions"])),
        lowest_pending=row["r_lowest_pending"],
        deferred=tuple(map(int, row["r_deferred"])),
        # An array's elements may be null, or arrays; no label is.
        bundles=tuple(label for label in row["r_bundles"] if isinstance(label, str)),
        serves=row["r_serves"],
        version_table=VersionTable(row["r_version_table"]),
        identity=Identity(row["r_system"], row["r_database"]),
        epoch=row["r_epoch"],
    )
