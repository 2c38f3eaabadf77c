"""One value that says all that a worker knows: `/status.json`, `/readyz` and `tidegate status` are made from it."""

from datetime import datetime

from worker.core.drift import Verdict
from worker.core.failure import Failure
from worker.core.job import JobState
from worker.core.readiness import Identity, Readiness
from worker.core.value import dataclass


@dataclass(frozen=True, slots=True)
class Running:
    """The migration that this worker runs now; segments count from 1."""

    version: int
    name: str
    mode: str
    segment: int
    segments: int
    started_at: datetime


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """A target as last read; `version` and `dirty` are the version table's, `drift` is None before the first look."""

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
    drift: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A worker's knowledge at `at` (UTC); `database` is None while it can be reached, else why not."""

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
