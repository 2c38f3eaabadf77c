"""Reads the facts that a check-up is made from; nothing of it locks or writes."""

from worker.core.checks.checkup import (
    SETTINGS,
    Facts,
    ForeignObject,
    InvalidIndex,
    LockSession,
    SettingSeen,
)
from worker.core.status.company import PREFIX
from worker.postgres.advisory import Keys
from worker.postgres.faults import told
from worker.postgres.queries import queries
from worker.postgres.session import Session
from worker.postgres.survey import Survey


async def read_facts(session: Session, survey: Survey, readers: tuple[str, ...]) -> Facts:
    """Read everything; `readers` are the roles in TIDEGATE_READERS.

    Raises:
        ConnectionLostError: The connection broke.
    """
    async with told(session, "checking the database"):
        return await _Reading(session, survey).all(readers)


class _Reading:
    def __init__(self, session: Session, survey: Survey) -> None:
        self._conn = session.conn
        self._control = session.control
        self._survey = survey
        self._sql = queries("checkup", session.control)

    async def all(self, readers: tuple[str, ...]) -> Facts:
        target = self._survey.target
        row = await self._conn.fetchrow(self._sql["circumstances"], target.schema)
        if row is None:
            raise AssertionError("the circumstances query returns one row")
        missing, denied = await self._readers(readers)
        return Facts(
            standing=self._survey.standing,
            version=row["version"],
            encoding=row["encoding"],
            search_path=row["search_path"],
            is_superuser=row["is_superuser"],
            has_own_schema=row["has_own_schema"],
            is_open_to_public=row["is_open_to_public"],
            settings=tuple(
                SettingSeen(r["name"], r["value"], r["source"])
                for r in await self._conn.fetch(self._sql["settings"], list(SETTINGS))
            ),
            objects=await self._objects(),
            sessions=await self._sessions(),
            indexes=tuple(
                InvalidIndex(r["name"], r["is_leftover"]) for r in await self._conn.fetch(self._sql["invalid_indexes"])
            ),
            missing_readers=missing,
            denied_readers=denied,
            may_forget_events=row["may_forget_events"],
        )

    async def _objects(self) -> tuple[ForeignObject, ...]:
        target = self._survey.target
        async with self._conn.transaction(readonly=True):
            await self._conn.execute("SET LOCAL search_path = ''")
            rows = await self._conn.fetch(self._sql["foreign_objects"], self._control, target.schema, target.table)
        return tuple(ForeignObject(row["kind"], row["name"], row["owner"]) for row in rows)

    async def _sessions(self) -> tuple[LockSession, ...]:
        keys = Keys.of_target(self._survey.target, self._survey.database).in_order
        rows = await self._conn.fetch(self._sql["lock_sessions"], list(map(str, keys)))
        return tuple(
            LockSession(
                row["pid"],
                row["granted"],
                row["role"],
                row["application"],
                row["application"].startswith(PREFIX),
            )
            for row in rows
        )

    async def _readers(self, readers: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Roles that do not exist, and those that may not read readiness where that is there."""
        known = {row["role"] for row in await self._conn.fetch(self._sql["known_roles"], list(readers))}
        missing = tuple(name for name in readers if name not in known)
        if not self._survey.has_control:
            return missing, ()
        denied = await self._conn.fetch(queries("target", self._control)["missing_readers"], list(readers))
        return missing, tuple(row["role"] for row in denied)
