"""One value that says all that a worker knows: page, `/status.json`, `/readyz` and `tidegate status` are made of it.

It lives as long as a moment; what belongs to a target was read together with it, and what belongs to the worker is
known from its own events.
"""

from datetime import datetime

from worker.core.events.failure import Failure
from worker.core.fleet.count import Count
from worker.core.planning.job import JobState
from worker.core.planning.readiness import Identity, Readiness
from worker.core.running.blocking import Blocker, Waiter
from worker.core.status.company import Peer
from worker.core.status.drift import Verdict
from worker.core.status.fleet_status import AtWork, Halt, Misdeclared, TroubledTarget
from worker.core.status.sighting import Progress
from worker.core.value import dataclass

BUNDLES = 20
"""So many of a line's newest bundles are known."""

STEPS = 30
"""So many of the newest lines of the history are known."""

WAITERS = 5
"""So many of the sessions behind a migration are known by name: those that wait longest."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Whom a migration waits for, and since when without a break."""

    holder: Blocker
    since: datetime


@dataclass(frozen=True, slots=True)
class Blocked:
    """How many sessions of the application wait behind a migration; of `longest` the first waits longest."""

    sessions: int
    longest: tuple[Waiter, ...]


@dataclass(frozen=True, slots=True)
class Running:
    """The migration that this worker runs now; segments count from 1.

    `statements` are the file's, 0 where they were not counted. `retries` are the attempts that were rolled back, and
    `cause` says why the last one was: a SQLSTATE, or `app_blocked`.
    """

    version: int
    name: str
    mode: str
    segment: int
    segments: int
    started_at: datetime
    direction: str = "up"
    statements: int = 0
    retries: int = 0
    cause: str | None = None
    waiting: Waiting | None = None
    blocked: Blocked | None = None
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class JobProgress:
    """The job that this worker is at: so many of its migrations are done.

    `first` and `last` are the ends of those that go together now, in one transaction or one message.
    """

    target: str
    bundle: str
    done: int
    total: int
    started_at: datetime
    first: int | None = None
    last: int | None = None

    @property
    def together(self) -> str:
        """Which go together now, empty where none do."""
        return "" if self.last is None else f"{self.first} to {self.last}"


@dataclass(frozen=True, slots=True)
class LockWait:
    """Who holds the lock that this worker waits for; `ours` is another of our own programs."""

    role: str
    application: str
    address: str
    pid: int
    connected_since: str
    ours: bool
    since: datetime


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the last round could not go on until a person mends something; a job of its own need not be there."""

    reason: str
    message: str
    hint: str
    since: datetime


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Whose session held the target's lock when it was last looked at."""

    role: str
    application: str
    pid: int


@dataclass(frozen=True, slots=True)
class BundleStatus:
    """A bundle of the line, and what its job came to on this target.

    `applied` counts the migrations of the last attempt. `started_at` and `finished_at` are of that attempt too.
    """

    label: str
    published_at: datetime
    published_by: str
    wanted: bool
    withdrawn: bool
    migrations: int
    state: JobState | None
    attempts: int
    applied: int
    worker: str | None
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the history; `action` is up, down, adopt, force, repair or answer."""

    at: datetime
    action: str
    version: int
    name: str
    bundle: str
    mode: str
    duration_ms: float
    role: str
    worker: str


@dataclass(frozen=True, slots=True)
class Panorama:
    """What is shown of a target besides what deciding needs; newest first, but for the peers, and read at `at`."""

    at: datetime
    bundles: tuple[BundleStatus, ...]
    steps: tuple[Step, ...]
    peers: tuple[Peer, ...]
    lock: LockHolder | None


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """A target as last read; `version` and `dirty` are the version table's, `names` those of what is pending.

    `hint` is what to do about a failure or a refusal. `panorama` is None until it was read, and where that cannot be;
    `drift` is None before the first look. `elsewhere` is how to ask a fleet's home what is wanted, where that is not
    known here.
    """

    target: str
    line: str
    wanted: str | None
    version: int | None
    dirty: bool
    applied: int
    pending: tuple[int, ...]
    state: JobState | None
    paused: str | None
    epoch: int | None
    readiness: Readiness | None
    identity: Identity
    failure: Failure | None
    refusal: str | None
    job_started_at: datetime | None = None
    names: tuple[str, ...] = ()
    hint: str | None = None
    panorama: Panorama | None = None
    drift: Verdict | None = None
    elsewhere: str | None = None

    @property
    def upcoming(self) -> tuple[tuple[int, str], ...]:
        """The versions that are pending, each with its name, empty where that is not known."""
        names = (*self.names, *[""] * len(self.pending))
        return tuple(zip(self.pending, names, strict=False))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A worker's knowledge at `at` (UTC); `database` is None while it can be reached, else why not.

    `looked_at` is when the targets were last read. `fleet` counts those of a fleet, too many to be told singly;
    `halted`, `troubled`, `misdeclared` and `at_work` are of a fleet too, and empty for one target.
    """

    worker: str
    version: str
    started_at: datetime
    at: datetime
    database: str | None
    draining: bool
    listening: bool
    holds_lock: bool
    running: Running | None
    targets: tuple[TargetStatus, ...]
    looked_at: datetime | None = None
    job: JobProgress | None = None
    lock_wait: LockWait | None = None
    trouble: Trouble | None = None
    fleet: tuple[Count, ...] = ()
    halted: tuple[Halt, ...] = ()
    troubled: tuple[TroubledTarget, ...] = ()
    misdeclared: tuple[Misdeclared, ...] = ()
    at_work: tuple[AtWork, ...] = ()

    @property
    def is_fleet(self) -> bool:
        """Whether a fleet was read, which has no single target to tell of."""
        return self.looked_at is not None and not self.targets
