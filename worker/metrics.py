"""Metrics: counters and histograms fed by events, gauges computed from the last snapshot at each scrape.

A scrape asks no database. Gauges are not kept but derived, so that the series of a target that is gone is gone.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.core.event import Context, Event, Outcome
from worker.core.events import (
    BundlePublished,
    DatabaseUnreachable,
    FenceRejected,
    JobFailed,
    JobFinished,
    ListenerLost,
    LockAcquired,
    LockTimedOut,
    LockWaiting,
    ReadinessSet,
    WorkerWoken,
)
from worker.core.job import JobState
from worker.core.migration_events import MigrationFinished, MigrationRetried
from worker.core.probe import target_is_ready
from worker.core.snapshot import Snapshot, TargetStatus

TARGET_LIMIT = 100
"""Up to this many targets have series of their own."""

_PREFIX = "tidegate_"
_WORD = re.compile(r"[A-Za-z0-9_]{1,40}")
_WORD_LIMIT = 20
# Seconds, from a commit's time to an hour.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600)


class _Words:
    """Bounds a label whose values are not an enum's: twenty different words, and `other` for everything else."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, text: str) -> str:
        if text in self._seen:
            return text
        if len(self._seen) == _WORD_LIMIT or not _WORD.fullmatch(text):
            return "other"
        self._seen.add(text)
        return text


