"""Sight: everything that deciding about a target needs, of both halves, read at once."""

from functools import cache
from typing import TYPE_CHECKING

import asyncpg

from worker.core.value import dataclass
from worker.postgres.faults import credible, told
from worker.postgres.home_half import Row, TargetRow, row_of
from worker.postgres.job_row import Job, job_of
from worker.postgres.queries import beside, queries
from worker.postgres.session import Session
from worker.postgres.survey import Survey, with_strangers
from worker.postgres.target_half import Observation, observation_of, observe_sql

if TYPE_CHECKING:
    from asyncpg import Record


@dataclass(frozen=True, slots=True)
class ControlVersions:
    """The highest control migration applied, of each half."""

    target: int | None
    home: int | None


@dataclass(frozen=True, slots=True)
class Sight:
    """One snapshot; `wanted` is the wanted bundle of the target's line, `job` the target's job for it.

    `row` has the columns of what was asked besides.
    """

    versions: ControlVersions
    observation: Observation
    target: TargetRow | None
    wanted: Row | None
    job: Job | None
    row: "Record"


async def see(session: Session, seen: Survey, line: str, name: str | None = None, *, besides: str = "") -> Sight | None:
    """Read both halves, or the target half where there is no other; None where one is older than this query.

    `line` is for a target that is not known yet, `name` is what the home half calls it where that is another name.
    `besides` is a query of one row that is asked together with the target half's.
    """
    target = seen.target
    home: Record | None = None
    if session.home is not None:
        there = await _row(session, seen, "sight_of_target", (target.name,), besides)
        home = await _row(session.at_home, seen, "sight_of_home", (name or target.name, line))
    else:
        if seen.has_home:
            home = await _row(session, seen, "sight", (target.name, line), besides)
        if home is None:
            return await _lone(session, seen, besides)
        there = home
    if home is None or there is None:
        return None
    with credible("the control schema"):
        return _sight(there, home)


async def _lone(session: Session, seen: Survey, besides: str) -> Sight | None:
    """What the target half that a fleet made says by itself; None where a home half was made beside it."""
    there = await _row(session, seen, "sight_of_target", (seen.target.name,), besides)
    # What has the name of a home half's table may be somebody else's.
    if there is None or (seen.has_home and there["home_half"] is not None):
        return None
    with credible("the control schema"):
        return Sight(ControlVersions(there["target_half"], None), observation_of(there), None, None, None, there)


async def see_first(session: Session, seen: Survey, line: str) -> Sight | None:
    """Read both halves where the control schema is new; None where more than the wanted bundle is there by now.

    `seen` had no version table.
    """
    target = seen.target
    row = await _row(session, seen, "first_sight", (target.name, line, target.schema, target.table))
    if row is None or row["id"] is None:
        return None
    with credible("the control schema"):
        return _sight(row, row)


def _sight(there: "Record", home: "Record") -> Sight:
    return Sight(
        ControlVersions(there["target_half"], there["home_half"]),
        observation_of(there),
        None if home["t_id"] is None else _target_row(home),
        None if home["id"] is None else row_of(home),
        None if home["job_id"] is None else job_of(home),
        there,
    )


async def _row(
    session: Session, seen: Survey, query: str, values: tuple[str, ...], besides: str = ""
) -> "Record | None":
    """The query's one row; None where the control schema lacks what it reads."""
    sql = observe_sql(_text(query, session.control), seen.target, *values, has_table=seen.has_table)
    if besides:
        sql = beside(sql, besides)
    async with told(session, f"looking at {seen.target.name}"):
        try:
            with credible("the control schema"):
                return await session.conn.fetchrow(sql)
        except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
            return None


@cache
def _text(query: str, control: str) -> str:
    half, whole = queries("target", control), queries("sight", control)
    parts = (half["observe"], half["control_versions"], whole["sight"])
    observe, versions, sight = (text.rstrip().rstrip(";") for text in parts)
    text = whole[query].replace(":sight", sight).replace(":observe", observe).replace(":control_versions", versions)
    return with_strangers(text, control, "c.nspowner")


def _target_row(row: "Record") -> TargetRow:
    return TargetRow(row["t_id"], row["t_line"], row["t_paused_by"], row["t_paused_at"])


async def control_versions(session: Session) -> ControlVersions:
    """Read how far each half has come; the version tables have to be there."""
    async with told(session, f"looking at the control schema {session.control}"):
        row = await session.conn.fetchrow(queries("target", session.control)["control_versions"])
    if row is None:
        raise AssertionError("the query of the versions returns one row")
    return ControlVersions(row["target_half"], row["home_half"])
