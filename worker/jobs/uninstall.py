"""Drops the control schema, so that a database is golang-migrate's alone again: the version table is right already."""

from contextlib import AsyncExitStack

from worker import control_schema
from worker.core.planning.removal import Inventory, objection
from worker.errors import RefusedError
from worker.jobs.preflight import check_sight
from worker.jobs.site import Site
from worker.postgres.lock import hold
from worker.postgres.removal import Extent, Removal
from worker.postgres.session import Session
from worker.postgres.sight import control_versions
from worker.postgres.survey import survey


async def inspect(session: Session, site: Site) -> Inventory | None:
    """Look at what would be dropped and what stays; None where there is no control schema.

    Raises:
        RefusedError: It may not be dropped now, and why; or it is of another version than this program.
    """
    removal = await _removal(session, site)
    return None if removal is None else await _unhindered(session, removal)


async def uninstall(session: Session, site: Site) -> Inventory | None:
    """Drop the control schema in one transaction; returns what it was, None where there was none.

    The locks of the control schema and of every target are held, and everything is read again under them.

    Raises:
        RefusedError: It may not be dropped now, and why; or a privilege is missing.
        TimedOutError: A lock was not free in time.
    """
    removal = await _removal(session, site)
    if removal is None:
        return None
    before = await _unhindered(session, removal)
    async with AsyncExitStack() as held:
        for keys in removal.locks(before.targets).values():
            await held.enter_async_context(hold(session, keys, site.limits.advisory_timeout))
        found = await inspect(session, site)
        if found is None:
            return None
        if found.targets != before.targets:
            raise RefusedError("a target was added just now", hint="run it again", reason="locked")
        await removal.drop()
        return found


async def _removal(session: Session, site: Site) -> Removal | None:
    seen = await survey(session, site.schema, site.table)
    if not seen.has_control:
        return None
    check_sight(seen.standing)
    versions = await control_versions(session)
    if not control_schema.matches(versions):
        raise RefusedError(
            f"the control schema {session.control} is of another version than this program",
            hint="where it is older, tidegate admin upgrade brings it up; else use the program that made it",
            reason="control_schema",
        )
    return Removal(session, seen.database, Extent.TARGET_HALF if versions.home is None else Extent.WHOLE)


async def _unhindered(session: Session, removal: Removal) -> Inventory:
    found = await removal.inventory()
    refused = objection(found, session.control)
    if refused is not None:
        raise RefusedError(refused.message, hint=refused.hint, reason=refused.reason)
    return found
