"""What happens to a worker, its database, its bundles, jobs and gates, as events."""

from typing import ClassVar

from worker.core.events.event import Event, Level, Outcome
from worker.core.value import dataclass


@dataclass(frozen=True, slots=True)
class WorkerStarted(Event):
    """The worker read its settings and began."""

    version: str
    pid: int


@dataclass(frozen=True, slots=True)
class HttpServing(Event):
    """The HTTP face accepts connections."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class WorkerDraining(Event):
    """A signal asked the worker to stop; nothing new is started."""

    signal: str
    drain_timeout_seconds: float


@dataclass(frozen=True, slots=True)
class WorkerStopped(Event):
    """The worker is done; the lock is free and no backend is left."""


@dataclass(frozen=True, slots=True)
class WorkerFailed(Event):
    """The worker ended with an error: what was wrong, and what to do; `reason` is one word."""

    level: ClassVar[Level] = Level.ERROR
    reason: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class DatabaseUnreachable(Event):
    """The database could not be reached; tried again after `delay_seconds`."""

    level: ClassVar[Level] = Level.WARNING
    message: str
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class DatabaseRefused(Event):
    """The database has refused the login or a setting so often that no rotation explains it: a person is needed.

    It is tried again after `delay_seconds` all the same.
    """

    level: ClassVar[Level] = Level.ERROR
    message: str
    hint: str
    attempts: int
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class DatabaseChanged(Event):
    """The server or the database is another one than at the last look, or was promoted or restored since.

    Everything is read again at every look; this says why a version may have gone back.
    """

    level: ClassVar[Level] = Level.WARNING
    before: str
    now: str


@dataclass(frozen=True, slots=True)
class ControlUpgraded(Event):
    """The control schema was created or brought up to this program's version."""

    schema: str
    applied: int


@dataclass(frozen=True, slots=True)
class ReadersDenied(Event):
    """A role in TIDEGATE_READERS may not read readiness, so its gate stays closed; `grant` is for the owner to run.

    The worker's own role does not own the control schema, and a GRANT of it has no effect.
    """

    level: ClassVar[Level] = Level.WARNING
    reader: str
    grant: str


@dataclass(frozen=True, slots=True)
class BundleOffered(Event):
    """A worker or `up` offered its directory; `decision` says what came of it."""

    label: str
    digest: str
    decision: str


@dataclass(frozen=True, slots=True)
class BundleDoubted(Event):
    """A bundle was used in spite of its signatures, since TIDEGATE_TRUST is `warn`."""

    level: ClassVar[Level] = Level.WARNING
    message: str


@dataclass(frozen=True, slots=True)
class BundleKept(Event):
    """An offered bundle was not made wanted, since it does not extend the wanted one."""

    level: ClassVar[Level] = Level.WARNING
    offered: str
    wanted: str
    relation: str


@dataclass(frozen=True, slots=True)
class BundlePublished(Event):
    """A bundle became wanted."""

    label: str
    digest: str
    line: str


@dataclass(frozen=True, slots=True)
class LockWaiting(Event):
    """Somebody else holds the lock: who, from where, since when."""

    holder_role: str
    holder_application: str
    holder_address: str
    holder_pid: int
    holder_since: str
    ours: bool


@dataclass(frozen=True, slots=True)
class LockAcquired(Event):
    """The lock is held and the fence is raised."""

    epoch: int
    waited_seconds: float


@dataclass(frozen=True, slots=True)
class LockTimedOut(Event):
    """The advisory lock was not free in time; a worker tries again, a command ends."""

    level: ClassVar[Level] = Level.WARNING
    waited_seconds: float


@dataclass(frozen=True, slots=True)
class LockLeft(Event):
    """The lock is waited for no longer: its holder has done what it was wanted for."""

    waited_seconds: float


@dataclass(frozen=True, slots=True)
class LockReleased(Event):
    """The lock was given back."""

    level: ClassVar[Level] = Level.DEBUG
    held_seconds: float


@dataclass(frozen=True, slots=True)
class FenceRejected(Event):
    """A write with a stale epoch was refused: another worker has taken over."""

    level: ClassVar[Level] = Level.WARNING
    epoch: int


@dataclass(frozen=True, slots=True)
class LedgerAdopted(Event):
    """Versions that golang-migrate recorded were taken over as assumed; it may have skipped some of them."""

    level: ClassVar[Level] = Level.WARNING
    versions: int
    highest: int


@dataclass(frozen=True, slots=True)
class JobStarted(Event):
    """A target is being brought to a bundle."""

    pending: int
    first: int | None
    last: int | None


@dataclass(frozen=True, slots=True)
class JobFinished(Event):
    """The canonical line of a job that ended well or was interrupted."""

    outcome: Outcome
    applied: int
    duration_seconds: float


@dataclass(frozen=True, slots=True)
class JobFailed(Event):
    """A job failed, was refused or is in doubt; it waits for a retry or for another bundle."""

    level: ClassVar[Level] = Level.ERROR
    outcome: Outcome
    reason: str
    message: str
    hint: str
    applied: int
    duration_seconds: float


@dataclass(frozen=True, slots=True)
class JobEventsKept(Event):
    """Rows of job_event stay for longer than ninety days, since the worker's role may not remove them.

    `grant` is for the owner to run.
    """

    level: ClassVar[Level] = Level.WARNING
    grant: str


@dataclass(frozen=True, slots=True)
class ReadinessSet(Event):
    """The readiness row was written; `publish_to_ready_seconds` is None where nothing was published for it."""

    bundle: str
    version: int | None
    lowest_pending: int | None
    publish_to_ready_seconds: float | None


@dataclass(frozen=True, slots=True)
class ReadinessForeign(Event):
    """The readiness row was written in another server or database: the ledger is checked, and the row stamped anew."""

    level: ClassVar[Level] = Level.WARNING
    written_in: str
    now_in: str


@dataclass(frozen=True, slots=True)
class TargetPaused(Event):
    """The target is paused or pinned: pending work is left alone."""

    why: str


@dataclass(frozen=True, slots=True)
class ListenerConnected(Event):
    """LISTEN is in place."""

    level: ClassVar[Level] = Level.DEBUG


@dataclass(frozen=True, slots=True)
class ListenerLost(Event):
    """The listening connection was lost; the poll goes on, and it reconnects after `delay_seconds`."""

    level: ClassVar[Level] = Level.WARNING
    cause: str
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class WorkerWoken(Event):
    """Something asked to look again: start, notify, poll, retry or reconnect."""

    level: ClassVar[Level] = Level.DEBUG
    source: str


@dataclass(frozen=True, slots=True)
class GateWaiting(Event):
    """The requirement is not met yet, and why."""

    requirement: str
    why: str
    message: str


@dataclass(frozen=True, slots=True)
class GateOpened(Event):
    """The requirement is met."""

    requirement: str
    waited_seconds: float


@dataclass(frozen=True, slots=True)
class GateFound(Event):
    """The requirement was met at the first look: nothing was held back, and a quiet log stays quiet."""

    level: ClassVar[Level] = Level.DEBUG
    requirement: str
