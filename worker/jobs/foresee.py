"""What the migrations of a preview will lock, and how large that is; nothing is changed."""

from collections.abc import Iterable

from worker.applier.run import read
from worker.core.bundles.migration import Direction, Side
from worker.core.planning.plan import Run
from worker.core.sql.script import Script
from worker.core.sql.statement_locks import locks_of
from worker.core.sql.table_locks import MigrationLocks, Relation, TableLock, TableSize, Whose
from worker.core.value import dataclass
from worker.postgres.session import Session
from worker.postgres.sizes import read_sizes


@dataclass(frozen=True, slots=True)
class SizedLock:
    """A lock on a table; `size` is None where the table is not there yet, or where that cannot be told."""

    lock: TableLock
    size: TableSize | None

    @property
    def table(self) -> str:
        """The table's name: the catalogue's, or else as the statement has it."""
        relation = self.lock.relation
        named = f"{relation.schema}.{relation.name}" if relation.schema else relation.name
        if self.size is not None:
            return self.size.table
        return named if self.lock.whose is Whose.OWN else f"the table of {named}"


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A migration that would be run: its script, its locks, and the lines that may lock more than the text tells."""

    run: Run
    script: Script
    locks: tuple[SizedLock, ...]
    unknown: tuple[int, ...]

    @property
    def side(self) -> Side | None:
        """The file that would be run."""
        migration = self.run.migration
        return migration.up if self.run.direction is Direction.UP else migration.down


async def foresee(session: Session, runs: Iterable[Run]) -> tuple[Foreseen, ...]:
    """Read every script, and the sizes of all tables in one query.

    Raises:
        RefusedError: A script cannot be run as what it claims to be.
        BundleError: A script cannot be sent; names the file and the line.
        ConnectionLostError: The connection broke.
    """
    scripts = [(run, read(run.migration, run.direction)) for run in runs]
    found = [(run, script, locks_of(script)) for run, script in scripts]
    relations = {lock.relation for _, script, locks in found for lock in locks.locks if _is_findable(script, lock)}
    sizes = await read_sizes(session, sorted(relations)) if relations else {}
    return tuple(Foreseen(run, script, _sized(script, locks, sizes), locks.unknown) for run, script, locks in found)


def _sized(script: Script, locks: MigrationLocks, sizes: dict[Relation, TableSize]) -> tuple[SizedLock, ...]:
    return tuple(
        SizedLock(lock, sizes.get(lock.relation) if _is_findable(script, lock) else None) for lock in locks.locks
    )


def _is_findable(script: Script, lock: TableLock) -> bool:
    """Whether the session's search path is the one that the name is looked up by."""
    return bool(lock.relation.schema) or not any("search_path" in segment.text for segment in script.segments)
