"""How a cost grows with the number of targets: the power of it, 1 where twice as many cost twice as much."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from math import log

from tests.bench.results import Goal, Results, Turn, quickest

MOST = 1.1
"""What is taken for linear: a quarter more for each target where there are ten times as many."""

Reading = Callable[[list[Turn]], float]


def exponent(points: Iterable[tuple[int, float]], noise: float) -> float | None:
    """The greatest power with which a cost grows from one count to the next; None of fewer than three counts.

    What the least count costs is taken off the others as fixed. What is then left below the noise counts as the noise,
    so that a step shows growth only as far as it stands out.
    """
    (least, fixed), *rest = sorted(points)
    beyond = [(count - least, max(noise, cost - fixed)) for count, cost in rest]
    steps = [log(cost / before) / log(count / fewer) for (fewer, before), (count, cost) in pairwise(beyond)]
    return max(steps, default=None)


def growth(what: str, read: Reading, noise: float) -> Goal:
    """How a reading of the results grows with their targets; nothing is said where one of them failed."""

    def measure(results: Results) -> float | None:
        if not results or any(not each.turns for each in results.values()):
            return None
        return exponent([(each.targets, read(each.turns)) for each in results.values()], noise)

    return Goal(f"{what}, grows by the power of", MOST, measure)


def time_grows(noise: float) -> Goal:
    """How the seconds of the quickest turns grow, for other load only adds to them, and which of them are noise."""
    return growth("time", quickest, noise)


def memory_grows(noise: float = 4.0) -> Goal:
    """How the most memory grows, and how many MiB are noise."""
    return growth("memory", lambda turns: max(turn.memory for turn in turns), noise)
