"""The one rule of the gate: does what the readiness row states meet what an API requires?

The SQL function `ready()` states the same rule for other languages; a test holds the two together.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import assert_never

from worker.core.bundles.migration import Gate, Migration
from worker.core.value import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """Which server and which database: its system identifier and the database's oid."""

    system_identifier: int
    database_oid: int

    def __str__(self) -> str:
        return f"system {self.system_identifier}, database {self.database_oid}"


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A requirement: this version is applied, and nothing of its bundle up to it is pending."""

    version: int

    def __str__(self) -> str:
        return f"version {self.version}"


@dataclass(frozen=True, slots=True)
class OfBundle:
    """A requirement: every migration of the bundle with this label that the gate waits for is applied."""

    label: str

    def __str__(self) -> str:
        return f"bundle {self.label}"


@dataclass(frozen=True, slots=True)
class OfDirectory:
    """A requirement: every one of these versions is applied; they are a directory's, but for `gate=off`."""

    versions: tuple[int, ...]
    source: str

    def __str__(self) -> str:
        return f"the migrations of {self.source}"


Requirement = AtLeast | OfBundle | OfDirectory


class VersionTable(Enum):
    """What the version table said when the row was written."""

    CLEAN = "clean"
    DIRTY = "dirty"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True)
class Readiness:
    """The readiness row: facts about the schema, never about a worker's health.

    `versions` are all that is applied, ascending. `lowest_pending` is the lowest version of the wanted bundle
    that the gate waits for, `deferred` the pending ones that it does not wait for (`gate=off`). `bundles` are
    the labels whose migrations are applied. `serves` is the oldest version still served, None for all.
    """

    bundle: str | None
    versions: tuple[int, ...]
    lowest_pending: int | None
    deferred: tuple[int, ...]
    bundles: tuple[str, ...]
    serves: int | None
    version_table: VersionTable
    identity: Identity
    epoch: int


class Why(Enum):
    """Why a requirement is not met; stable words for machines."""

    NO_ROW = "no_row"
    IDENTITY = "identity"
    VERSION_TABLE = "version_table"
    NOT_SERVED = "not_served"
    NOT_APPLIED = "not_applied"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Ready:
    """The requirement is met."""


@dataclass(frozen=True, slots=True)
class NotReady:
    """The requirement is not met; `message` says why in one line."""

    why: Why
    message: str


Verdict = Ready | NotReady


def judge(requirement: Requirement, row: Readiness | None, here: Identity) -> Verdict:
    """Say whether `requirement` is met by the row of a target, read on the server that `here` names."""
    if row is None:
        return NotReady(Why.NO_ROW, "the target has no readiness row yet")
    if row.identity != here:
        return NotReady(
            Why.IDENTITY, "the readiness row was written in another database; no worker has checked this one"
        )
    if row.version_table is not VersionTable.CLEAN:
        return NotReady(Why.VERSION_TABLE, f"the version table is {row.version_table.value}")
    match requirement:
        case AtLeast(version):
            return _judge_version(version, row)
        case OfBundle(label):
            met = label in row.bundles
            return Ready() if met else NotReady(Why.NOT_APPLIED, f"bundle {label} is not applied or no longer served")
        case OfDirectory(versions, source):
            return _judge_versions(versions, source, row)
        case _:
            assert_never(requirement)


def _judge_version(version: int, row: Readiness) -> Verdict:
    if row.serves is not None and version < row.serves:
        return NotReady(Why.NOT_SERVED, f"version {version} is no longer served; the oldest that is: {row.serves}")
    if version not in row.versions and version not in row.deferred:
        return NotReady(Why.NOT_APPLIED, f"version {version} is not applied")
    if row.lowest_pending is not None and row.lowest_pending <= version:
        return NotReady(Why.PENDING, f"version {row.lowest_pending} is pending, below the required {version}")
    return Ready()


def _judge_versions(versions: tuple[int, ...], source: str, row: Readiness) -> Verdict:
    if row.serves is not None and max(versions, default=row.serves) < row.serves:
        return NotReady(
            Why.NOT_SERVED, f"{source} ends at version {max(versions)}; the oldest still served: {row.serves}"
        )
    missing = set(versions).difference(row.versions)
    if missing:
        return NotReady(Why.NOT_APPLIED, f"version {min(missing)} of {source} is not applied")
    return Ready()


def required_versions(migrations: Iterable[Migration]) -> tuple[int, ...]:
    """The versions that a gate waits for: all whose up side does not say `gate=off`."""
    return tuple(m.version for m in migrations if m.up is None or m.up.directives.gate is Gate.ON)


def served_bundles(
    bundles: Mapping[str, tuple[int, ...]], applied: frozenset[int], serves: int | None
) -> tuple[str, ...]:
    """Labels, sorted, of the bundles whose required versions are all applied and that are still served.

    `bundles` maps a label to the versions that its gate waits for.
    """
    floor = -1 if serves is None else serves
    return tuple(
        sorted(
            label
            for label, versions in bundles.items()
            if applied.issuperset(versions) and max(versions, default=floor) >= floor
        )
    )
