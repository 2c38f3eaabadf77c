"""What a statement that no transaction holds left in the catalogue, as facts.

Names are looked up as the statement would: in the session as it is set up for it. Nothing here changes anything.
"""

from datetime import datetime
from typing import TYPE_CHECKING

import anyio
import asyncpg

from worker.core.backoff import Backoff
from worker.core.events.migration_events import BackendAwaited
from worker.core.running.recovery import Build, Detach, Drop, Presence, QualifiedName, Rebuild
from worker.core.running.remains import Attachment, Existence, Found, Likeness, Namesake, shown
from worker.core.status.company import PREFIX
from worker.errors import TimedOutError
from worker.postgres.faults import settle, told
from worker.postgres.queries import queries
from worker.postgres.session import Session
from worker.postgres.transaction import transaction

if TYPE_CHECKING:
    from asyncpg import Record

_POLL = Backoff(first=0.025, ceiling=0.5)
_PROBE = "tidegate_probe"
# Classes of errors that others brought about: connection, rollback, resources, locks, intervention.
_NOT_THE_STATEMENTS = frozenset({"08", "40", "53", "55", "57"})
_PROBE_LIMITS = "SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '30s'"


async def until_gone(session: Session, pid: int, since: datetime, limit: float | None) -> None:
    """Wait until the backend that was at work `since` then is gone: while it lives, it may still change the schema.

    Raises:
        TimedOutError: It was still there after `limit` seconds (None: for ever); says who it is.
    """
    await _until(session, "backend", (pid, since, PREFIX), "began the statement that was cut", limit)


async def until_built(session: Session, table: QualifiedName, limit: float | None) -> None:
    """Wait until no other backend builds an index of a table: what looks INVALID may be about to become valid.

    Raises:
        TimedOutError: One was still at it after `limit` seconds; says who it is.
    """
    await _until(session, "builder", (shown(table),), f"builds an index of {shown(table)}", limit)


async def _until(session: Session, query: str, values: tuple[object, ...], what: str, limit: float | None) -> None:
    sql, began, attempt = queries("remains", session.control)[query], session.clock(), 0
    while True:
        async with transaction(session, "looking for an older backend"):
            await session.conn.execute("SET LOCAL ROLE NONE")
            row = await session.conn.fetchrow(sql, *values)
        if row is None:
            return
        if attempt == 0:
            session.emit(BackendAwaited(row["pid"], row["role"], row["application"], what))
        waited = session.clock() - began
        if limit is not None and waited >= limit:
            raise _still_there(row, what, waited)
        attempt += 1
        delay = _POLL.delay(attempt, session.jitter())
        await anyio.sleep(delay if limit is None else min(delay, limit - waited))


def _still_there(row: "Record", what: str, waited: float) -> TimedOutError:
    since = "unknown" if row["since"] is None else row["since"].isoformat(timespec="seconds")
    return TimedOutError(
        f"backend {row['pid']} {what} and was still at it after {waited:.0f} s: role {row['role']}, "
        f"application {row['application'] or 'unnamed'}, connected since {since}",
        hint=f"let it finish, or end it: SELECT pg_terminate_backend({row['pid']}); then run tidegate again; "
        "TIDEGATE_ADVISORY_TIMEOUT says how long to wait",
        reason="old_backend",
    )


class Remains:
    """Looks at what a statement left."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._conn = session.conn
        self._sql = queries("remains", session.control)

    async def namesakes(self, build: Build) -> tuple[Namesake, ...]:
        """What has the name of the index to be built, or those that may be it where the server chooses the name."""
        async with told(self._session, f"looking at the indexes of {shown(build.table)}"):
            index = None if build.index is None else build.index.name
            rows = await self._conn.fetch(self._sql["namesakes"], shown(build.table), index)
            wanted = await self._wanted(build) if any(row["is_on_table"] for row in rows) else None
            return tuple([await self._namesake(row, wanted) for row in rows])

    async def _namesake(self, row: "Record", wanted: str | None) -> Namesake:
        name = QualifiedName(row["schema"], row["name"])
        if not row["is_on_table"]:
            return Namesake(name, row["is_valid"], Likeness.OTHER)
        if wanted is None:
            return Namesake(name, row["is_valid"], Likeness.UNKNOWN)
        is_same = await self._conn.fetchval(self._sql["definition"], row["relation"]) == wanted
        return Namesake(name, row["is_valid"], Likeness.SAME if is_same else Likeness.OTHER)

    async def _wanted(self, build: Build) -> str | None:
        """The definition that the statement asks for, as the server writes it; None if the server cannot tell.

        The index is created on an empty table of the same columns, in a transaction that is rolled back. Whoever may
        create an index may create a table beside it: both need CREATE on the table's schema.
        """
        home = await self._conn.fetchval(self._sql["home_of"], shown(build.table))
        unique = "UNIQUE " if build.is_unique else ""
        async with told(self._session, f"comparing the indexes of {shown(build.table)}"):
            try:
                await self._conn.execute(
                    f"BEGIN; {_PROBE_LIMITS}; CREATE TABLE {home}.{_PROBE} (LIKE {shown(build.table)})"
                )
                await self._conn.execute(f"CREATE {unique}INDEX {_PROBE}_index ON {home}.{_PROBE}{build.rest}")
                probe = await self._conn.fetchval("SELECT pg_catalog.to_regclass($1)::oid", f"{home}.{_PROBE}_index")
                definition: str = await self._conn.fetchval(self._sql["definition"], probe)
            except asyncpg.PostgresError as error:
                if (error.sqlstate or "")[:2] in _NOT_THE_STATEMENTS:
                    raise
                return None
            else:
                return definition
            finally:
                await settle(self._conn)

    async def index(self, drop: Drop) -> Found | None:
        """The index to be dropped."""
        async with told(self._session, f"looking for the index {shown(drop.index)}"):
            row = await self._conn.fetchrow(self._sql["index"], shown(drop.index))
        if row is None:
            return None
        is_sure = drop.index.schema is not None or row["is_first"]
        return Found(QualifiedName(row["schema"], row["name"]), row["is_valid"], is_sure)

    async def rebuilt(self, rebuild: Rebuild) -> tuple[QualifiedName, ...]:
        """The INVALID indexes that a REINDEX left behind."""
        name = None if rebuild.name is None else shown(rebuild.name)
        bare = None if rebuild.name is None else rebuild.name.name
        async with told(self._session, "looking for what REINDEX left behind"):
            rows = await self._conn.fetch(self._sql["rebuilt"], rebuild.scope.value, name, bare)
        return tuple(QualifiedName(row["schema"], row["name"]) for row in rows)

    async def attachment(self, detach: Detach) -> Attachment:
        """How the partition hangs on its table."""
        async with told(self._session, f"looking at the partition {shown(detach.partition)}"):
            row = await self._conn.fetchrow(self._sql["attachment"], shown(detach.table), shown(detach.partition))
        if row is None:
            return Attachment.NONE
        return Attachment.PENDING if row["is_pending"] else Attachment.ATTACHED

    async def existence(self, presence: Presence) -> Existence:
        """Whether the database, the tablespace or the subscription is there."""
        async with told(self._session, f"looking for the {presence.thing.value} {presence.name}"):
            row = await self._conn.fetchrow(self._sql["existence"], presence.thing.value, presence.name)
        if row is None:
            return Existence.GONE
        return Existence.INVALID if row["is_invalid"] else Existence.THERE
