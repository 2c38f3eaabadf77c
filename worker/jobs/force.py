"""Force: a person says which version the schema is at."""

from dataclasses import replace

from worker.core.bundles.bundle import Bundle
from worker.core.planning.plan import Entry, Observed, VersionRow, entry_of
from worker.errors import UsageError
from worker.jobs.amend import amending, current, holding
from worker.jobs.look import look
from worker.jobs.site import Report, Result, Site
from worker.jobs.work import at_hand
from worker.postgres.session import Session
from worker.postgres.target_half import Action, TargetHalf

EMPTY = -1
"""The version to force where nothing is applied; golang-migrate's word for it."""


async def force(session: Session, site: Site, version: int, given: Bundle | None = None) -> Report:
    """Say which version the schema is at, `EMPTY` for none, and pin the target; the schema itself is not touched.

    In one transaction the version table says so and is clean, the ledger forgets what is above, the versions up to it
    of the bundle at hand that it lacks are recorded as forced, the journal is cleared, readiness is stated anew, and
    the job may be tried again.

    Raises:
        UsageError: The version is below -1.
        RefusedError: A privilege is missing.
        TimedOutError: The lock was not free in time.
        FencedError: Another worker has taken the target over.
    """
    if version < EMPTY:
        raise UsageError(f"force got {version}; it takes a version, or -1 for none", hint="tidegate history lists them")
    view = await current(session, site, await look(session, site, given), given)
    async with holding(session, site, view) as held:
        view = await look(session, site, given)
        if not view.survey.has_table:
            await TargetHalf(held.session, held.target).ensure_version_table()
        bundle, said = await at_hand(held.session, site, view, given), None if version == EMPTY else version
        new = _implied(view.observation.observed, said, bundle)
        then = _forced(view.observation.observed, said, new)
        async with amending(held, site, view, "forcing the version", then) as half:
            await half.force(held, said)
            await half.adopt(held, new, "" if bundle is None else bundle.label, Action.FORCE)
            await half.pin(held, "force")
    label = None if view.wanted is None else view.wanted.published.label
    return Report(Result.APPLIED, view.survey.target, label, version=then.highest)


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
