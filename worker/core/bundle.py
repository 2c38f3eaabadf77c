"""Bundles: an immutable, ordered set of migrations with a label and a digest over its content."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from worker.core.migration import Migration


class OrderPolicy(Enum):
    """What to do with a version that is lower than one already applied."""

    ERROR = "error"
    APPLY = "apply"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `bundle.toml` says; None means not said. `serves` is the oldest version still served."""

    label: str | None = None
    line: str | None = None
    serves: int | None = None
    order: OrderPolicy | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked bundle; `migrations` is sorted by version, `files` holds the raw bytes by name."""

    migrations: tuple[Migration, ...]
    files: Mapping[str, bytes] = field(repr=False)
    digest: str
    manifest: Manifest
    label: str


class Relation(Enum):
    """How an offered bundle relates to the wanted one, by its versions and their up checksums."""

    SAME = "same"
    EXTENDS = "extends"
    OLDER = "older"
    DIVERGED = "diverged"
