"""Gauges: derived at each scrape from the last snapshot, and from the events of the round that is under way.

A snapshot tells a target as it was looked at last. While a job runs nobody looks, and its events tell the rest.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.core.events.event import Event, Outcome
from worker.core.events.events import (
    JobFailed,
    JobFinished,
    JobStarted,
    LockAcquired,
    LockLeft,
    LockReleased,
    LockTimedOut,
    LockWaiting,
    WorkerWoken,
)
from worker.core.events.fleet_events import TargetLeft
from worker.core.events.migration_events import MigrationFinished
from worker.core.planning.job import JobState
from worker.core.status.drift import Drift
from worker.core.status.probe import target_is_ready
from worker.core.status.snapshot import Snapshot, TargetStatus
from worker.fleet_gauges import PREFIX, of_fleet

TARGET_LIMIT = 100
"""Up to this many targets have series of their own."""


@dataclass(slots=True)
class Job:
    """A job that this worker runs now: when it began (Unix seconds), and how many of its migrations are left."""

    began: float
    pending: int


@dataclass(slots=True)
class Round:
    """What events tell of the round that is under way; `last_success` outlives it, but for a fleet's targets."""

    jobs: dict[str, Job] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    strangers: set[str] = field(default_factory=set)
    last_success: dict[str, float] = field(default_factory=dict)

    def take(self, event: Event, target: str, now: float) -> None:
        """Take an event about `target`."""
        match event:
            case WorkerWoken():
                # Whatever a lost connection cut off without a word is over.
                self.jobs.clear()
                self.waiting.clear()
                self.strangers.clear()
            case LockWaiting(ours=ours):
                self._lock_is_free(target)
                self.waiting.add(target)
                self.strangers.update(() if ours else (target,))
            case LockAcquired() | LockLeft() | LockTimedOut() | LockReleased():
                # One that was got and found nothing to do is only given back.
                self._lock_is_free(target)
            case JobStarted(pending=pending):
                self.jobs[target] = Job(now, pending)
            case MigrationFinished(outcome=Outcome.SUCCEEDED) if target in self.jobs:
                self.jobs[target].pending -= 1
            case JobFinished() | JobFailed():
                self._ended(event.outcome, target, now)
            case TargetLeft():
                self.jobs.pop(target, None)
                self._lock_is_free(target)
                # No target of a fleet has a series, and there may be many.
                self.last_success.pop(target, None)
            case _:
                pass

    def _ended(self, outcome: Outcome, target: str, now: float) -> None:
        self.jobs.pop(target, None)
        self._lock_is_free(target)
        if outcome is Outcome.SUCCEEDED:
            self.last_success[target] = now

    def _lock_is_free(self, target: str) -> None:
        self.waiting.discard(target)
        self.strangers.discard(target)


class Gauges(Collector):
    """All gauges of one worker; no series is kept, so that those of a target that is gone are gone."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self.round = Round()

    def observe(self, snapshot: Snapshot) -> None:
        """Keep the snapshot for the scrapes to come."""
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """All gauges; those of the snapshot from the first one on."""
        yield _gauge("lock_waiting", "1 while this worker waits for the lock, whoever holds it.", self.round.waiting)
        yield _gauge(
            "lock_held_by_stranger",
            "1 while the lock is waited for and another program holds it.",
            self.round.strangers,
        )
        if self._snapshot is None:
            return
        targets = self._snapshot.targets
        yield from self._of_worker(self._snapshot)
        if self._snapshot.is_fleet:
            yield from of_fleet(self._snapshot)
            return
        yield self._by_state("jobs_current", "Targets by the state of their job.", targets)
        if len(targets) > TARGET_LIMIT:
            yield self._by_state(
                "targets", "Targets by state, where they are too many for series of their own.", targets
            )
        else:
            yield from self._of_targets(targets)

    def _of_worker(self, snapshot: Snapshot) -> Iterator[Metric]:
        yield _gauge("lock_held", "1 while this worker holds the lock.", snapshot.holds_lock)
        yield _gauge("listener_connected", "1 while LISTEN is in place.", snapshot.listening)
        reached = snapshot.database is None or self.round.jobs or self.round.waiting
        yield _gauge("database_reachable", "1 while this worker can read its targets.", reached)
        began = [job.began for job in self.round.jobs.values()] + [*_begun_elsewhere(snapshot)]
        if began:
            yield _number("job_started_timestamp_seconds", "When the oldest of the running jobs began.", min(began))
        running = snapshot.running
        if running is not None and running.segments > 0:
            done = (running.segment - 1) / running.segments
            yield _number("migration_progress_ratio", "Finished part of the running migration's segments.", done)

    def _by_state(self, name: str, text: str, targets: tuple[TargetStatus, ...]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(PREFIX + name, text, labels=["state"])
        counted = Counter(status.state for status in targets if status.target not in self.round.jobs)
        counted[JobState.RUNNING] += len(self.round.jobs)
        for state in JobState:
            family.add_metric([state.value], counted[state])
        return family

    def _of_targets(self, targets: tuple[TargetStatus, ...]) -> Iterator[Metric]:
        known = {status.target: status for status in targets}
        names = (*known, *(name for name in self.round.jobs if name not in known))
        told = {name: status for name, status in known.items() if status.epoch is not None}
        ready = {name: name in known and target_is_ready(known[name]) for name in names}
        yield _per_target("ready", "1 if all that is wanted on the target is applied.", ready)
        pending = {name: self._pending(name, known.get(name)) for name in names}
        yield _per_target("migrations_pending", "Migrations of the wanted bundle that are not applied.", pending)
        paused = {name: status.paused is not None for name, status in known.items()}
        yield _per_target("target_paused", "1 while workers leave the target alone: paused, or pinned.", paused)
        epochs = {name: status.epoch or 0 for name, status in told.items()}
        yield _per_target("fence_epoch", "The target's current fence epoch.", epochs)
        drifted = {name: len(s.drift.differences) for name, s in known.items() if isinstance(s.drift, Drift)}
        yield _per_target("drift_objects", "Objects of the database that are not what the last job left.", drifted)
        successes = {name: at for name, at in self.round.last_success.items() if name in known}
        yield _per_target(
            "last_success_timestamp_seconds", "When a job of this worker last succeeded on the target.", successes
        )

    def _pending(self, name: str, status: TargetStatus | None) -> int:
        job = self.round.jobs.get(name)
        if job is not None:
            return job.pending
        return 0 if status is None else len(status.pending)


def _begun_elsewhere(snapshot: Snapshot) -> Iterator[float]:
    """When the jobs began that the tables say are running."""
    for status in snapshot.targets:
        if status.state is JobState.RUNNING and status.job_started_at is not None:
            yield status.job_started_at.astimezone(UTC).timestamp()


def _gauge(name: str, text: str, holds: object) -> GaugeMetricFamily:
    return _number(name, text, 1.0 if holds else 0.0)


def _number(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _per_target(name: str, text: str, values: dict[str, bool] | dict[str, int] | dict[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, text, labels=["target"])
    for target, value in values.items():
        family.add_metric([target], float(value))
    return family
