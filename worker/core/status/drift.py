"""Drift: what differs between a catalogue and its fingerprint, in words, and what is new about it since the last look.

Owners, privileges, comments, storage parameters, tablespaces, the order of columns and all data are no part of it:
they differ from one environment to the next by right. Nor are partitions, which programs make and drop.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import Enum

from worker.core.events.drift_events import DriftFound, DriftGone
from worker.core.events.event import Event
from worker.core.status.fingerprint import Deviation, Fingerprint, Parts, Thing, deviating
from worker.core.value import dataclass

_NAMED = 5


class Change(Enum):
    """What became of an object."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an object that differs; None is what is not there."""

    name: str
    was: str | None
    now: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that is not what it is right, and the bundle after which it last was; `parts` are of a changed one."""

    thing: Thing
    change: Change
    parts: tuple[Part, ...]
    right_until: str

    def __str__(self) -> str:
        return f"{self.thing} {self.change.value}"


@dataclass(frozen=True, slots=True)
class Drift:
    """What a look at the catalogue found; `bundle` is the one after which the fingerprint was taken."""

    bundle: str
    taken_at: datetime
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why the catalogue could not be compared; that is no drift."""

    why: str


Verdict = Drift | Unknown


def drift(fingerprint: Fingerprint, found: Iterable[Deviation]) -> Drift:
    """Tell what differs, an object once: what hangs on a table that came or went is told by the table."""
    told = [_difference(each, fingerprint.bundle) for each in deviating(found, fingerprint)]
    whole = {(one.thing.name, one.change) for one, _ in told if one.thing.kind == "table"}
    alone = (one for one, table in told if one.change is Change.CHANGED or (table, one.change) not in whole)
    return Drift(fingerprint.bundle, fingerprint.taken_at, tuple(sorted(alone, key=lambda one: one.thing)))


def _difference(each: Deviation, bundle: str) -> tuple[Difference, str | None]:
    """The difference, and the table that the object hangs on."""
    change = Change.ADDED if each.was is None else Change.REMOVED if each.now is None else Change.CHANGED
    was, now = each.was or {}, each.now or {}
    parts = _parts(was, now) if change is Change.CHANGED else ()
    return Difference(each.thing, change, parts, each.right_until or bundle), (now or was).get("on")


def _parts(was: Parts, now: Parts) -> tuple[Part, ...]:
    names = sorted({*was, *now})
    return tuple(Part(name, was.get(name), now.get(name)) for name in names if was.get(name) != now.get(name))


def news(before: Verdict | None, after: Verdict) -> tuple[Event, ...]:
    """What is to be told after another look: what came and what went, each once."""
    if isinstance(after, Unknown):
        return ()
    known = set(before.differences) if isinstance(before, Drift) else set()
    came = [one for one in after.differences if one not in known]
    now = {one.thing for one in after.differences}
    went = sorted({one.thing for one in known} - now)
    left = len(after.differences)
    found = (DriftFound(left, _named(came), after.bundle),) if came else ()
    return (*found, *((DriftGone(left, _named(went)),) if went else ()))


def latest(before: Verdict | None, after: Verdict) -> Verdict:
    """What the next look is compared with: one that could not compare forgets nothing."""
    return before if isinstance(after, Unknown) and isinstance(before, Drift) else after


def _named(things: Iterable[object]) -> str:
    names = list(map(str, things))
    more = f"; and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return "; ".join(names[:_NAMED]) + more
