"""The fingerprint of a catalogue: what each object was when a job last ended well, and what is carried over a job.

An object is a kind and a name, and its parts are texts by name: a column's `type`, an index's `definition`. There is no
OID and no position among them, so that a restored dump has the same fingerprint. Whoever changed an object by hand
before a job did not get it made right by that job: unless the job itself touched it, it stays what it was found as.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from worker.core.pattern import pattern

Parts = Mapping[str, str]


@dataclass(frozen=True, slots=True, order=True)
class Thing:
    """An object of the catalogue; the name has its schema, and its table where it hangs on one."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Deviation:
    """An object that is not what it is right; None is what is not there. `right_until` None: as of the last job."""

    thing: Thing
    was: Parts | None
    now: Parts | None
    right_until: str | None = None


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """When it was taken, after which bundle, and whether on this server and database, at its major version."""

    bundle: str
    taken_at: datetime
    same_server: bool


@dataclass(frozen=True, slots=True)
class State:
    """What there is to compare: `ledger` is a digest of what was applied when it was taken, `ledger_now` of now.

    `half_done`: the journal holds something. `marked`: something deviated when the last job began. `unchanged`: no row
    of the server's catalogues is newer than the fingerprint, and none is gone; otherwise there may be a difference.
    """

    fingerprint: Fingerprint | None
    ledger: str | None
    ledger_now: str
    half_done: bool
    marked: bool
    unchanged: bool = field(compare=False)


def agrees(state: State) -> bool:
    """Tell that a comparison would find nothing, so that there need not be one.

    Another server counts its transactions anew: there, no row is known to be older than the fingerprint.
    """
    taken = state.fingerprint
    return taken is not None and taken.same_server and state.unchanged and not state.marked


def incomparable(state: State | None) -> str | None:
    """Say why a difference would be no drift; None where it would. `state` None: the control schema has no place."""
    if state is None:
        return "the control schema is older than fingerprints; the next job upgrades it"
    if state.fingerprint is None:
        return "no fingerprint was taken yet; the next job takes one, or tidegate admin fingerprint"
    if state.half_done:
        return "a migration is under way"
    if state.ledger != state.ledger_now:
        return "the ledger has moved since the last fingerprint: a job is under way, was cut, or ran nothing (force)"
    return None


# A server writes an expression down from its parsed form, and reads a cast or a qualified name back in another form:
# `a IN ('x')` on a varchar comes back from a dump with its casts elsewhere. What remains is compared.
_CAST = pattern(r"::(\"[^\"]+\"|[a-z_][\w.]*( varying| precision| with(out)? time zone)?)(\(\d+(,\d+)?\))?(\[\])*")
_QUALIFIER = pattern(r"\b[a-z_]\w*\.(?=[a-z_\"])")
_NOISE = pattern(r"[\s()]+")
_WRITTEN_DOWN = frozenset(
    {"default", "definition", "checks", "using", "check", "generated", "statements", "partitioned by"}
)


def deviating(found: Iterable[Deviation], fingerprint: Fingerprint) -> tuple[Deviation, ...]:
    """Those that differ by more than how another server than the fingerprint's writes things down."""
    if fingerprint.same_server:
        return tuple(found)
    return tuple(each for each in found if substance(each.was) != substance(each.now))


def substance(parts: Parts | None) -> Parts | None:
    """The parts without what another server may write in another way."""
    if parts is None:
        return None
    return {name: _bare(text) if name in _WRITTEN_DOWN else text for name, text in parts.items()}


def _bare(text: str) -> str:
    return _NOISE.sub("", _QUALIFIER.sub("", _CAST.sub("", text)))


def untouched(marks: Mapping[Thing, Parts | None], after: Iterable[Deviation]) -> tuple[Thing, ...]:
    """What deviated before a job, as in `marks`, and does so after it in the very same way."""
    return tuple(each.thing for each in after if each.thing in marks and marks[each.thing] == each.now)
