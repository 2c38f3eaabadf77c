"""Gathers what a plan needs, and has the core plan: the same for what is shown as for what is done."""

from collections.abc import Mapping

from worker.core.bundles.bundle import Bundle
from worker.core.checks.findings import either
from worker.core.planning.lender import lenders
from worker.core.planning.plan import Borrowed, Entry, Goal, Plan
from worker.core.planning.planner import lacking, plan
from worker.core.value import dataclass
from worker.errors import RefusedError
from worker.jobs.look import View, order_of
from worker.jobs.published import load
from worker.jobs.site import Site
from worker.postgres.home_half import HomeHalf, Row
from worker.postgres.session import Session
from worker.postgres.target_half import TargetHalf


@dataclass(frozen=True, slots=True)
class Work:
    """A plan, the bundle that it was made with, and those that lend what is undone."""

    bundle: Bundle
    plan: Plan
    lent: tuple[Bundle, ...] = ()


async def work_out(session: Session, site: Site, view: View, bundle: Bundle, goal: Goal) -> Work:
    """Plan with the bundle at hand, and with published ones where it lacks what the goal undoes.

    Raises:
        RefusedError: The stored files of a published bundle are not those that were published, or not trusted.
    """
    borrowed, lent = await _borrowed(session, site, view, bundle, goal)
    return Work(bundle, plan(bundle, view.observation.observed, order_of(site, bundle), goal, borrowed), lent)


async def at_hand(session: Session, site: Site, view: View, given: Bundle | None) -> Bundle | None:
    """The given bundle, else the wanted one, else none."""
    if given is not None or view.wanted is None:
        return given
    return await load(session, site, view, view.wanted)


async def required_at_hand(session: Session, site: Site, view: View, given: Bundle | None) -> Bundle:
    """The given bundle, else the wanted one.

    Raises:
        RefusedError: There is neither.
    """
    bundle = await at_hand(session, site, view, given)
    if bundle is None:
        raise empty_handed(view)
    return bundle


def empty_handed(view: View) -> RefusedError:
    """The error of what cannot be planned: there is no bundle to do it with."""
    where = "" if view.elsewhere is None else " here, where a fleet's target has none"
    hint = either("say --source DIR", view.elsewhere or "")
    return RefusedError(f"no bundle is published{where}, and no directory was given", hint=hint, reason="no_version")


async def _borrowed(
    session: Session, site: Site, view: View, bundle: Bundle, goal: Goal
) -> tuple[Mapping[int, Borrowed], tuple[Bundle, ...]]:
    missing = lacking(bundle, view.observation.observed, goal)
    if not missing or not view.has_home:
        return {}, ()
    rows = await HomeHalf(session, view.line).bundles()
    recorded = await TargetHalf(session, view.survey.target).recorded_from()
    library = _Library(session, site, view, rows)
    lent = {entry.version: await library.lend(entry, recorded.get(entry.version)) for entry in missing}
    found = {version: (one, one.get(version)) for version, one in lent.items() if one is not None}
    borrowed = {version: Borrowed(it, one.label) for version, (one, it) in found.items() if it is not None}
    return borrowed, tuple(library.read.values())


class _Library:
    """The bundles of a line, each read once, when it is first borrowed from."""

    def __init__(self, session: Session, site: Site, view: View, rows: tuple[Row, ...]) -> None:
        self._session = session
        self._site = site
        self._view = view
        self._rows = {row.published.id: row for row in rows}
        self.read: dict[int, Bundle] = {}

    async def lend(self, entry: Entry, recorded: str | None) -> Bundle | None:
        """The best bundle that is trusted: a forged row must not keep a person from going back.

        Raises:
            RefusedError: There are some, and none is trusted; says why the best one is not.
        """
        refused: RefusedError | None = None
        for one in lenders(entry, recorded, [row.published for row in self._rows.values()]):
            try:
                return await self._load(one.id)
            except RefusedError as error:
                if error.reason != "untrusted":
                    raise
                refused = refused or error
        if refused is not None:
            raise refused
        return None

    async def _load(self, row_id: int) -> Bundle:
        if row_id not in self.read:
            self.read[row_id] = await load(self._session, self._site, self._view, self._rows[row_id])
        return self.read[row_id]
