"""What the status page shows of a fleet: its lines, each with its counts; bounded, however many targets there are."""

from worker.core.fleet.count import Count
from worker.core.status.fleet_status import BAD, NEEDING, STATES, Halt, in_states
from worker.core.status.snapshot import Snapshot
from worker.core.value import dataclass

TEMPLATES = {"now": "fleet_now", "gate": "fleet_lines", "fleet": "fleet"}
"""The templates of a fleet's regions, where they are not those of one target."""

ABSENT = frozenset({"bundles", "peers", "steps", "drift"})
"""The regions that a fleet has nothing to show in."""

LINE_ROWS = 20
AT_WORK_ROWS = 12

_TONES = {
    "succeeded": "succeeded", "running": "running", "failed": "failed", "refused": "refused", "in_doubt": "in_doubt",
    "unreachable": "pending", "waiting": "pending",
}  # fmt: skip
_WORDS = {"succeeded": "done", "in_doubt": "in doubt", "left_alone": "left alone"}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the fleet: how many targets follow it, how many are done, and how many are in each state."""

    name: str
    wanted: str | None
    total: int
    done: int
    states: tuple[tuple[str, int], ...]
    halt: Halt | None


def lines_of(snapshot: Snapshot) -> tuple[Line, ...]:
    """The lines, those first that need a person."""
    counts: dict[str, list[Count]] = {}
    for count in snapshot.fleet:
        counts.setdefault(count.line, []).append(count)
    halts = {halt.line: halt for halt in snapshot.halted}
    lines = (_line(name, tuple(mine), halts.get(name)) for name, mine in sorted(counts.items()))
    return tuple(sorted(lines, key=lambda line: (line.halt is None, not any(state in BAD for state, _ in line.states))))


def _line(name: str, mine: tuple[Count, ...], halt: Halt | None) -> Line:
    states = ((state, in_states(mine, (state,))) for state in STATES)
    return Line(
        name,
        next((count.wanted for count in mine if count.wanted is not None), None),
        sum(count.targets for count in mine),
        in_states(mine, ("succeeded",)),
        tuple((state, number) for state, number in states if number),
        halt,
    )


def needing(snapshot: Snapshot) -> int:
    """How many targets have a reason to show."""
    return in_states(snapshot.fleet, NEEDING)


def tone_of(state: str) -> str:
    """The class of a state's chip."""
    return _TONES.get(state, "")


def state_words(state: str) -> str:
    """A state as a person reads it."""
    return _WORDS.get(state, state)
