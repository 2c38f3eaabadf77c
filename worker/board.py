"""What a worker knows, kept from the events that it emits, the targets that it looks at, and what it sees running."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from worker.core.events.event import Context, Event, Outcome
from worker.core.events.events import (
    JobFailed,
    JobFinished,
    JobStarted,
    ListenerConnected,
    ListenerLost,
    LockAcquired,
    LockLeft,
    LockReleased,
    LockTimedOut,
    LockWaiting,
    WorkerDraining,
)
from worker.core.events.migration_events import (
    BatchStarted,
    BatchUndone,
    MigrationFinished,
    MigrationRetried,
    MigrationStarted,
    PipelineStarted,
    PipelineStopped,
    SegmentFinished,
)
from worker.core.fleet.count import Count
from worker.core.planning.job import JobState
from worker.core.planning.readiness import Readiness
from worker.core.status.masking import Mask, masked
from worker.core.status.sighting import Sighting
from worker.core.status.snapshot import (
    WAITERS,
    Blocked,
    JobProgress,
    LockWait,
    Running,
    Snapshot,
    TargetStatus,
    Trouble,
    Waiting,
)
from worker.errors import TidegateError


class Board:
    """Takes events, looks and sightings, and gives the snapshot at any moment; it belongs to one event loop.

    `looked` is called after every look at the targets, also one that found nothing to do and emitted nothing.
    `is_stale` says that the lock was held since the last look, so that what was seen may have changed. `mask` takes
    the secrets out of what a server said.
    """

    def __init__(self, worker: str, version: str, now: Callable[[], datetime], mask: Mask = str) -> None:
        self._worker = worker
        self._version = version
        self._now = now
        self._mask = mask
        self._started_at = now()
        self._draining = False
        self._listening = False
        self._running: Running | None = None
        self._job: JobProgress | None = None
        self._lock_wait: LockWait | None = None
        self._targets: tuple[TargetStatus, ...] = ()
        self._fleet: tuple[Count, ...] = ()
        self._looked_at: datetime | None = None
        self._database: str | None = "the database has not been reached yet"
        self._failed: str | None = None
        self._trouble: Trouble | None = None
        self.holds_lock = False
        self.is_stale = False
        self.looked: Callable[[], None] = lambda: None

    def sink(self, event: Event, context: Context) -> None:
        """Take an event."""
        match event:
            case ListenerConnected():
                self._listening = True
            case ListenerLost():
                self._listening = False
            case WorkerDraining():
                self._draining = True
            case JobFailed():
                self._failed = event.message
                self._trouble = Trouble(event.reason, self._mask(event.message), self._mask(event.hint), self._now())
            case _:
                pass
        self._heed_lock(event)
        self._heed_job(event, context)
        self._heed_migration(event)

    def _heed_lock(self, event: Event) -> None:
        match event:
            case LockWaiting(role, application, address, pid, connected, ours):
                self._lock_wait = LockWait(role, application, address, pid, connected, ours, self._now())
            case LockTimedOut() | LockLeft():
                self._lock_wait = None
            case LockAcquired():
                self.holds_lock = True
                self._lock_wait = None
            case LockReleased():
                self.released()
            case _:
                pass

    def _heed_job(self, event: Event, context: Context) -> None:
        match event:
            case JobStarted(pending):
                target, bundle = str(context.get("target", "")), str(context.get("bundle", ""))
                self._job = JobProgress(target, bundle, 0, pending, self._now())
                self._targets = tuple(map(self._begun, self._targets))
            case JobFinished() | JobFailed():
                self._job = None
            case BatchStarted(first, last) | PipelineStarted(first, last) if self._job is not None:
                self._job = replace(self._job, first=first, last=last)
            case BatchUndone() | PipelineStopped() | MigrationFinished() if self._job is not None:
                self._job = replace(self._job, first=None, last=None)
            case _:
                pass

    def _begun(self, status: TargetStatus) -> TargetStatus:
        if self._job is None or status.target != self._job.target:
            return status
        started_at = self._job.started_at
        return replace(status, state=JobState.RUNNING, job_started_at=started_at, failure=None, refusal=None, hint=None)

    def _heed_migration(self, event: Event) -> None:
        running = self._running
        match event:
            case MigrationStarted():
                self._running = _started(event, self._now())
            case SegmentFinished(_, index, segments) if running is not None and index < segments:
                self._running = replace(running, segment=index + 1, waiting=None, blocked=None, progress=None)
            case MigrationRetried(_, cause, attempt) if running is not None:
                # Nobody is behind it until the next attempt, but whoever was in its way is likely to be so still.
                self._running = replace(running, retries=attempt, cause=cause, blocked=None)
            case MigrationFinished():
                self._running, self._lock_wait = None, None
                if event.outcome is Outcome.SUCCEEDED:
                    self._done(event)
            case _:
                pass

    def _done(self, event: MigrationFinished) -> None:
        if self._job is None:
            return
        job = self._job = replace(self._job, done=self._job.done + 1)
        if event.direction == "up":
            self._targets = tuple(
                _with(status, event.version) if status.target == job.target else status for status in self._targets
            )

    def sighted(self, sighting: Sighting) -> None:
        """Take what was seen of the migration that runs."""
        running = self._running
        if running is None or running.version != sighting.version:
            return
        was, behind = running.waiting, sighting.behind
        waiting = None if sighting.ahead is None else Waiting(sighting.ahead, self._now())
        if waiting is not None and was is not None and was.holder.pid == waiting.holder.pid:
            waiting = replace(waiting, since=was.since)
        blocked = Blocked(len(behind), behind[:WAITERS]) if behind else None
        self._running = replace(running, waiting=waiting, blocked=blocked, progress=sighting.progress)

    def stated(self, target: str, row: Readiness) -> None:
        """A readiness row was written: gates open now, though the job goes on a little."""
        self._targets = tuple(replace(each, readiness=row) if each.target == target else each for each in self._targets)

    def released(self) -> None:
        """The lock is given back, or its connection is gone."""
        self.holds_lock = False
        self.is_stale = True
        self._running = None
        self._job = None
        self._lock_wait = None

    def settled(self) -> None:
        """A round came to its end; what stopped an earlier one is told again where it comes back."""
        self._trouble = self._failed = None

    def tells(self, error: TidegateError) -> bool:
        """Whether the last job that failed said this already."""
        return self._failed == error.message

    def reached(self, status: TargetStatus) -> None:
        """The database was read."""
        self._database = None
        self._targets = (masked(status, self._mask),)
        self._looked_at = self._now()
        self.is_stale = False
        self.looked()

    def read_besides(self, status: TargetStatus) -> None:
        """What is only shown was read too; the target was looked at before."""
        self._targets = (masked(status, self._mask),)

    def fleet_reached(self, counts: tuple[Count, ...]) -> None:
        """The home half of a fleet was read."""
        self._database = None
        self._fleet = counts
        self._looked_at = self._now()
        self.looked()

    def unreachable(self, why: str) -> None:
        """The database could not be read; what was known of the targets stays, marked as such."""
        self._database = self._mask(why)

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
            looked_at=self._looked_at,
            job=self._job,
            lock_wait=self._lock_wait,
            trouble=self._trouble,
            fleet=self._fleet,
        )


def _started(event: MigrationStarted, now: datetime) -> Running:
    return Running(
        event.version,
        event.migration,
        event.mode,
        1,
        event.segments,
        now,
        direction=event.direction,
        statements=event.statements,
    )


def _with(status: TargetStatus, version: int) -> TargetStatus:
    """The target with one more version applied; it is read again when the job has ended."""
    left = [(each, name) for each, name in status.upcoming if each != version]
    highest = version if status.version is None else max(version, status.version)
    pending, names = tuple(each for each, _ in left), tuple(name for _, name in left)
    return replace(status, applied=status.applied + 1, version=highest, pending=pending, names=names)
