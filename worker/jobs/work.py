"""Gathers what a plan needs, and has the core plan: the same for what is shown as for what is done."""

from collections.abc import Mapping
from dataclasses import dataclass

from worker.core.bundle import Bundle
from worker.core.lender import lender
from worker.core.plan import Borrowed, Entry, Goal, Plan
from worker.core.planner import lacking, plan
from worker.errors import RefusedError
from worker.jobs.look import View, order_of
from worker.jobs.site import Site
from worker.postgres.home_half import HomeHalf, Row
from worker.postgres.session import Session
from worker.postgres.target_half import TargetHalf


@dataclass(frozen=True, slots=True)
class Work:
    """A plan, and the bundle that it was made with."""

    bundle: Bundle
    plan: Plan


async def work_out(session: Session, site: Site, view: View, bundle: Bundle, goal: Goal) -> Work:
    """Plan with the bundle at hand, and with published ones where it lacks what the goal undoes.

    Raises:
        RefusedError: The stored files of a published bundle are not those that were published.
    """
    borrowed = await _borrowed(session, view, bundle, goal)
    return Work(bundle, plan(bundle, view.observation.observed, order_of(site, bundle), goal, borrowed))


async def at_hand(session: Session, view: View, given: Bundle | None) -> Bundle | None:
    """The given bundle, else the wanted one, else none."""
    if given is not None or view.wanted is None:
        return given
    return await HomeHalf(session, view.line).load(view.wanted)


async def required_at_hand(session: Session, view: View, given: Bundle | None) -> Bundle:
    """The given bundle, else the wanted one.

    Raises:
        RefusedError: There is neither.
    """
    bundle = await at_hand(session, view, given)
    if bundle is None:
        raise RefusedError(
            "no bundle is published, and no directory was given", hint="say --source DIR", reason="no_version"
        )
    return bundle


async def _borrowed(session: Session, view: View, bundle: Bundle, goal: Goal) -> Mapping[int, Borrowed]:
    missing = lacking(bundle, view.observation.observed, goal)
    if not missing or not view.has_control:
        return {}
    home = HomeHalf(session, view.line)
    lenders = await _lenders(session, view, missing, await home.bundles())
    read = {row.published.id: await home.load(row) for row in lenders.values()}
    lent = {version: (row.published, read[row.published.id].get(version)) for version, row in lenders.items()}
    return {version: Borrowed(found, one.label) for version, (one, found) in lent.items() if found is not None}


async def _lenders(session: Session, view: View, missing: tuple[Entry, ...], rows: tuple[Row, ...]) -> dict[int, Row]:
    recorded = await TargetHalf(session, view.survey.target).recorded_from()
    by_id, published = {row.published.id: row for row in rows}, [row.published for row in rows]
    found = {entry.version: lender(entry, recorded.get(entry.version), published) for entry in missing}
    return {version: by_id[one.id] for version, one in found.items() if one is not None}
