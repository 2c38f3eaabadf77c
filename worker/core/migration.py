"""Migrations: the file-name grammar, the directives in leading comments, and the values they become."""

from dataclasses import dataclass, field
from enum import Enum

MAX_VERSION = 2**63 - 1


class Direction(Enum):
    """Which side of a migration a file holds."""

    UP = "up"
    DOWN = "down"


class Transaction(Enum):
    """Whether a migration's statements may share a transaction (`transaction=off`)."""

    ON = "on"
    OFF = "off"


class Gate(Enum):
    """Whether readiness requires the migration (`gate=off`)."""

    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class FileName:
    """A file name that the grammar accepts, taken apart."""

    version: int
    name: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class Directives:
    """What the leading `-- tidegate:` comments ask for; timeouts are in milliseconds, None means not said."""

    transaction: Transaction = Transaction.ON
    gate: Gate = Gate.ON
    lock_timeout_ms: int | None = None
    statement_timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One file of a migration: its text, and the lower-case hex SHA-256 of its raw bytes."""

    file: str
    sql: str = field(repr=False)
    checksum: str
    directives: Directives


@dataclass(frozen=True, slots=True)
class Migration:
    """One version; a side that has no file is recorded as applied without running anything."""

    version: int
    name: str
    up: Side | None
    down: Side | None
