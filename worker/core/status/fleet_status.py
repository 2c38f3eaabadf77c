"""What a worker knows of a fleet as a whole, bounded however many targets there are: counts, halts, troubles."""

from collections.abc import Mapping
from datetime import datetime

from worker.core.fleet.count import Count
from worker.core.value import dataclass

TROUBLED = 30
"""So many of the targets that need a person are known by name."""

BAD = frozenset({"failed", "refused", "in_doubt"})
"""The states that a person has to look at, and that the error budget counts."""

NEEDING = ("failed", "in_doubt", "refused", "unreachable", "waiting", "left_alone")
"""The states that have a reason to show, the worst first."""

STATES = (*NEEDING, "paused", "running", "due", "succeeded")
"""All states of a fleet's targets, those first that a person looks for."""


@dataclass(frozen=True, slots=True)
class Halt:
    """A line whose error budget is used up: so many ended badly, of so many that may; `left` are not begun."""

    line: str
    failures: int
    budget: int
    left: int


@dataclass(frozen=True, slots=True)
class TroubledTarget:
    """A target that needs a person or could not be reached, why, and what to do."""

    target: str
    line: str
    state: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Misdeclared:
    """A group of the fleet's file that could not be read."""

    group: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class AtWork:
    """A target that this worker brings now: so many of its migrations are done; `migration` is the one that runs."""

    target: str
    bundle: str
    done: int
    total: int
    started_at: datetime
    migration: str | None = None


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """A fleet as it was counted last."""

    counts: tuple[Count, ...]
    halted: tuple[Halt, ...] = ()
    troubled: tuple[TroubledTarget, ...] = ()
    misdeclared: tuple[Misdeclared, ...] = ()


def in_states(counts: tuple[Count, ...], states: frozenset[str] | tuple[str, ...], line: str | None = None) -> int:
    """How many targets are in one of these states, of one line or of all."""
    return sum(each.targets for each in counts if each.state in states and line in {None, each.line})


def halts_of(
    counts: tuple[Count, ...], spent: Mapping[str, int], budgets: Mapping[str, int | None]
) -> tuple[Halt, ...]:
    """Which lines are halted: the budget is used up, and something is left to do.

    `spent` is what counts against the budgets, which is less than what failed once a person resumed the line.
    """
    due = {line: in_states(counts, ("due",), line) for line in budgets}
    return tuple(
        Halt(line, spent.get(line, 0), allowed, due[line])
        for line, allowed in budgets.items()
        if allowed is not None and spent.get(line, 0) >= allowed and due[line]
    )
