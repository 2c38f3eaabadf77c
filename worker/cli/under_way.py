"""What a run is at, kept from its events."""

from collections.abc import Callable
from dataclasses import dataclass

from worker.cli.sighting import wait_of
from worker.core.events.event import Event, Outcome
from worker.core.events.events import GateOpened, GateWaiting, JobStarted, LockAcquired, LockLeft, LockWaiting
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
from worker.core.status.sighting import Progress, Sighting


@dataclass(slots=True)
class UnderWay:
    """What a run is at; times are monotonic seconds, segments count from 1.

    `wait` says what is waited for, `holder` who was last seen to hold the table lock that the migration needs, and
    `progress` how far the server says that a long command has come. `together` are the ends of those migrations that go
    in one transaction or one message.
    """

    clock: Callable[[], float]
    total: int = 0
    done: int = 0
    began: float = 0.0
    migration: MigrationStarted | None = None
    migration_began: float = 0.0
    together: str = ""
    segment: int = 1
    holder: str = ""
    wait: str = ""
    progress: Progress | None = None

    def take(self, event: Event) -> None:
        """Take an event."""
        match event:
            case JobStarted(pending):
                self.total, self.done, self.began, self.wait = pending, 0, self.clock(), ""
            case MigrationStarted():
                self.migration, self.segment, self.migration_began = event, 1, self.clock()
                self.holder, self.wait, self.progress = "", "", None
            case BatchStarted(first, last) | PipelineStarted(first, last):
                self.together, self.migration_began = f"{first} to {last}", self.clock()
            case BatchUndone() | PipelineStopped():
                self.together = ""
            case SegmentFinished(_, index, segments):
                self.segment, self.wait, self.progress = min(index + 1, segments), "", None
            case MigrationFinished(outcome=outcome):
                self.migration, self.together, self.wait, self.progress = None, "", "", None
                self.done += outcome is Outcome.SUCCEEDED
            case MigrationRetried(_, cause, attempt, delay):
                why = self.holder or f"attempt {attempt} was rolled back ({cause})"
                self.wait = f"{why}; attempt {attempt + 1} comes in {delay:.1f} s"
            case _:
                self.wait = _wait(event, self.wait)

    def see(self, sighting: Sighting) -> None:
        """Take what was seen of the migration that runs."""
        self.progress, self.wait = sighting.progress, wait_of(sighting)
        self.holder = self.wait if sighting.ahead is not None else self.holder


def _wait(event: Event, before: str) -> str:
    """What is waited for after an event."""
    match event:
        case LockWaiting(role, application, _, pid):
            named = application or "an unnamed application"
            return f"waits for the lock, which role {role}, {named}, backend {pid} holds"
        case GateWaiting(message=message):
            return message
        case LockAcquired() | LockLeft() | GateOpened():
            return ""
        case _:
            return before
