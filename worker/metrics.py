"""Metrics: counters and histograms fed by events, beside the gauges, in one registry. A scrape asks no database."""

import re
from collections.abc import Callable, Iterable
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from worker.core.events.event import Context, Event, Outcome
from worker.core.events.events import (
    BundlePublished,
    DatabaseRefused,
    DatabaseUnreachable,
    FenceRejected,
    JobFailed,
    JobFinished,
    JobStarted,
    ListenerLost,
    LockAcquired,
    LockLeft,
    LockTimedOut,
    ReadinessSet,
    WorkerWoken,
)
from worker.core.events.migration_events import AppBlocked, MigrationFinished, MigrationRetried, MigrationWaiting
from worker.core.running.blocking import Kind, Overrun
from worker.core.status.snapshot import Snapshot
from worker.fleet_gauges import PREFIX
from worker.gauges import Gauges

_WORD = re.compile(r"[A-Za-z0-9_]{1,40}")
_WORD_LIMIT = 20
# Seconds, from a commit's time to an hour.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600)
# An alert can only see a first increase where there was a zero before it.
_SOURCES = ("start", "connect", "notify", "poll", "retry", "reconnect")
_REASONS = (Overrun.APP_BLOCKED.value, "database_unreachable", "55P03")
_LOSSES = ("terminated", "silent")


class _Words:
    """Bounds a label whose values are not an enum's: twenty different words, and `other` for everything else."""

    def __init__(self, counter: Counter, known: Iterable[str]) -> None:
        self._counter = counter
        self._seen: set[str] = set()
        for word in known:
            counter.labels(self._bounded(word))

    def count(self, word: str) -> None:
        """Count one of this word."""
        self._counter.labels(self._bounded(word)).inc()

    def _bounded(self, word: str) -> str:
        if word in self._seen:
            return word
        if len(self._seen) == _WORD_LIMIT or not _WORD.fullmatch(word):
            return "other"
        self._seen.add(word)
        return word


class _Instruments:
    """The counters and histograms of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(PREFIX + name, text, labels, registry=registry)

        def words(name: str, text: str, label: str, known: Iterable[str]) -> _Words:
            return _Words(counter(name, text, label), known)

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(PREFIX + name, text, labels, registry=registry, buckets=_BUCKETS)

        outcomes = [outcome.value for outcome in Outcome]
        self.migrations = words("migrations", "Migrations that ended, by outcome.", "outcome", outcomes)
        self.jobs = words("jobs", "Jobs that ended, by outcome.", "outcome", outcomes)
        self.publishes = counter("publishes", "Bundles that this worker offered and that became wanted.")
        self.lock_attempts = words(
            "lock_attempts", "Attempts to take the lock, by outcome.", "outcome", ("acquired", "left", "timed_out")
        )
        self.fence_rejections = counter("fence_rejections", "Writes that were refused for their stale epoch.")
        self.wakeups = words("wakeups", "Looks at the tables, by what asked for them.", "source", _SOURCES)
        self.work_found = words("work_found", "Jobs begun, by what asked for the look.", "source", _SOURCES)
        self.listener_reconnects = words(
            "listener_reconnects", "Losses of the listening connection.", "reason", _LOSSES
        )
        self.retries = words(
            "retries", "Repeated attempts, by SQLSTATE, app_blocked or database_unreachable.", "reason", _REASONS
        )
        self.migration_waits = words(
            "migration_waits",
            "Blockers that a migration was seen waiting for, by what holds the lock.",
            "holder",
            [kind.name.lower() for kind in Kind],
        )
        self.app_blocked_told = words(
            "app_blocked",
            "Times that sessions of the application waited behind a migration, and that one was cancelled for it.",
            "stage",
            ("lasting", "over_budget"),
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


class Metrics:
    """All of a worker's metrics, in a registry of their own; `now` tells the time in UTC."""

    def __init__(self, version: str, now: Callable[[], datetime]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves its return type out
        self._registry = CollectorRegistry()
        self._now = now
        self._instruments = _Instruments(self._registry)
        self._source = "start"
        self._gauges = Gauges()
        self._registry.register(self._gauges)
        build = Gauge(PREFIX + "build_info", "The program's version, as a label.", ["version"], registry=self._registry)
        build.labels(version).set(1)

    def observe(self, snapshot: Snapshot) -> None:
        """Make the gauges tell this snapshot from now on."""
        self._gauges.observe(snapshot)

    def text(self) -> tuple[bytes, str]:
        """The exposition in Prometheus' text format, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def sink(self, event: Event, context: Context) -> None:
        """Count one event; events that no metric tells are passed over."""
        self._gauges.round.take(event, str(context.get("target", "")), self._now().timestamp())
        self._count_work(event)
        self._count_waiting(event)
        self._count_connections(event)

    def _count_work(self, event: Event) -> None:
        instruments = self._instruments
        match event:
            case JobStarted():
                instruments.work_found.count(self._source)
            case MigrationFinished(mode=mode, outcome=outcome, duration_seconds=seconds, app_blocked_seconds=blocked):
                instruments.app_blocked.observe(blocked)
                instruments.migrations.count(outcome.value)
                instruments.migration_duration.labels(mode, outcome.value).observe(seconds)
            case JobFinished(outcome=outcome) | JobFailed(outcome=outcome):
                instruments.jobs.count(outcome.value)
            case BundlePublished():
                instruments.publishes.inc()
            case ReadinessSet(publish_to_ready_seconds=float(seconds)):
                instruments.publish_to_ready.observe(seconds)
            case _:
                pass

    def _count_waiting(self, event: Event) -> None:
        instruments = self._instruments
        match event:
            case LockAcquired(waited_seconds=seconds):
                instruments.lock_attempts.count("acquired")
                instruments.lock_wait.observe(seconds)
            case LockLeft(waited_seconds=seconds):
                instruments.lock_attempts.count("left")
                instruments.lock_wait.observe(seconds)
            case LockTimedOut(waited_seconds=seconds):
                instruments.lock_attempts.count("timed_out")
                instruments.lock_wait.observe(seconds)
            case FenceRejected():
                instruments.fence_rejections.inc()
            case MigrationWaiting(holder=holder):
                instruments.migration_waits.count(Kind(holder).name.lower())
            case MigrationRetried(cause=cause):
                instruments.retries.count(cause)
            case AppBlocked(over_budget=over_budget):
                instruments.app_blocked_told.count("over_budget" if over_budget else "lasting")
            case _:
                pass

    def _count_connections(self, event: Event) -> None:
        instruments = self._instruments
        match event:
            case WorkerWoken(source=source):
                self._source = source
                instruments.wakeups.count(source)
            case ListenerLost(cause=cause):
                instruments.listener_reconnects.count(cause)
            case DatabaseUnreachable() | DatabaseRefused():
                instruments.retries.count("database_unreachable")
            case _:
                pass
