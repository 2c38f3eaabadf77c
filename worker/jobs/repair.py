"""Repair: a person accepts files that were rewritten in place after they had been applied."""

from collections.abc import Iterable

from worker.core.bundles.bundle import Bundle
from worker.core.planning.content import Rewritten, accepted, rewritten
from worker.core.planning.plan import Refused
from worker.core.target import Target
from worker.core.value import dataclass
from worker.jobs.amend import amending, current, holding
from worker.jobs.look import View, look
from worker.jobs.offer import refused
from worker.jobs.site import Site
from worker.jobs.work import required_at_hand
from worker.postgres.session import Session


@dataclass(frozen=True, slots=True)
class Repaired:
    """The target, the bundle at hand, what was accepted of it, what still differs, and whether another one is wanted.

    `wanted` is the label of the wanted bundle where that has an accepted file as it was before.
    """

    target: Target
    bundle: str
    differs: tuple[Rewritten, ...]
    accepted: tuple[Rewritten, ...] = ()
    wanted: str | None = None


async def compare(session: Session, site: Site, given: Bundle | None = None) -> Repaired:
    """List the applied versions whose file in the bundle at hand is not what was applied; writes nothing.

    Raises:
        RefusedError: There is no bundle.
    """
    view = await look(session, site, given)
    bundle = await required_at_hand(session, site, view, given)
    return Repaired(view.survey.target, bundle.label, rewritten(bundle, view.observation.observed))


async def repair(
    session: Session, site: Site, versions: Iterable[int], why: str, given: Bundle | None = None
) -> Repaired:
    """Record the checksums of these versions' files as they are now, with who and why, in one transaction.

    Raises:
        RefusedError: One of the versions is not applied, not in the bundle, or does not differ; nothing was changed.
        TimedOutError: The lock was not free in time.
        FencedError: Another worker has taken the target over.
    """
    wanted = tuple(versions)
    view = await look(session, site, given)
    _decide(view, await required_at_hand(session, site, view, given), wanted)
    view = await current(session, site, view, given)
    async with holding(session, site, view) as held:
        view = await look(session, site, given)
        bundle = await required_at_hand(held.session, site, view, given)
        decided = _decide(view, bundle, wanted)
        async with amending(held, site, view, "accepting files", view.observation.observed) as half:
            await half.accept(held, {one.version: one.present for one in decided}, bundle.label, why)
    left = tuple(one for one in rewritten(bundle, view.observation.observed) if one not in decided)
    return Repaired(view.survey.target, bundle.label, left, decided, _contradicted(view, decided))


def _decide(view: View, bundle: Bundle, versions: tuple[int, ...]) -> tuple[Rewritten, ...]:
    decided = accepted(bundle, view.observation.observed, versions)
    if isinstance(decided, Refused):
        raise refused(decided, view.survey.target)
    return decided


def _contradicted(view: View, decided: tuple[Rewritten, ...]) -> str | None:
    """The wanted bundle's label, if it has another file of an accepted version."""
    if view.wanted is None:
        return None
    checksums = view.wanted.published.checksums
    is_so = any(checksums.get(one.version) not in {None, one.present} for one in decided)
    return view.wanted.published.label if is_so else None
