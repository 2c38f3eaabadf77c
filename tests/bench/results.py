"""What came of a workload, and what was to be reached: values that the runner makes and the report reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Disk:
    """Seconds that a commit takes which waits for the disk, and a new table without an index, which does not.

    For some minutes after many files were removed, an ext4 without a journal is slow to make one.
    """

    commit: float
    table: float


@dataclass(frozen=True, slots=True)
class Turn:
    """One counted turn: seconds from start to end, the processor's seconds, the most memory in MiB; 0 is unknown.

    `server` is how many seconds of the processor the server took meanwhile, for whatever reason, `kernel` those of them
    that the operating system took for it: they grow several times over where many files were removed just before.
    """

    wall: float
    cpu: float = 0.0
    memory: float = 0.0
    server: float = 0.0
    kernel: float = 0.0


@dataclass(slots=True)
class Result:
    """What came of one tool in one workload: its turns and other figures by name, or why it has none.

    `targets` is how many schemas or databases each turn was about, where that is what a workload is about; `load` is
    the machine's in the minute before the last turn ended, its own share included.
    """

    peer: str
    turns: list[Turn] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    trouble: str = ""
    targets: int = 0
    load: float = 0.0


Results = Mapping[str, Result]


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be reached: `measure` gives what it comes to, None where that was not measured.

    `floor` is the tool that does this work alone and nothing besides, `at_floor` what it comes to with that one.
    """

    what: str
    most: float
    measure: Callable[[Results], float | None]
    floor: str = ""
    at_floor: Callable[[Results], float | None] = lambda _results: None


@dataclass(frozen=True, slots=True)
class Subject:
    """What the report shows in one table, and what is to be reached there."""

    name: str
    goals: tuple[Goal, ...]


def ratio(whose: str, of: str, most: float, floor: str = "") -> Goal:
    """A tool's median as a multiple of another one's in the same workload."""
    return Goal(f"{whose}, as a multiple of {of}", most, _multiple(whose, of), floor, _multiple(floor, of))


def _multiple(whose: str, of: str) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        own, other = results[whose].turns, results[of].turns
        return middle(own) / middle(other) if own and other else None

    return measure


def percentile(whose: str, hundredth: int, most: float) -> Goal:
    """The seconds that so many in a hundred of a tool's turns take at most."""

    def measure(results: Results) -> float | None:
        walls = sorted(turn.wall for turn in results[whose].turns)
        return walls[max(0, -(-len(walls) * hundredth // 100) - 1)] if walls else None

    return Goal(f"{whose}, {hundredth}th percentile in seconds", most, measure)


def seconds(whose: str, most: float) -> Goal:
    """The median of a tool's seconds."""

    def measure(results: Results) -> float | None:
        turns = results[whose].turns
        return middle(turns) if turns else None

    return Goal(f"{whose}, in seconds", most, measure)


def memory(whose: str, most: float) -> Goal:
    """A tool's most memory in MiB."""

    def measure(results: Results) -> float | None:
        return max((turn.memory for turn in results[whose].turns), default=None)

    return Goal(f"{whose}, memory in MiB", most, measure)


def figure(whose: str, name: str, most: float) -> Goal:
    """One of a tool's other figures."""
    return Goal(f"{whose}, {name}", most, lambda results: results[whose].figures.get(name))


def middle(turns: list[Turn]) -> float:
    """The median of the turns' seconds."""
    return median(turn.wall for turn in turns)


def quickest(turns: list[Turn]) -> float:
    """The seconds of the quickest turn."""
    return min(turn.wall for turn in turns)
