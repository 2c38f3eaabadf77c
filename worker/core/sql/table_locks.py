"""Table locks: the modes, what a statement takes as far as its text tells, and what a migration takes in all.

Tables that the migration itself creates are left out, since nobody else can wait for them, and so are the ACCESS SHARE
locks on what a query reads. What a foreign key, a trigger or a view that is in the database already adds is not seen.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class LockMode(Enum):
    """PostgreSQL's modes, from the weakest to the strongest, in the words of its manual."""

    ACCESS_SHARE = "ACCESS SHARE"
    ROW_SHARE = "ROW SHARE"
    ROW_EXCLUSIVE = "ROW EXCLUSIVE"
    SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
    SHARE = "SHARE"
    SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
    EXCLUSIVE = "EXCLUSIVE"
    ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"

    @property
    def strength(self) -> int:
        """A number that grows with what the mode keeps others from."""
        return _STRENGTH[self]

    @property
    def holds_up(self) -> str:
        """What of an application has to wait behind it: nothing, writes, or reads and writes."""
        if self is LockMode.ACCESS_EXCLUSIVE:
            return "reads and writes"
        return "writes" if self.strength >= LockMode.SHARE.strength else "nothing"


_STRENGTH = {mode: strength for strength, mode in enumerate(LockMode)}


@dataclass(frozen=True, slots=True, order=True)
class Relation:
    """A relation as a statement names it; the schema is "" where the search path decides."""

    schema: str
    name: str


class Whose(Enum):
    """Whether the lock is the named relation's own, or that of the table of the index that is named."""

    OWN = "own"
    TABLE_OF_INDEX = "table of index"


@dataclass(frozen=True, slots=True)
class TableLock:
    """One lock."""

    relation: Relation
    mode: LockMode
    whose: Whose = Whose.OWN


@dataclass(frozen=True, slots=True)
class Taken:
    """What a statement takes, what it creates, and whether that may not be all."""

    locks: tuple[TableLock, ...] = ()
    created: tuple[Relation, ...] = ()
    may_be_more: bool = False


NOTHING = Taken()
UNKNOWN = Taken(may_be_more=True)


@dataclass(frozen=True, slots=True)
class MigrationLocks:
    """What a migration takes, the strongest of each relation; `unknown` holds the lines that may take more."""

    locks: tuple[TableLock, ...]
    unknown: tuple[int, ...]


def summed(statements: Iterable[tuple[int, Taken]]) -> MigrationLocks:
    """What statements take together, each given with its line."""
    strongest: dict[tuple[Relation, Whose], TableLock] = {}
    created: set[Relation] = set()
    unknown = []
    for line, taken in statements:
        if taken.may_be_more:
            unknown.append(line)
        for lock in taken.locks:
            before = strongest.get((lock.relation, lock.whose))
            if lock.relation not in created and (before is None or before.mode.strength < lock.mode.strength):
                strongest[lock.relation, lock.whose] = lock
        created.update(taken.created)
    return MigrationLocks(tuple(strongest.values()), tuple(unknown))


@dataclass(frozen=True, slots=True)
class TableSize:
    """A table as the catalogue knows it, its partitions included; `rows` is an estimate, None before any ANALYZE."""

    table: str
    size_bytes: int
    rows: int | None
