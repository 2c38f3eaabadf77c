"""Publishes a bundle, after a look at whether it can be applied at all; what is refused changes nothing."""

from collections.abc import Iterable
from functools import partial

from worker.core.bundles.bundle import Bundle, Relation
from worker.core.bundles.migration import Direction, Migration
from worker.core.bundles.wanted import (
    AlreadyWanted,
    Intent,
    Kept,
    KeptBecause,
    KnownNowWanted,
    LabelTaken,
    New,
    PublishDecision,
)
from worker.core.events.events import BundleKept, BundleOffered, BundlePublished
from worker.core.planning.plan import Effect, Pending, Refused, Run, UpToDate
from worker.core.planning.planner import plan
from worker.core.target import Target
from worker.errors import RefusedError
from worker.jobs.control import have_control
from worker.jobs.look import Control, View, is_wanted, order_of
from worker.jobs.preflight import check_publisher
from worker.jobs.published import place_of
from worker.jobs.site import LATEST, Site
from worker.postgres.home_half import HomeHalf
from worker.postgres.session import Session


async def publish(session: Session, site: Site, view: View, bundle: Bundle, intent: Intent) -> PublishDecision:
    """Publish a bundle on the target's line; one that is wanted already is found so without a write.

    Raises:
        RefusedError: It cannot be applied to this target, or its label belongs to other content.
        BundleError: A file that is pending cannot be run as SQL.
    """
    return await _Publishing(session, site, view, bundle, intent).publish()


async def publish_first(session: Session, site: Site, view: View, bundle: Bundle, intent: Intent) -> bool:
    """Publish in the transaction that makes the control schema; false where somebody else had made it, or in part.

    Then nothing was published, and the control schema is there.

    Raises:
        RefusedError: It cannot be applied to this target.
        BundleError: A file that is pending cannot be run as SQL.
    """
    return await _Publishing(session, site, view, bundle, intent).publish_first()


class _Publishing:
    """A bundle on its way to the target's line; it is checked once, and before anything is made or published."""

    def __init__(self, session: Session, site: Site, view: View, bundle: Bundle, intent: Intent) -> None:
        self._session = session
        self._site = site
        self._view = view
        self._bundle = bundle
        self._intent = intent
        self._home = HomeHalf(session, view.line)
        self._is_checked = False
        self._goes_along = False

    async def publish(self) -> PublishDecision:
        view, bundle = self._view, self._bundle
        renews = self._intent is Intent.EXPLICIT and bundle.seal is not None
        if view.wanted is not None and is_wanted(view, bundle) and not renews:
            decision: PublishDecision = AlreadyWanted(view.wanted.published)
        elif view.control is not Control.CURRENT and await self._made():
            decision = New(None)
        else:
            self._check()
            may = partial(self._site.trust.check_publishing, bundle)
            decision = await self._home.publish(bundle, self._intent, may)
        _tell(self._session, view.line, bundle, decision)
        if isinstance(decision, LabelTaken):
            raise _taken(decision)
        return decision

    async def publish_first(self) -> bool:
        is_published = await self._made()
        if is_published:
            _tell(self._session, self._view.line, self._bundle, New(None))
        return is_published

    async def _made(self) -> bool:
        """Have a current control schema; tells whether the bundle was published in the transaction that made it."""
        session, site, view = self._session, self._site, self._view
        check_publisher(view.survey.standing)
        if view.survey.has_control or session.home is not None:
            self._check()
            await have_control(session, site, view, self._bundle)
            return False
        return await have_control(session, site, view, self._bundle, self._first_sql) and self._goes_along

    def _first_sql(self) -> tuple[str, ...]:
        self._check()
        self._site.trust.check_publishing(self._bundle)
        sql = self._home.first_sql(self._bundle, self._intent)
        self._goes_along = bool(sql)
        return sql

    def _check(self) -> None:
        """Refuse to publish what would be refused where it is to be applied."""
        if self._is_checked:
            return
        bundle, view, trust = self._bundle, self._view, self._site.trust
        check(bundle, view, self._site)
        trust.check_files(bundle.files, bundle.seal, f"bundle {bundle.label}")
        trust.check_line(view.line, view.survey.target.table)
        trust.check_place(bundle, place_of(view))
        self._is_checked = True


async def publish_to_line(session: Session, site: Site, line: str, bundle: Bundle, intent: Intent) -> PublishDecision:
    """Publish a bundle on a line that many targets follow; whether it can be applied is found out at each of them.

    Raises:
        RefusedError: Its label belongs to other content, or it is not trusted.
    """
    site.trust.check_files(bundle.files, bundle.seal, f"bundle {bundle.label}")
    site.trust.check_line(line, line)
    decision = await HomeHalf(session, line).publish(bundle, intent, partial(site.trust.check_publishing, bundle))
    _tell(session, line, bundle, decision)
    if isinstance(decision, LabelTaken):
        raise _taken(decision)
    return decision


def _taken(decision: LabelTaken) -> RefusedError:
    return RefusedError(
        f"the label {decision.label} was published before with other content (digest {decision.digest[:12]})",
        hint="content under a label never changes: choose another label",
        reason="label",
    )


def check(bundle: Bundle, view: View, site: Site) -> tuple[Effect, ...]:
    """What the bundle would do to the target as it was seen.

    Raises:
        RefusedError: Nothing may be done with it, and why.
        BundleError: A file that is pending cannot be run as SQL.
    """
    decided = plan(bundle, view.observation.observed, order_of(site, bundle), LATEST)
    match decided:
        case Refused():
            raise refused(decided, view.survey.target)
        case UpToDate():
            return ()
        case Pending(effects):
            check_scripts(effects)
            return effects


def check_scripts(effects: tuple[Effect, ...]) -> None:
    """Classify every script that is to be run, so that a bad one is found before the first one runs."""
    _classify((effect.migration, effect.direction) for effect in effects if isinstance(effect, Run))


def check_every_script(bundle: Bundle) -> None:
    """Classify every up script: a fleet's next target may have to run all of them."""
    _classify((migration, Direction.UP) for migration in bundle.migrations)


def _classify(scripts: Iterable[tuple[Migration, Direction]]) -> None:
    from worker.applier.run import read  # noqa: PLC0415  slow to load, and needed only where something is to be run

    for migration, direction in scripts:
        read(migration, direction)


def refused(decision: Refused, target: Target) -> RefusedError:
    """The error of a plan that refuses; names the target, and so its version table."""
    return RefusedError(f"{target.name}: {decision.message}", hint=decision.hint, reason=decision.reason)


def _tell(session: Session, line: str, bundle: Bundle, decision: PublishDecision) -> None:
    match decision:
        case New() | KnownNowWanted():
            session.emit(BundlePublished(bundle.label, bundle.digest, line))
        case AlreadyWanted():
            return
        case Kept(wanted, KeptBecause.OLDER) if wanted is not None:
            session.emit(BundleOffered(bundle.label, bundle.digest, f"older than {wanted.label}, which stays wanted"))
        case Kept(wanted, because):
            session.emit(BundleKept(bundle.label, "nothing" if wanted is None else wanted.label, because.value))
        case LabelTaken():
            session.emit(BundleKept(bundle.label, bundle.label, Relation.DIVERGED.value))
