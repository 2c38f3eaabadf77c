"""Takes the inventory of a control schema, and drops it."""

from enum import Enum
from typing import TYPE_CHECKING

import asyncpg

from worker.core.bundles.migration import Direction
from worker.core.planning.job import JobState
from worker.core.planning.plan import VersionRow
from worker.core.planning.removal import Client, Grant, HalfDone, Inventory, Kept, OpenJob, Thing
from worker.core.target import Target, quote_identifier
from worker.errors import RefusedError
from worker.postgres.advisory import Keys, lock_holder
from worker.postgres.faults import told
from worker.postgres.queries import queries
from worker.postgres.session import Session
from worker.postgres.transaction import transaction

if TYPE_CHECKING:
    from asyncpg import Record

# Whoever reads the control tables meanwhile queues behind this wait for a longer reader.
_PATIENCE = "SET LOCAL lock_timeout = '10s'"


class Extent(Enum):
    """What there is of a control schema: that of a fleet's target has its home half in another database."""

    WHOLE = "whole"
    TARGET_HALF = "target_half"


class Removal:
    """One control schema on one connection."""

    def __init__(self, session: Session, database: str, extent: Extent) -> None:
        self._session = session
        self._database = database
        self._sql = queries("removal", session.control)
        self._is_whole = extent is Extent.WHOLE

    async def inventory(self) -> Inventory:
        """Read what is there; the control schema has to be of this program's version."""
        async with told(self._session, f"looking at the schema {self._session.control}"):
            things = await self._fetch("objects")
            kept = [await self._kept(row) for row in await self._fetch_known("targets")]
            return Inventory(
                ours=tuple([await self._counted(row) for row in things if row["ours"]]),
                strangers=tuple(map(_thing, (row for row in things if not row["ours"]))),
                dependents=tuple(map(_thing, await self._fetch("dependents"))),
                owners=tuple(row["owner"] for row in await self._fetch("owners")),
                grants=tuple(Grant(r["role"], r["privileges"], r["what"]) for r in await self._fetch("grants")),
                kept=tuple(kept),
                half_done=tuple(map(_half_done, await self._fetch_known("half_done"))),
                jobs=tuple(
                    OpenJob(r["target"], r["label"], JobState(r["state"])) for r in await self._fetch_known("open_jobs")
                ),
                holders=await self._holders(tuple(each.target for each in kept)),
                clients=tuple(
                    Client(r["application"], r["role"], r["address"], r["pid"]) for r in await self._fetch("clients")
                ),
            )

    def locks(self, targets: tuple[Target, ...]) -> dict[str, Keys]:
        """The keys of the control schema and of the targets, by what they lock, in the order of taking."""
        own = {f"the control schema {self._session.control}": Keys.of_control(self._session.control)}
        return own | {target.name: Keys.of_target(target, self._database) for target in targets}

    async def drop(self) -> None:
        """Drop the control schema in one transaction.

        Raises:
            RefusedError: A privilege is missing, a reader is in the way, or something else hangs on it after all.
        """
        control = self._session.control
        async with transaction(self._session, f"dropping the schema {control}", _PATIENCE):
            try:
                await self._session.conn.execute(self._sql["drop"])
            except asyncpg.LockNotAvailableError as error:
                raise RefusedError(
                    f"a transaction that uses the schema {control} is open, and did not end in time",
                    hint="pg_stat_activity shows it: let it end, or end it with pg_terminate_backend()",
                    reason="locked",
                ) from error

    async def _fetch(self, query: str) -> "list[Record]":
        return list(await self._session.conn.fetch(self._sql[query]))

    async def _fetch_known(self, query: str) -> "list[Record]":
        """Ask the home half too, where it is there; each such query has another one for where it is not."""
        return await self._fetch(query if self._is_whole else f"{query}_without_home")

    async def _counted(self, row: "Record") -> Thing:
        if not row["has_rows"]:
            return _thing(row)
        sql = self._sql["count"].replace(":table", quote_identifier(row["name"]))
        return Thing(row["kind"], row["name"], await self._session.conn.fetchval(sql))

    async def _kept(self, row: "Record") -> Kept:
        target = Target(row["schema"], row["table"])
        if not row["has_table"]:
            return Kept(target, has_table=False, recorded=None)
        found = await self._session.conn.fetchrow(self._sql["version"].replace(":version_table", target.relation))
        recorded = None if found is None else VersionRow(found["version"], found["dirty"])
        return Kept(target, has_table=True, recorded=recorded)

    async def _holders(self, targets: tuple[Target, ...]) -> tuple[Client, ...]:
        found = [(name, await lock_holder(self._session, keys)) for name, keys in self.locks(targets).items()]
        return tuple(
            Client(h.holder_application, h.holder_role, h.holder_address, h.holder_pid, name)
            for name, h in found
            if h is not None
        )


def _thing(row: "Record") -> Thing:
    return Thing(row["kind"], row["name"])


def _half_done(row: "Record") -> HalfDone:
    return HalfDone(row["target"], row["version"], Direction(row["direction"]), row["file"])
