"""Sight of many targets of one database: what deciding about each needs, in a few queries for all of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from worker.core.checks.standing import Owner
from worker.core.target import Target, quote_literal
from worker.core.value import dataclass
from worker.postgres.faults import credible, told
from worker.postgres.home_half import TargetRow
from worker.postgres.job_row import Job, job_of
from worker.postgres.lock import Held
from worker.postgres.queries import queries
from worker.postgres.session import Session
from worker.postgres.survey import Survey, survey
from worker.postgres.target_half import Observation, observation_of, observe_sql

if TYPE_CHECKING:
    from asyncpg import Record

_FILE = "fleet_sight"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A version that was recorded, and its milliseconds; `since` is in seconds since its bundle was wanted."""

    version: int
    duration_ms: float
    since: float | None


async def surveys(session: Session, targets: Sequence[Target]) -> dict[Target, Survey]:
    """Look at the database once, and at each target's part of it; what might have an intruder is left out.

    Raises:
        RefusedError: The session has no schema for unqualified names.
    """
    whole = await survey(session, targets[0].schema, targets[0].table)
    if not whole.has_control or whole.standing.intruders:
        return {}
    schemas, tables = [each.schema for each in targets], [each.table for each in targets]
    async with told(session, "looking at many targets"):
        rows = await session.conn.fetch(queries(_FILE, session.control)["grounds"], schemas, tables)
    found = {Target(row["schema"], row["name"]): row for row in rows if not row["may_have_intruders"]}
    return {target: _survey(whole, target, row) for target, row in found.items()}


async def observe_many(session: Session, seen: Iterable[Survey]) -> dict[str, Observation]:
    """Read the target half of all these targets in one query, by their names."""
    there = tuple(seen)
    half = queries("target", session.control)["observe"].rstrip().rstrip(";").replace("$1", "u.target")
    one = observe_sql(half, there[0].target, has_table=False)
    tables = " UNION ALL ".join(_version_row(each.target) for each in there if each.has_table)
    if tables:
        one = half.replace(
            ":version_table", f"(SELECT w.version, w.dirty FROM ({tables}) AS w WHERE w.target = u.target) AS w"
        )
    sql = queries(_FILE, session.control)["observed"].replace(":observe", one)
    async with told(session, "looking at many targets"):
        with credible("the target half"):
            rows = await session.conn.fetch(sql, [each.target.name for each in there])
            return {row["target"]: observation_of(row) for row in rows}


async def jobs_of_many(
    session: Session, names: Sequence[str], bundle: int
) -> Mapping[str, tuple[TargetRow, Job | None]]:
    """Rows of the home half, by what it calls the targets."""
    home = session.at_home
    async with told(home, "looking at many jobs"):
        with credible("job"):
            rows = await home.conn.fetch(queries(_FILE, session.control)["jobs"], list(names), bundle)
            return {row["name"]: (_target_row(row), None if row["job_id"] is None else job_of(row)) for row in rows}


async def recorded_under(held: Held, wanted_at: datetime | None) -> tuple[Recorded, ...]:
    """What was recorded under the held epoch, in order."""
    sql = queries(_FILE, held.session.control)["recorded"]
    async with told(held.session, "reading what was recorded"):
        rows = await held.session.conn.fetch(sql, held.target.name, held.epoch, wanted_at)
    return tuple(Recorded(row["version"], row["duration_ms"], row["since"]) for row in rows)


def _version_row(target: Target) -> str:
    return f"SELECT {quote_literal(target.name)}::text AS target, version, dirty FROM {target.relation}"


def _survey(whole: Survey, target: Target, row: "Record") -> Survey:
    owner = None
    if row["table_owner"] is not None:
        rights = (row[f"{right}_table_owner"] for right in ("is_member", "may_act_as", "is_superuser"))
        owner = Owner(row["table_owner"], *rights)
    standing = replace(
        whole.standing,
        target=target,
        has_schema=row["has_schema"],
        table_owner=owner,
        may_create_in_schema=row["may_create_in_schema"],
        may_read_table=row["may_read_table"],
        may_write_table=row["may_write_table"],
    )
    return replace(whole, target=target, has_table=row["has_table"], standing=standing)


def _target_row(row: "Record") -> TargetRow:
    return TargetRow(row["t_id"], row["t_line"], row["t_paused_by"], row["t_paused_at"])
