"""Looks at a target without a lock: enough to say that there is nothing to do, or to show it to a person."""

from enum import Enum
from typing import TYPE_CHECKING

from worker import control_schema
from worker.core.bundles.bundle import Bundle, OrderPolicy
from worker.core.bundles.wanted import AlreadyWanted, Intent, Offer, decide_publish
from worker.core.value import dataclass, replace
from worker.errors import RefusedError, TimedOutError
from worker.jobs.preflight import check_sight
from worker.jobs.site import Drift, Rivals, Site
from worker.postgres.advisory import Keys
from worker.postgres.faults import credible
from worker.postgres.home_half import Row, TargetRow
from worker.postgres.job_row import Job
from worker.postgres.lock import hold
from worker.postgres.session import Session
from worker.postgres.sight import Sight, see, see_first
from worker.postgres.survey import Survey, survey, survey_of, survey_sql
from worker.postgres.target_half import Observation, TargetHalf

if TYPE_CHECKING:
    from worker.core.status.fingerprint import State


class Control(Enum):
    """The control schema beside this program's: not there or half made, to be upgraded before a write, or as new.

    Where the home half is lacking, a fleet made the target half, and bundles are published in another database.
    """

    ABSENT = "absent"
    WITHOUT_HOME = "without_home"
    OLDER = "older"
    CURRENT = "current"


@dataclass(frozen=True, slots=True)
class View:
    """A target as it was seen; `wanted` is the line's wanted bundle, `job` the target's job for it.

    Where the control schema is absent, only the version table was read.
    """

    survey: Survey
    control: Control
    line: str
    observation: Observation
    wanted: Row | None = None
    target: TargetRow | None = None
    job: Job | None = None
    is_first: bool = False
    """Whether there was nothing yet but the wanted bundle: no other one, no target, no fingerprint."""

    @property
    def has_control(self) -> bool:
        """Whether there is a control schema to read."""
        return self.control is not Control.ABSENT

    @property
    def has_home(self) -> bool:
        """Whether there is a home half to read."""
        return self.control not in {Control.ABSENT, Control.WITHOUT_HOME}

    @property
    def elsewhere(self) -> str | None:
        """How to ask for what is wanted, and to tell, where that is done at a fleet's home half in another database."""
        if self.control is not Control.WITHOUT_HOME:
            return None
        return f"say --fleet FILE, and for this one --target {self.survey.database}/{self.survey.target.name}"

    @property
    def pinned(self) -> str | None:
        """What pinned the target, if it still counts: a person's later publish lets it go."""
        pinned_at, wanted = self.observation.pinned_at, self.wanted
        if pinned_at is None or (
            wanted is not None
            and wanted.intent is Intent.EXPLICIT
            and wanted.wanted_at is not None
            and wanted.wanted_at > pinned_at
        ):
            return None
        return self.observation.pinned

    @property
    def paused(self) -> str | None:
        """Why workers leave the target alone, if they do."""
        if self.pinned is not None:
            return f"pinned by {self.pinned}"
        if self.target is not None and self.target.paused_at is not None:
            return f"paused by {self.target.paused_by}"
        return None


async def look(session: Session, site: Site, offer: Bundle | None = None) -> View:
    """Read the target, its line's wanted bundle and its job, in two queries; creates nothing.

    Raises:
        RefusedError: The session has no schema for the version table, or the target follows another line; or a
            privilege is missing.
    """
    seen = await survey(session, site.schema, site.table)
    check_sight(seen.standing)
    said = site.line or (None if offer is None else offer.manifest.line)
    line = said or seen.target.table
    name, sight = site.home_name(seen.target), None
    if seen.has_control:
        sight = await see(session, seen, line, name)
    if sight is None or sight.versions.target is None:
        observation = await TargetHalf(session, seen.target).observe_version(has_table=seen.has_table)
        observation = await _with_rivals(session, seen, site, observation, has_control=False)
        return View(seen, Control.ABSENT, line, observation)
    observation = await _with_rivals(session, seen, site, sight.observation, has_control=True)
    followed = line if sight.target is None else _followed(seen, said, sight.target)
    return View(seen, _control(session, sight), followed, observation, sight.wanted, sight.target, sight.job)


def _control(session: Session, sight: Sight) -> Control:
    if control_schema.covers(session, sight.versions):
        return Control.CURRENT
    # Upgrades are additive within a major version: an older one says all that a decision needs.
    is_without = session.home is None and sight.versions.home is None
    return Control.WITHOUT_HOME if is_without else Control.OLDER


async def glance(session: Session, site: Site, before: View) -> View | None:
    """Read again in one query what a decision needs, on the connection of `before`; None where that does not do.

    What the role may, and who else could interfere, is taken to be as it was.

    Raises:
        ConnectionLostError: The connection broke.
    """
    sight = await _glanced(session, site, before, "")
    return None if sight is None else _renewed(before, sight)