class _Instruments:
    """The counters and histograms of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(_PREFIX + name, text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(_PREFIX + name, text, labels, registry=registry, buckets=_BUCKETS)

        self.migrations = counter("migrations", "Migrations that ended, by outcome.", "outcome")
        self.jobs = counter("jobs", "Jobs that ended, by outcome.", "outcome")
        self.publishes = counter("publishes", "Bundles that became wanted.")
        self.lock_attempts = counter("lock_attempts", "Attempts to take the lock, by outcome.", "outcome")
        self.fence_rejections = counter("fence_rejections", "Writes that were refused for their stale epoch.")
        self.wakeups = counter("wakeups", "Looks at the tables, by what asked for them.", "source")
        self.listener_reconnects = counter("listener_reconnects", "Losses of the listening connection.", "reason")
        self.retries = counter(
            "retries", "Repeated attempts, by SQLSTATE, app_blocked or database_unreachable.", "reason"
        )
        self.migration_duration = histogram(
            "migration_duration_seconds", "How long a migration took.", "mode", "outcome"
        )
        self.lock_wait = histogram("lock_wait_seconds", "How long the lock was waited for.")
        self.app_blocked = histogram(
            "app_blocked_seconds", "How long a migration kept sessions of the application waiting."
        )
        self.publish_to_ready = histogram(
            "publish_to_ready_seconds", "From a publish to the readiness row that meets it."
        )
        for outcome in Outcome:
            self.migrations.labels(outcome.value)
            self.jobs.labels(outcome.value)
        for attempt in ("acquired", "timed_out"):
            self.lock_attempts.labels(attempt)


class Metrics:
    """All of a worker's metrics, in a registry of their own; `now` tells the time in UTC."""

    def __init__(self, version: str, now: Callable[[], datetime]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves its return type out
        self._registry = CollectorRegistry()
        self._now = now
        self._instruments = _Instruments(self._registry)
        self._sources, self._reasons, self._losses = _Words(), _Words(), _Words()
        self._gauges = _Gauges()
        self._registry.register(self._gauges)
        build = Gauge(
            _PREFIX + "build_info", "The program's version, as a label.", ["version"], registry=self._registry
        )
        build.labels(version).set(1)

    def observe(self, snapshot: Snapshot) -> None:
        """Make the gauges tell this snapshot from now on."""
        self._gauges.observe(snapshot)

    def text(self) -> tuple[bytes, str]:
        """The exposition in Prometheus' text format, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def sink(self, event: Event, context: Context) -> None:
        """Count one event; events that no metric tells are passed over."""
        target = str(context.get("target", ""))
        self._count_work(event, target)
        self._count_lock(event, target)
        self._count_connections(event)

    def _count_work(self, event: Event, target: str) -> None:
        instruments = self._instruments
        match event:
            case MigrationFinished(mode=mode, outcome=outcome, duration_seconds=seconds, app_blocked_seconds=blocked):
                instruments.app_blocked.observe(blocked)
                instruments.migrations.labels(outcome.value).inc()
                instruments.migration_duration.labels(mode, outcome.value).observe(seconds)
            case JobFinished(outcome=outcome) | JobFailed(outcome=outcome):
                instruments.jobs.labels(outcome.value).inc()
                if outcome is Outcome.SUCCEEDED:
                    self._gauges.last_success[target] = self._now().timestamp()
            case BundlePublished():
                instruments.publishes.inc()
            case ReadinessSet(publish_to_ready_seconds=float(seconds)):
                instruments.publish_to_ready.observe(seconds)
            case _:
                pass

    def _count_lock(self, event: Event, target: str) -> None:
        instruments = self._instruments
        match event:
            case LockWaiting(ours=False):
                self._gauges.strangers.add(target)
            case LockAcquired(waited_seconds=seconds):
                self._count_attempt("acquired", seconds, target)
            case LockTimedOut(waited_seconds=seconds):
                self._count_attempt("timed_out", seconds, target)
            case LockWaiting() | JobFinished() | JobFailed():
                self._gauges.strangers.discard(target)
            case FenceRejected():
                instruments.fence_rejections.inc()
            case _:
                pass

    def _count_attempt(self, outcome: str, seconds: float, target: str) -> None:
        self._instruments.lock_attempts.labels(outcome).inc()
        self._instruments.lock_wait.observe(seconds)
        self._gauges.strangers.discard(target)

    def _count_connections(self, event: Event) -> None:
        instruments = self._instruments
        match event:
            case WorkerWoken(source=source):
                instruments.wakeups.labels(self._sources(source)).inc()
            case ListenerLost(cause=cause):
                instruments.listener_reconnects.labels(self._losses(cause)).inc()
            case MigrationRetried(cause=cause):
                instruments.retries.labels(self._reasons(cause)).inc()
            case DatabaseUnreachable():
                instruments.retries.labels("database_unreachable").inc()
            case _:
                pass


class _Gauges(Collector):
    """Derives the gauges from the last snapshot, and from the two facts that only events tell."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self.last_success: dict[str, float] = {}
        self.strangers: set[str] = set()

    def observe(self, snapshot: Snapshot) -> None:
        """Keep the snapshot for the scrapes to come."""
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """All gauges; those of the snapshot from the first one on."""
        yield _gauge(
            "lock_held_by_stranger",
            "1 while the lock is waited for and another program holds it.",
            bool(self.strangers),
        )
        if self._snapshot is None:
            return
        yield from _of_worker(self._snapshot)
        yield _by_state("jobs_current", "Targets by the state of their job.", self._snapshot.targets)
        if len(self._snapshot.targets) > TARGET_LIMIT:
            yield _by_state(
                "targets", "Targets by state, where they are too many for series of their own.", self._snapshot.targets
            )
        else:
            yield from self._of_targets(self._snapshot.targets)

    def _of_targets(self, targets: tuple[TargetStatus, ...]) -> Iterator[Metric]:
        ready = _per_target("ready", "1 if all that is wanted on the target is applied.")
        pending = _per_target("migrations_pending", "Migrations of the wanted bundle that are not applied.")
        epoch = _per_target("fence_epoch", "The target's current fence epoch.")
        success = _per_target(
            "last_success_timestamp_seconds", "When a job of this worker last succeeded on the target."
        )
        for status in targets:
            ready.add_metric([status.target], target_is_ready(status))
            pending.add_metric([status.target], len(status.pending))
            if status.epoch is not None:
                epoch.add_metric([status.target], status.epoch)
            if status.target in self.last_success:
                success.add_metric([status.target], self.last_success[status.target])
        yield from (ready, pending, epoch, success)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, text, value=value)


def _per_target(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, text, labels=["target"])


def _of_worker(snapshot: Snapshot) -> Iterator[Metric]:
    yield _gauge("lock_held", "1 while this worker holds the lock.", snapshot.holds_lock)
    yield _gauge("listener_connected", "1 while LISTEN is in place.", snapshot.listening)
    started = [status.job_started_at for status in snapshot.targets if status.state is JobState.RUNNING]
    known = [moment.astimezone(UTC).timestamp() for moment in started if moment is not None]
    if known:
        yield _gauge("job_started_timestamp_seconds", "When the oldest of the running jobs began.", min(known))
    running = snapshot.running
    if running is not None and running.segments > 0:
        done = (running.segment - 1) / running.segments
        yield _gauge("migration_progress_ratio", "Finished part of the running migration's segments.", done)


def _by_state(name: str, text: str, targets: tuple[TargetStatus, ...]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(_PREFIX + name, text, labels=["state"])
    for state in JobState:
        family.add_metric([state.value], sum(status.state is state for status in targets))
    return family
