"""The words of a plan: what a database says, what is asked of it, and the effects that lead there.

`after` says what the database will say once an effect is done.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import assert_never

from worker.core.bundles.migration import Direction, Migration
from worker.core.value import dataclass, replace


@dataclass(frozen=True, slots=True)
class Entry:
    """A ledger row: a version that is applied now; `checksum` is None where no up file is known."""

    version: int
    name: str
    checksum: str | None


@dataclass(frozen=True, slots=True)
class VersionRow:
    """The version table's row; no row at all is None."""

    version: int
    dirty: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """The journal of a migration that is under way: digests of its finished segments, in order.

    `cut` is the digest of a segment that was begun and whose result is not recorded, `cut_pid` its backend, and
    `cut_at` the server's time at which it was begun.
    """

    version: int
    direction: Direction
    done: tuple[str, ...]
    cut: str | None = None
    cut_pid: int | None = None
    cut_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """What a target's database says, the ledger in the order of versions.

    `rivals` names other golang-migrate tables that hold a version.
    """

    ledger: tuple[Entry, ...] = ()
    recorded: VersionRow | None = None
    progress: Progress | None = None
    rivals: tuple[str, ...] = ()

    @property
    def versions(self) -> frozenset[int]:
        """The versions that the ledger holds."""
        return frozenset(entry.version for entry in self.ledger)

    @property
    def highest(self) -> int | None:
        """The highest applied version: the ledger is in their order."""
        return self.ledger[-1].version if self.ledger else None

    @property
    def is_ours(self) -> bool:
        """Whether the version table's row is the dirty one that our journal keeps of a half-done migration."""
        return self.progress is not None and self.recorded == VersionRow(self.progress.version, dirty=True)


@dataclass(frozen=True, slots=True)
class Latest:
    """A goal: everything that is pending."""


@dataclass(frozen=True, slots=True)
class Next:
    """A goal: the next `count` pending migrations; past the end, all of them."""

    count: int


@dataclass(frozen=True, slots=True)
class To:
    """A goal: this version is the highest that is applied."""

    version: int


@dataclass(frozen=True, slots=True)
class Back:
    """A goal: undo the last `count` migrations; None undoes all."""

    count: int | None


Goal = Latest | Next | To | Back


@dataclass(frozen=True, slots=True)
class Adopt:
    """An effect: take over versions that golang-migrate recorded, as assumed."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Borrowed:
    """A migration that the bundle at hand lacks, and the label of the published bundle that has it."""

    migration: Migration
    label: str


@dataclass(frozen=True, slots=True)
class Run:
    """An effect: run one side of a migration and record it; `resume` where its journal has begun.

    `lender` is the label of the bundle that the migration is borrowed from, None for the bundle at hand.
    """

    migration: Migration
    direction: Direction
    resume: Progress | None = None
    lender: str | None = None


Effect = Adopt | Run


@dataclass(frozen=True, slots=True)
class Pending:
    """There is something to do, in this order."""

    effects: tuple[Effect, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """The effects that run a migration."""
        return tuple(effect for effect in self.effects if isinstance(effect, Run))

    @property
    def undone(self) -> tuple[int, ...]:
        """The versions that are undone, in order."""
        return tuple(run.migration.version for run in self.runs if run.direction is Direction.DOWN)


@dataclass(frozen=True, slots=True)
class UpToDate:
    """There is nothing to do."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing may be done: why, and what a person can do about it."""

    reason: str
    message: str
    hint: str


Plan = Pending | UpToDate | Refused


def after(observed: Observed, effect: Effect) -> Observed:
    """What the database says once `effect` is done."""
    if isinstance(effect, Adopt):
        return replace(observed, ledger=_merged(observed.ledger, effect.entries))
    match effect.direction:
        case Direction.UP:
            ledger = _merged(observed.ledger, (entry_of(effect.migration),))
        case Direction.DOWN:
            ledger = tuple(entry for entry in observed.ledger if entry.version != effect.migration.version)
        case _:
            assert_never(effect.direction)
    highest = ledger[-1].version if ledger else None
    return replace(
        observed, ledger=ledger, progress=None, recorded=None if highest is None else VersionRow(highest, dirty=False)
    )


def entry_of(migration: Migration) -> Entry:
    """The ledger row of a migration of a bundle."""
    return Entry(migration.version, migration.name, None if migration.up is None else migration.up.checksum)


def _merged(ledger: tuple[Entry, ...], entries: Iterable[Entry]) -> tuple[Entry, ...]:
    more = tuple(entries)
    if len(more) == 1 and (not ledger or ledger[-1].version < more[0].version):
        return (*ledger, *more)
    known = {entry.version: entry for entry in (*ledger, *more)}
    return tuple(known[version] for version in sorted(known))


def listed(names: Iterable[str]) -> str:
    """Names for a message: three of them, and how many more there are."""
    shown = list(names)
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""  # noqa: PLR2004  three names fit on a line
    return ", ".join(shown[:3]) + more
