"""What is wanted on a line: the head among its published bundles, and what a publish makes of it.

An offer is automatic when a worker or `up` offers its own directory, and explicit when a person publishes. Automatic
offers only ever lead forward: they never bring back what was withdrawn or passed over, so that an older image
that starts during a rollback changes nothing.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import assert_never

from worker.core.bundles.bundle import Relation, derived_label, relation
from worker.core.value import dataclass


@dataclass(frozen=True, slots=True)
class Offer:
    """A bundle that somebody offers; `checksums` maps its versions to the checksums of their up files."""

    label: str
    digest: str
    checksums: Mapping[int, str | None]


@dataclass(frozen=True, slots=True)
class Published:
    """A bundle that was published on the line.

    `wanted_seq` grows whenever a bundle becomes wanted, and is None for one that never was. A label occurs once on
    a line, a digest as often as it has labels.
    """

    id: int
    label: str
    digest: str
    wanted_seq: int | None
    withdrawn: bool
    checksums: Mapping[int, str | None]


class Intent(Enum):
    """Whether a person asked for the bundle, or a process offers what it was built with."""

    AUTOMATIC = "automatic"
    EXPLICIT = "explicit"


@dataclass(frozen=True, slots=True)
class AlreadyWanted:
    """The offer is the wanted bundle: nothing to do."""

    bundle: Published


@dataclass(frozen=True, slots=True)
class KnownNowWanted:
    """The offer is a known bundle, which becomes wanted and is no longer withdrawn.

    `relation` is to the bundle that was wanted before, None where there was none.
    """

    bundle: Published
    relation: Relation | None


@dataclass(frozen=True, slots=True)
class New:
    """The offer is inserted and becomes wanted; `relation` as in `KnownNowWanted`."""

    relation: Relation | None


class KeptBecause(Enum):
    """Why an automatic offer changes nothing."""

    OLDER = "older"
    DIVERGED = "diverged"
    WITHDRAWN = "withdrawn"
    PASSED_OVER = "passed_over"


@dataclass(frozen=True, slots=True)
class Kept:
    """The offer is neither inserted nor made wanted; `wanted` stays so."""

    wanted: Published | None
    because: KeptBecause


@dataclass(frozen=True, slots=True)
class LabelTaken:
    """Refused: the label belongs to other content, whose digest this is."""

    label: str
    digest: str


PublishDecision = AlreadyWanted | KnownNowWanted | New | Kept | LabelTaken


def wanted(published: Sequence[Published]) -> Published | None:
    """Find the bundle that became wanted last and is not withdrawn."""
    return max((one for one in published if _may_be_wanted(one)), key=_recency, default=None)


def decide_publish(offer: Offer, published: Sequence[Published], intent: Intent) -> PublishDecision:
    """Decide what an offer changes on a line, given all that was published there."""
    head, known = wanted(published), _find(offer, published)
    if known is None and (holder := _holder(offer.label, published)) is not None:
        return LabelTaken(holder.label, holder.digest)
    if known is not None and known == head:
        return AlreadyWanted(known)
    match intent:
        case Intent.EXPLICIT:
            how = _relation(offer, head)
            return New(how) if known is None else KnownNowWanted(known, how)
        case Intent.AUTOMATIC:
            return _decide_automatic(offer, known, head, published)
        case _:
            assert_never(intent)


def _decide_automatic(
    offer: Offer, known: Published | None, head: Published | None, published: Sequence[Published]
) -> New | Kept:
    twins = [one for one in published if one.digest == offer.digest]
    if twins and all(one.withdrawn for one in ([known] if known else twins)):
        return Kept(head, KeptBecause.WITHDRAWN)
    how = _relation(offer, head)
    match how:
        case Relation.OLDER:
            return Kept(head, KeptBecause.OLDER)
        case Relation.DIVERGED:
            return Kept(head, KeptBecause.DIVERGED)
        case Relation.SAME if known is None:
            return New(how)
        case Relation.SAME | Relation.EXTENDS | None:
            return Kept(head, KeptBecause.PASSED_OVER) if twins else New(how)
        case _:
            assert_never(how)


def _find(offer: Offer, published: Sequence[Published]) -> Published | None:
    """Find the bundle that the offer is: the same content, and the same label unless nobody chose the offer's."""
    derived = offer.label == derived_label(offer.digest)
    same = [one for one in published if one.digest == offer.digest and (derived or one.label == offer.label)]
    return max(same, key=lambda one: (_may_be_wanted(one), _recency(one)), default=None)


def _holder(label: str, published: Sequence[Published]) -> Published | None:
    return next((one for one in published if one.label == label), None)


def _relation(offer: Offer, head: Published | None) -> Relation | None:
    return None if head is None else relation(offer.checksums, head.checksums)


def _may_be_wanted(one: Published) -> bool:
    return one.wanted_seq is not None and not one.withdrawn


def _recency(one: Published) -> tuple[int, int]:
    return (-1 if one.wanted_seq is None else one.wanted_seq, one.id)
