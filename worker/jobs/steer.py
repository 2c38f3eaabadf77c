"""What a person tells a target: retry, pause, resume, force, and withdraw for its line."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from worker import control_schema
from worker.core.bundle import Bundle
from worker.core.job import JobEvent
from worker.core.plan import Entry, Observed, VersionRow, entry_of
from worker.core.readiness import Readiness
from worker.errors import RefusedError, UsageError
from worker.jobs.execution import Statement
from worker.jobs.look import View, look
from worker.jobs.preflight import check_standing
from worker.jobs.site import Report, Result, Site
from worker.postgres.home_half import HomeHalf, Job, Row
from worker.postgres.lock import Held, Keys, hold, raise_fence
from worker.postgres.session import Session
from worker.postgres.target_half import Action, TargetHalf
from worker.postgres.transaction import fenced

EMPTY = -1
"""The version to force where nothing is applied; golang-migrate's word for it."""


async def retry(session: Session, site: Site) -> Job | None:
    """Let the workers try the wanted bundle's job again; returns it as it is now, None where there is none.

    Raises:
        RefusedError: There is no control schema.
    """
    view = await _known(session, site)
    if view.job is None:
        return None
    home = HomeHalf(session, view.line)
    job = await home.move_job(view.job, JobEvent.RETRY)
    await home.wake()
    return job


async def pause(session: Session, site: Site) -> None:
    """Let workers leave the target alone; what runs now goes on.

    Raises:
        RefusedError: There is no control schema.
    """
    view = await _known(session, site)
    home = HomeHalf(session, view.line)
    await home.ensure_target(view.survey.target.name)
    await home.set_paused(view.survey.target.name, paused=True)


async def resume(session: Session, site: Site) -> None:
    """Let workers have the target again, whether it was paused or pinned.

    Raises:
        RefusedError: There is no control schema.
        TimedOutError: It was pinned, and a command is still at it.
    """
    view = await _known(session, site)
    home = HomeHalf(session, view.line)
    await home.set_paused(view.survey.target.name, paused=False)
    if view.observation.pinned is not None:
        async with _holding(session, site, view) as held, fenced(held, "resuming the target"):
            await TargetHalf(held.session, held.target).pin(held, None)
    await home.wake()


async def withdraw(session: Session, site: Site, label: str) -> Row | None:
    """Take a bundle of the target's line back; returns what is wanted then. No SQL of it is run or undone.

    Raises:
        RefusedError: There is no control schema, or no such bundle that is not withdrawn already.
    """
    view = await _known(session, site)
    if not await HomeHalf(session, view.line).withdraw(label):
        raise RefusedError(
            f"the line {view.line} has no bundle {label} to withdraw",
            hint="tidegate bundle list shows the bundles and which of them are withdrawn",
            reason="label",
        )
    return (await look(session, site)).wanted


async def force(session: Session, site: Site, version: int, bundle: Bundle | None = None) -> Report:
    """Say which version the schema is at, `EMPTY` for none, and pin the target; the schema itself is not touched.

    In one transaction the version table says so and is clean, the ledger forgets what is above, the versions up to it
    of `bundle` (else of the wanted one) that it lacks are recorded as forced, the journal is cleared, readiness is
    stated anew, and the job may be tried again.

    Raises:
        UsageError: The version is below -1.
        RefusedError: A privilege is missing.
        TimedOutError: The lock was not free in time.
        FencedError: Another worker has taken the target over.
    """
    if version < EMPTY:
        raise UsageError(f"force got {version}; it takes a version, or -1 for none", hint="tidegate history lists them")
    view = await look(session, site, bundle)
    check_standing(view.survey.standing)
    if not view.has_control:
        await control_schema.ensure(session, site.limits, site.readers)
    async with _holding(session, site, view) as held:
        view = await look(session, site, bundle)
        if not view.survey.has_table:
            await TargetHalf(held.session, held.target).ensure_version_table()
        readiness = await _force(held, site, view, None if version == EMPTY else version, bundle)
    label = None if view.wanted is None else view.wanted.published.label
    highest = readiness.versions[-1] if readiness.versions else None
    return Report(Result.APPLIED, view.survey.target, label, version=highest, readiness=readiness)


@asynccontextmanager
async def _holding(session: Session, site: Site, view: View) -> AsyncIterator[Held]:
    keys = Keys.of_target(view.survey.target, view.survey.database)
    async with hold(session, keys, site.limits.advisory_timeout) as waited:
        yield await raise_fence(session, keys, view.survey.target, waited)


async def _force(held: Held, site: Site, view: View, version: int | None, given: Bundle | None) -> Readiness:
    half, home = TargetHalf(held.session, held.target), HomeHalf(held.session, view.line)
    bundle = given or (None if view.wanted is None else await home.load(view.wanted))
    statement = Statement(held, site, view, await home.bundles())
    observed = view.observation.observed
    new = _implied(observed, version, bundle)
    async with fenced(held, "forcing the version"):
        await half.force(held, version)
        await half.adopt(held, new, "" if bundle is None else bundle.label, Action.FORCE)
        await half.pin(held, "force")
        row, _ = await statement.write(_forced(observed, version, new))
        if view.job is not None:
            await home.move_job(view.job, JobEvent.RETRY, epoch=held.epoch)
    statement.tell(row, None)
    return row


def _implied(observed: Observed, version: int | None, bundle: Bundle | None) -> tuple[Entry, ...]:
    """The versions up to the forced one that the ledger lacks."""
    if version is None:
        return ()
    known = observed.versions
    entries = [] if bundle is None else [entry_of(m) for m in bundle.migrations if m.version <= version]
    new = [entry for entry in entries if entry.version not in known]
    if version not in known | {entry.version for entry in new}:
        new.append(Entry(version, "", None))
    return tuple(new)


def _forced(observed: Observed, version: int | None, new: tuple[Entry, ...]) -> Observed:
    if version is None:
        return replace(observed, ledger=(), recorded=None, progress=None)
    kept = [entry for entry in observed.ledger if entry.version <= version]
    ledger = tuple(sorted((*kept, *new), key=lambda entry: entry.version))
    return replace(observed, ledger=ledger, recorded=VersionRow(version, dirty=False), progress=None)


async def _known(session: Session, site: Site) -> View:
    view = await look(session, site)
    if not view.has_control:
        raise RefusedError(
            f"the control schema {session.control} is not in this database, or older than this program",
            hint="tidegate up or tidegate publish creates and upgrades it; TIDEGATE_SCHEMA names it",
            reason="control_schema",
        )
    return view