async def glance_whole(session: Session, site: Site, before: View) -> View | None:
    """The same, and in the same query what the role may and who else could interfere.

    Raises:
        ConnectionLostError: The connection broke.
        RefusedError: The session has no schema for the version table any more; or a privilege is missing.
    """
    sight = await _glanced(session, site, before, survey_sql(session, site.schema, site.table))
    if sight is None:
        return None
    seen, was = await survey_of(session, sight.row, site.table), before.survey
    check_sight(seen.standing)
    is_alike = replace(seen, standing=was.standing) == was
    return replace(_renewed(before, sight), survey=seen) if is_alike else None


async def glance_for_work(session: Session, site: Site, before: View) -> "tuple[View, State | None] | None":
    """The same as `glance`, and in the same query how the catalogue stands to its fingerprint, if a job asks for that.

    Raises:
        ConnectionLostError: The connection broke.
    """
    if site.drift is not Drift.FOUND:
        view = await glance(session, site, before)
        return None if view is None else (view, None)
    from worker.postgres.catalogue import state_of, state_sql  # noqa: PLC0415  only where there is something to do

    try:
        sight = await _glanced(session, site, before, state_sql(session.control))
    except TimedOutError:
        # Somebody holds the fingerprint's tables: a job can do without.
        return None
    if sight is None:
        return None
    with credible("fingerprint"):
        return _renewed(before, sight), state_of(sight.row)


async def _glanced(session: Session, site: Site, before: View, besides: str) -> Sight | None:
    seen = before.survey
    try:
        sight = await see(session, seen, before.line, site.home_name(seen.target), besides=besides)
    except RefusedError:
        return None
    return sight if sight is not None and _is_alike(session, sight, before) else None


def _renewed(before: View, sight: Sight) -> View:
    return replace(before, observation=sight.observation, wanted=sight.wanted, target=sight.target, job=sight.job)


async def glance_first(session: Session, before: View) -> View | None:
    """Read again in one query where there was no control schema in `before`; None where that does not do.

    Who made it was looked at, or it was made here. Other version tables are taken to be as they were.

    Raises:
        ConnectionLostError: The connection broke.
    """
    if before.survey.has_control or before.survey.has_table or session.home is not None:
        return None
    try:
        sight = await see_first(session, before.survey, before.line)
    except RefusedError:
        return None
    if sight is None or not control_schema.covers(session, sight.versions):
        return None
    rivals = before.observation.observed.rivals
    observation = replace(sight.observation, observed=replace(sight.observation.observed, rivals=rivals))
    return replace(before, control=Control.CURRENT, observation=observation, wanted=sight.wanted, is_first=True)


def _is_alike(session: Session, sight: Sight, before: View) -> bool:
    """Tell that what a glance leaves out is of no other meaning now."""
    observed = sight.observation.observed
    # Where nothing is recorded, other version tables count too, and they are not read here.
    is_recorded = observed.recorded is not None or bool(observed.ledger)
    follows = before.line if sight.target is None else sight.target.line
    return is_recorded and follows == before.line and _control(session, sight) is before.control


async def look_settled(session: Session, site: Site, offer: Bundle | None = None) -> View:
    """Look; where another program's dirt is seen, wait for the lock and look again under it.

    A golang-migrate marks a version as dirty while it runs it: that the run failed is known only once it let go.

    Raises:
        TimedOutError: The lock was not free in time; says who holds it.
    """
    view = await look(session, site, offer)
    observed = view.observation.observed
    if observed.is_ours or observed.recorded is None or not observed.recorded.dirty:
        return view
    async with hold(session, Keys.of_target(view.survey.target, view.survey.database), site.limits.advisory_timeout):
        return await look(session, site, offer)


async def _with_rivals(
    session: Session, seen: Survey, site: Site, observation: Observation, *, has_control: bool
) -> Observation:
    """Look for other golang-migrate tables where the chosen one has no version."""
    observed = observation.observed
    if observed.recorded is not None or observed.ledger or site.rivals is Rivals.IGNORE:
        return observation
    rivals = await TargetHalf(session, seen.target).rivals(has_control=has_control)
    return replace(observation, observed=replace(observed, rivals=rivals))


def _followed(seen: Survey, said: str | None, target: TargetRow) -> str:
    """The line that the target follows; what the settings or the offered bundle say must agree with it."""
    if said is not None and said != target.line:
        raise RefusedError(
            f"the target {seen.target.name} follows the line {target.line}, not {said}",
            hint=f"publish to {target.line}, or give the other application a version table of its own",
            reason="line",
        )
    return target.line


def is_wanted(view: View, bundle: Bundle) -> bool:
    """Tell whether a bundle is the one that is wanted already, so that publishing it would change nothing."""
    if view.wanted is None:
        return False
    offer = Offer(bundle.label, bundle.digest, bundle.checksums)
    return isinstance(decide_publish(offer, (view.wanted.published,), Intent.AUTOMATIC), AlreadyWanted)


def order_of(site: Site, bundle: Bundle) -> OrderPolicy:
    """The order policy in force: the setting's, else the bundle's, else `error`."""
    return site.order or bundle.manifest.order or OrderPolicy.ERROR
