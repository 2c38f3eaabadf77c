"""Looks at a target without a lock: enough to say that there is nothing to do, or to show it to a person."""

from dataclasses import dataclass, replace

from worker import control_schema
from worker.core.bundle import Bundle, OrderPolicy
from worker.core.plan import UpToDate, plan
from worker.core.readiness import VersionTable
from worker.errors import RefusedError
from worker.jobs.site import LATEST, Rivals, Site
from worker.postgres.home_half import HomeHalf, Job, Row, TargetRow
from worker.postgres.session import Session
from worker.postgres.target_half import Observation, Survey, TargetHalf, survey


@dataclass(frozen=True, slots=True)
class View:
    """A target as it was seen; `rows` are the line's bundles, `job` is the wanted bundle's."""

    survey: Survey
    has_control: bool
    line: str
    observation: Observation
    wanted: Row | None
    target: TargetRow | None
    job: Job | None

    @property
    def paused(self) -> str | None:
        """Why workers leave the target alone, if they do."""
        if self.observation.pinned is not None:
            return f"pinned by {self.observation.pinned}"
        if self.target is not None and self.target.paused_at is not None:
            return f"paused by {self.target.paused_by}"
        return None


async def look(session: Session, site: Site, offer: Bundle | None = None) -> View:
    """Read the target, its line's wanted bundle and its job; creates nothing.

    Raises:
        RefusedError: The session has no schema for the version table, or the target follows another line.
    """
    seen = await survey(session, site.schema, site.table)
    has_control = seen.has_control and await control_schema.is_current(session)
    observation = await observe(session, seen, site, has_control=has_control)
    if not has_control:
        return View(seen, False, _line(site, seen, offer), observation, None, None, None)  # noqa: FBT003  a field's value
    target = await HomeHalf(session, "").target(seen.target.name)
    line = _followed(site, seen, offer, target)
    home = HomeHalf(session, line)
    wanted = await home.wanted()
    job = None if wanted is None else await home.job(seen.target.name, wanted.published.id)
    return View(seen, True, line, observation, wanted, target, job)  # noqa: FBT003  a field's value


async def observe(session: Session, seen: Survey, site: Site, *, has_control: bool) -> Observation:
    """Read the target half, and other golang-migrate tables where the chosen one has no version."""
    half = TargetHalf(session, seen.target)
    observation = await (
        half.observe(has_table=seen.has_table) if has_control else half.observe_version(has_table=seen.has_table)
    )
    observed = observation.observed
    if observed.recorded is not None or observed.ledger or site.rivals is Rivals.IGNORE:
        return observation
    rivals = await half.rivals(has_control=has_control)
    return replace(observation, observed=replace(observed, rivals=rivals))


def order_of(site: Site, bundle: Bundle) -> OrderPolicy:
    """The order policy in force: the setting's, else the bundle's, else `error`."""
    return site.order or bundle.manifest.order or OrderPolicy.ERROR


def is_settled(view: View, bundle: Bundle, order: OrderPolicy) -> bool:
    """Tell from an unlocked read that there is nothing to do and that the readiness row is right."""
    row, wanted = view.observation.readiness, view.wanted
    if (
        row is None
        or wanted is None
        or not isinstance(plan(bundle, view.observation.observed, order, LATEST), UpToDate)
    ):
        return False
    return (
        row.bundle == wanted.published.label
        and row.identity == view.survey.identity
        and row.version_table is VersionTable.CLEAN
        and row.versions == tuple(entry.version for entry in view.observation.observed.ledger)
    )


def _line(site: Site, seen: Survey, offer: Bundle | None) -> str:
    return site.line or (None if offer is None else offer.manifest.line) or seen.target.table


def _followed(site: Site, seen: Survey, offer: Bundle | None, target: TargetRow | None) -> str:
    """The line that the target follows; what the settings or the offered bundle say must agree with it."""
    said = site.line or (None if offer is None else offer.manifest.line)
    if target is None:
        return _line(site, seen, offer)
    if said is not None and said != target.line:
        raise RefusedError(
            f"the target {seen.target.name} follows the line {target.line}, not {said}",
            hint=f"publish to {target.line}, or give the other application a version table of its own",
            reason="line",
        )
    return target.line
