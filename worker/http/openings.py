"""For which requirements the gate of a target is open, and why not for the others."""

from worker.core.planning.readiness import AtLeast, NotReady, OfBundle, Readiness, Ready, Requirement, judge
from worker.core.status.snapshot import TargetStatus
from worker.core.value import dataclass

_BUNDLES = 6


@dataclass(frozen=True, slots=True)
class Opening:
    """A requirement, and why it is not met, None where it is; `own` is the worker's."""

    requirement: str
    why: str | None
    own: bool = False


def openings(status: TargetStatus, own: Requirement | None) -> tuple[Opening, ...]:
    """The worker's own requirement, the wanted bundle, other bundles that are served, and versions."""
    asked: dict[str, Requirement] = {}
    labels = [] if status.wanted is None else [status.wanted]
    for label in [*labels, *_served(status)]:
        asked.setdefault(str(OfBundle(label)), OfBundle(label))
    mine = () if own is None else (_opening(status, own, own=True),)
    others = [_opening(status, each) for text, each in asked.items() if own is None or text != str(own)]
    return (*mine, *others, *_versions(status))


def _opening(status: TargetStatus, requirement: Requirement, *, own: bool = False) -> Opening:
    verdict = judge(requirement, status.readiness, status.identity)
    return Opening(str(requirement), verdict.message if isinstance(verdict, NotReady) else None, own)


def _served(status: TargetStatus) -> tuple[str, ...]:
    """The newest of the bundles that the row states, the newest first where their order is known."""
    if status.readiness is None:
        return ()
    known = () if status.panorama is None else status.panorama.bundles
    places = {bundle.label: place for place, bundle in enumerate(known)}
    return tuple(sorted(status.readiness.bundles, key=lambda label: places.get(label, len(places))))[:_BUNDLES]


def _versions(status: TargetStatus) -> tuple[Opening, ...]:
    highest = None if status.readiness is None else _highest_open(status, status.readiness)
    if highest is None or status.readiness is None:
        return ()
    since = "" if status.readiness.serves is None else f"from {status.readiness.serves} "
    return (Opening(f"every applied version {since}up to {highest}", None),)


def _highest_open(status: TargetStatus, row: Readiness) -> int | None:
    versions = sorted({*row.versions, *row.deferred}, reverse=True)
    met = (version for version in versions if isinstance(judge(AtLeast(version), row, status.identity), Ready))
    return next(met, None)
