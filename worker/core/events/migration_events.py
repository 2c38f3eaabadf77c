"""What happens to a migration while it runs, as events."""

from typing import ClassVar

from worker.core.events.event import Event, Level, Outcome
from worker.core.events.failure import Failure
from worker.core.value import dataclass


@dataclass(frozen=True, slots=True)
class MigrationStarted(Event):
    """A migration begins."""

    version: int
    migration: str
    direction: str
    mode: str
    segments: int
    statements: int = 0


@dataclass(frozen=True, slots=True)
class MigrationWaiting(Event):
    """A migration waits for a lock that somebody holds; `holder` is a client, an autovacuum, a prepared transaction."""

    level: ClassVar[Level] = Level.WARNING
    version: int
    holder: str
    holder_role: str
    holder_application: str
    holder_pid: int
    holder_state: str
    holder_since: str


@dataclass(frozen=True, slots=True)
class AppBlocked(Event):
    """Sessions of the application wait behind a migration: how many, who waits longest, and for how long by now.

    It is told when that begins to last, and again, with `over_budget`, when the migration is cancelled for it.
    """

    level: ClassVar[Level] = Level.WARNING
    version: int
    waiting: int
    role: str
    application: str
    blocked_seconds: float
    over_budget: bool


@dataclass(frozen=True, slots=True)
class WatchLost(Event):
    """Nobody sees who waits for whom around the migrations of this job, which go on; it is tried again."""

    level: ClassVar[Level] = Level.WARNING
    message: str


@dataclass(frozen=True, slots=True)
class MigrationRetried(Event):
    """An attempt was rolled back and will be repeated; `cause` is a SQLSTATE, or `app_blocked`."""

    level: ClassVar[Level] = Level.WARNING
    version: int
    cause: str
    attempt: int
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class SegmentFinished(Event):
    """A segment of a journalled migration is done; `index` counts from 1."""

    version: int
    index: int
    segments: int
    duration_seconds: float


@dataclass(frozen=True, slots=True)
class BackendAwaited(Event):
    """Nothing is decided before another backend is gone or at its end; `doing` says what it is at."""

    level: ClassVar[Level] = Level.WARNING
    backend_pid: int
    backend_role: str
    backend_application: str
    doing: str


@dataclass(frozen=True, slots=True)
class SegmentRecovered(Event):
    """An earlier run of a segment left something, or another way of sending it is needed; `step` says what was done."""

    level: ClassVar[Level] = Level.WARNING
    version: int
    index: int
    step: str


@dataclass(frozen=True, slots=True)
class BatchStarted(Event):
    """Migrations that share one transaction begin; each of them is told when all of them are committed."""

    first: int
    last: int
    migrations: int


@dataclass(frozen=True, slots=True)
class BatchUndone(Event):
    """A transaction that migrations shared was rolled back, and they are run one by one; `cause` is a SQLSTATE."""

    level: ClassVar[Level] = Level.WARNING
    first: int
    last: int
    migrations: int
    cause: str


@dataclass(frozen=True, slots=True)
class PipelineStarted(Event):
    """Migrations are sent in one message, each a transaction of its own; they are told after the last is committed."""

    first: int
    last: int
    migrations: int


@dataclass(frozen=True, slots=True)
class PipelineStopped(Event):
    """Some of them are applied; the next runs by itself where `cause` is a SQLSTATE, or `slow`.

    Where it is `fenced`, `lost` or `interrupted`, the run goes no further here; `applied` is null where only the ledger
    tells.
    """

    first: int
    last: int
    migrations: int
    applied: int | None
    cause: str


@dataclass(frozen=True, slots=True)
class MigrationFinished(Event):
    """The canonical line of a migration."""

    version: int
    migration: str
    direction: str
    mode: str
    outcome: Outcome
    duration_seconds: float
    retries: int
    lock_wait_seconds: float
    app_blocked_seconds: float


@dataclass(frozen=True, slots=True)
class MigrationFailed(Event):
    """A migration failed, and where."""

    level: ClassVar[Level] = Level.ERROR
    version: int
    failure: Failure
