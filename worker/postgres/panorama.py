"""The panorama of a target: the line's bundles, the latest steps, who else is connected, and who holds the lock."""

import json
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

import asyncpg

from worker.core.planning.job import JobState
from worker.core.status.company import PREFIX, Seen, peers
from worker.core.status.snapshot import BUNDLES, STEPS, BundleStatus, LockHolder, Panorama, Step
from worker.core.target import quote_literal
from worker.errors import RefusedError
from worker.postgres.advisory import Keys
from worker.postgres.faults import credible, told
from worker.postgres.queries import queries
from worker.postgres.session import Session
from worker.postgres.survey import Survey

if TYPE_CHECKING:
    from asyncpg import Record

_NOT_READABLE = (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)


class Shown(Enum):
    """What the database that is read has to show: the home half lies there too, or in another one."""

    WHOLE = "bundles"
    TARGET_HALF = "no_bundles"


async def read_panorama(
    session: Session, seen: Survey, line: str, shown: Shown = Shown.WHOLE, name: str | None = None
) -> Panorama | None:
    """Read it in one query; None where the role may not, the control schema is older, or a row is forged.

    `name` is what the home half calls the target, where that is another name.
    """
    target = seen.target
    keys = list(map(str, Keys.of_target(target, seen.database).in_order))
    texts = queries("panorama", session.control)
    bundles = (
        texts[shown.value].rstrip().rstrip(";").replace(":most", str(BUNDLES)).replace(":line", quote_literal(line))
    )
    sql = texts["panorama"].replace(":bundles", bundles)
    async with told(session, f"reading what is shown of {target.name}"):
        try:
            row = await session.conn.fetchrow(sql, name or target.name, keys, PREFIX, STEPS)
        except _NOT_READABLE:
            return None
    if row is None:
        raise AssertionError("the query of the panorama returns one row")
    try:
        with credible("bundle, job or history"):
            return _panorama(row)
    except RefusedError:
        # What is only shown stops nobody.
        return None


def _panorama(row: "Record") -> Panorama:
    lock = None if row["lock"] is None else json.loads(row["lock"])
    return Panorama(
        row["at"],
        tuple(map(_bundle, json.loads(row["bundles"]))),
        tuple(map(_step, json.loads(row["steps"]))),
        peers(map(_seen, json.loads(row["sessions"]))),
        None if lock is None else LockHolder(lock["role"], lock["application"], lock["pid"]),
    )


def _bundle(row: dict[str, Any]) -> BundleStatus:
    return BundleStatus(
        row["label"],
        _time(row["published_at"]),
        row["published_by"],
        row["wanted"],
        row["withdrawn"],
        row["migrations"],
        None if row["state"] is None else JobState(row["state"]),
        row["attempts"],
        row["applied"],
        row["worker"],
        _moment(row["started_at"]),
        _moment(row["finished_at"]),
    )


def _step(row: dict[str, Any]) -> Step:
    return Step(
        _time(row["at"]),
        row["action"],
        row["version"],
        row["name"],
        row["bundle"],
        row["mode"],
        _duration(row["duration_ms"]),
        row["role"],
        row["worker"],
    )


def _seen(row: dict[str, Any]) -> Seen:
    return Seen(row["pid"], row["application"], row["role"], row["address"], _moment(row["since"]))


def _moment(text: str | None) -> datetime | None:
    return None if text is None else _time(text)


def _time(text: str) -> datetime:
    """Raises an error of `credible` for a time that has no year in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _duration(found: object) -> float:
    """PostgreSQL writes what is no finite number as a text."""
    if not isinstance(found, int | float):
        raise TypeError("a duration is a number")
    return found
