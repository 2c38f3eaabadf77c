"""Gauges of a fleet: how many targets of each line are in each state, and which lines are halted.

No target has a series of its own, however few there are: one that fails is named by the log, the page and
`tidegate status --fleet`, and an alert needs the number alone. Lines are few; beyond a limit they share a label.
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from worker.core.planning.job import JobState
from worker.core.status.fleet_status import STATES
from worker.core.status.snapshot import Snapshot

PREFIX = "tidegate_"

LINE_LIMIT = 20
"""So many lines have series of their own; the others are told together."""

OTHER = "other"

_JOBS = {"due": JobState.PENDING}


def of_fleet(snapshot: Snapshot) -> Iterator[Metric]:
    """All gauges of a fleet as it was counted last."""
    lines = _Lines(snapshot)
    states: Counter[str] = Counter()
    by_line: Counter[tuple[str, str]] = Counter({(line, state): 0 for line in lines.labels for state in STATES})
    for count in snapshot.fleet:
        states[count.state] += count.targets
        by_line[lines.label(count.line), count.state] += count.targets
    jobs = GaugeMetricFamily(PREFIX + "jobs_current", "Targets by the state of their job.", labels=["state"])
    for job in JobState:
        jobs.add_metric(
            [job.value], sum(n for state, n in states.items() if _JOBS.get(state, state) in {job, job.value})
        )
    yield jobs
    targets = GaugeMetricFamily(
        PREFIX + "targets", "Targets by state, where they are too many for series of their own.", labels=["state"]
    )
    for state in STATES:
        targets.add_metric([state], states[state])
    yield targets
    yield _by_line(by_line)
    yield _halted(snapshot, lines)
    text = "Groups of the fleet's file that could not be read when it was read last."
    yield GaugeMetricFamily(PREFIX + "fleet_groups_misdeclared", text, value=len(snapshot.misdeclared))


def _by_line(by_line: Counter[tuple[str, str]]) -> Metric:
    family = GaugeMetricFamily(
        PREFIX + "fleet_targets", "Targets of a fleet by line and state.", labels=["line", "state"]
    )
    for (line, state), number in sorted(by_line.items()):
        family.add_metric([line, state], number)
    return family


def _halted(snapshot: Snapshot, lines: "_Lines") -> Metric:
    text = "1 while the line's error budget is used up, and what is left of it is not begun."
    family = GaugeMetricFamily(PREFIX + "fleet_line_halted", text, labels=["line"])
    halted = {lines.label(halt.line) for halt in snapshot.halted}
    for label in lines.labels:
        family.add_metric([label], float(label in halted))
    return family


class _Lines:
    """Which lines have a label of their own: the first in the alphabet, so that a label stays with its line."""

    def __init__(self, snapshot: Snapshot) -> None:
        lines = sorted({count.line for count in snapshot.fleet} | {halt.line for halt in snapshot.halted})
        self._own = frozenset(lines[:LINE_LIMIT])
        self.labels = (*lines[:LINE_LIMIT], *((OTHER,) if len(lines) > LINE_LIMIT else ()))

    def label(self, line: str) -> str:
        return line if line in self._own else OTHER
