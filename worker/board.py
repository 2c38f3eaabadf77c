"""What a worker knows, kept from the events that it emits and the targets that it looks at."""

from collections.abc import Callable
from datetime import datetime

from worker.core.event import Context, Event
from worker.core.events import JobFailed, ListenerConnected, ListenerLost, LockAcquired, LockReleased, WorkerDraining
from worker.core.migration_events import MigrationFinished, MigrationStarted, SegmentFinished
from worker.core.snapshot import Running, Snapshot, TargetStatus
from worker.errors import TidegateError


class Board:
    """Takes events and looks, and gives the snapshot at any moment; it belongs to one event loop.

    `looked` is called after every look at the targets, also one that found nothing to do and emitted nothing.
    """

    def __init__(self, worker: str, version: str, now: Callable[[], datetime]) -> None:
        self._worker = worker
        self._version = version
        self._now = now
        self._started_at = now()
        self._draining = False
        self._listening = False
        self._running: Running | None = None
        self._targets: tuple[TargetStatus, ...] = ()
        self._database: str | None = "the database has not been reached yet"
        self._failed: str | None = None
        self.holds_lock = False
        self.looked: Callable[[], None] = lambda: None

    def sink(self, event: Event, _context: Context) -> None:
        """Take an event."""
        match event:
            case ListenerConnected():
                self._listening = True
            case ListenerLost():
                self._listening = False
            case LockAcquired():
                self.holds_lock = True
            case LockReleased():
                self.released()
            case MigrationStarted(version, migration, _, mode, segments):
                self._running = Running(version, migration, mode, 1, segments, self._now())
            case SegmentFinished(_, index, segments) if self._running is not None and index < segments:
                was = self._running
                self._running = Running(was.version, was.name, was.mode, index + 1, segments, was.started_at)
            case MigrationFinished():
                self._running = None
            case JobFailed():
                self._failed = event.message
            case WorkerDraining():
                self._draining = True
            case _:
                pass

    def released(self) -> None:
        """The lock is given back, or its connection is gone."""
        self.holds_lock = False
        self._running = None

    def tells(self, error: TidegateError) -> bool:
        """Whether the last job that failed said this already."""
        return self._failed == error.message

    def reached(self, status: TargetStatus) -> None:
        """The database was read."""
        self._database = None
        self._targets = (status,)
        self.looked()

    def unreachable(self, why: str) -> None:
        """The database could not be read; what was known of the targets stays, marked as such."""
        self._database = why

    def snapshot(self) -> Snapshot:
        """Everything, now."""
        return Snapshot(
            worker=self._worker,
            version=self._version,
            started_at=self._started_at,
            at=self._now(),
            database=self._database,
            draining=self._draining,
            listening=self._listening,
            holds_lock=self.holds_lock,
            running=self._running,
            targets=self._targets,
        )
