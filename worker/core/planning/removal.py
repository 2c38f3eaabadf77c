"""Removal of the control schema: what would go, what stays, and what stands in the way."""

from collections.abc import Iterable

from worker.core.bundles.migration import Direction
from worker.core.planning.job import JobState
from worker.core.planning.plan import Refused, VersionRow
from worker.core.target import Target
from worker.core.value import dataclass

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Thing:
    """An object as a person names it; `rows` of a table."""

    kind: str
    name: str
    rows: int | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Grant:
    """Privileges of a role on something in the control schema."""

    role: str
    privileges: str
    on: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A target's version table, which stays; without one, or without a row in it, `recorded` is None."""

    target: Target
    has_table: bool
    recorded: VersionRow | None


@dataclass(frozen=True, slots=True)
class HalfDone:
    """A migration that has rows in the journal; `file` is its name in the newest bundle that has it."""

    target: str
    version: int
    direction: Direction
    file: str | None


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job that runs, or is in doubt."""

    target: str
    bundle: str
    state: JobState


@dataclass(frozen=True, slots=True)
class Client:
    """A session of Tidegate's, or whoever holds the lock that is named in `holds`."""

    application: str
    role: str
    address: str
    pid: int
    holds: str | None = None

    def __str__(self) -> str:
        return f"{self.application or 'unnamed'} (role {self.role}, address {self.address}, backend {self.pid})"


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that is in the control schema or hangs on it; `owners` are those that this role may not act as."""

    ours: tuple[Thing, ...] = ()
    strangers: tuple[Thing, ...] = ()
    dependents: tuple[Thing, ...] = ()
    owners: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    kept: tuple[Kept, ...] = ()
    half_done: tuple[HalfDone, ...] = ()
    jobs: tuple[OpenJob, ...] = ()
    holders: tuple[Client, ...] = ()
    clients: tuple[Client, ...] = ()

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets that are known here."""
        return tuple(kept.target for kept in self.kept)


def objection(found: Inventory, control: str) -> Refused | None:
    """Say why the control schema may not be dropped now, if it may not."""
    if found.owners:
        return _owned(found.owners[0], control)
    if found.holders:
        return _held(found.holders[0])
    if found.clients:
        return Refused(
            "connected",
            f"sessions of Tidegate are still connected: {_some(found.clients)}",
            "stop the workers and whatever waits at a gate: they would create the control schema again",
        )
    if found.half_done:
        return _half_done(found.half_done[0])
    if found.jobs:
        return _open_job(found.jobs[0])
    return _not_alone(found, control)


def _owned(owner: str, control: str) -> Refused:
    return Refused(
        "privilege",
        f"the schema {control} holds what belongs to role {owner}, and only its owner may drop it",
        f"run it as {owner}, or with DB_MIGRATIONS_OPTIONS='-c role={owner}'",
    )


def _held(holder: Client) -> Refused:
    return Refused(
        "locked",
        f"the advisory lock of {holder.holds} is held by {holder}",
        "let it finish, or end it with pg_terminate_backend()",
    )


def _half_done(work: HalfDone) -> Refused:
    file = "" if work.file is None else f", {work.file}"
    return Refused(
        "half_done",
        f"migration {work.version} ({work.direction.value}{file}) of {work.target} is half done",
        f"tidegate up goes on with it; or look at the schema, and say tidegate force {work.version} "
        "if all of it is there, else force the version before it",
    )


def _open_job(job: OpenJob) -> Refused:
    state = "running, though no worker holds its lock" if job.state is JobState.RUNNING else "in doubt"
    return Refused(
        "job",
        f"the job that brings {job.target} to bundle {job.bundle} is {state}",
        f"tidegate up finishes it; tidegate bundle withdraw {job.bundle} gives it up",
    )


def _not_alone(found: Inventory, control: str) -> Refused | None:
    if found.strangers:
        return Refused(
            "not_ours",
            f"the schema {control} holds what is not Tidegate's: {_some(found.strangers)}",
            "move it to another schema with ALTER … SET SCHEMA, or drop it",
        )
    if found.dependents:
        return Refused(
            "depended_on",
            f"something outside the schema {control} depends on what is in it: {_some(found.dependents)}",
            "drop it, or take the reference out of it",
        )
    return None


def _some(things: Iterable[object]) -> str:
    names = list(map(str, things))
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
