"""Planning: from a bundle and what the database says to the effects that are left to bring about.

`plan` decides and `after` says what the database will say once an effect is done; between them they hold the
invariant that planning again after any prefix of a plan's effects yields exactly the rest.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import assert_never

from worker.core.bundle import Bundle, OrderPolicy
from worker.core.migration import Direction, Migration


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

    `cut` is the digest of a segment that was begun and whose result is not recorded, `cut_pid` its backend.
    """

    version: int
    direction: Direction
    done: tuple[str, ...]
    cut: str | None = None
    cut_pid: int | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """What a target's database says; `rivals` names other golang-migrate tables that hold a version."""

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
        """The highest applied version."""
        return max(self.versions, default=None)


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
class Run:
    """An effect: run one side of a migration and record it; `resume` where its journal has begun."""

    migration: Migration
    direction: Direction
    resume: Progress | None = None


Effect = Adopt | Run


@dataclass(frozen=True, slots=True)
class Pending:
    """There is something to do, in this order."""

    effects: tuple[Effect, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """The effects that run a migration."""
        return tuple(effect for effect in self.effects if isinstance(effect, Run))


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


def plan(bundle: Bundle, observed: Observed, order: OrderPolicy, goal: Goal) -> Plan:
    """Decide what is left to do to reach `goal` with `bundle`."""
    refusal = _untrusted(observed)
    if refusal is not None:
        return refusal
    adoption = _adoption(bundle, observed)
    if isinstance(adoption, Refused):
        return adoption
    effects: list[Effect] = [] if adoption is None else [adoption]
    settled = observed if adoption is None else after(observed, adoption)
    runs = _refused_by_content(bundle, settled) or _runs(bundle, settled, order, goal)
    if isinstance(runs, Refused):
        return runs
    effects += runs
    return Pending(tuple(effects)) if effects else UpToDate()


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


def pending_versions(bundle: Bundle, observed: Observed, order: OrderPolicy) -> tuple[int, ...]:
    """Versions of the bundle that are not applied and will be, whatever stands in their way now."""
    highest = observed.highest
    missing = (m.version for m in bundle.migrations if m.version not in observed.versions)
    return tuple(v for v in missing if order is not OrderPolicy.SKIP or highest is None or v > highest)


def _merged(ledger: tuple[Entry, ...], entries: Iterable[Entry]) -> tuple[Entry, ...]:
    known = {entry.version: entry for entry in (*ledger, *entries)}
    return tuple(known[version] for version in sorted(known))


def _untrusted(observed: Observed) -> Refused | None:
    """Refuse where the version table cannot be believed."""
    recorded, ours = observed.recorded, observed.progress is not None
    if recorded is not None and recorded.dirty and not ours:
        return Refused(
            "dirty",
            f"the version table is dirty at version {recorded.version}: a run of golang-migrate failed there",
            f"mend the schema by hand, then say which version it is at: tidegate force {recorded.version} "
            "if that migration is complete, or the version before it if it is undone",
        )
    if recorded is None and not observed.ledger and observed.rivals:
        return Refused(
            "version_table",
            f"the version table is empty or missing, but {_listed(observed.rivals)} holds a golang-migrate version",
            "set DB_MIGRATIONS_TABLE (or --table) to the table that the application really uses; "
            "if they belong to other applications, say so with --new-table",
        )
    return None


def _adoption(bundle: Bundle, observed: Observed) -> Adopt | Refused | None:
    """Bring the ledger in step with a version table that golang-migrate moved."""
    if observed.progress is not None:
        return None
    recorded = None if observed.recorded is None else observed.recorded.version
    highest = observed.highest
    if recorded == highest:
        return None
    if recorded is None or (highest is not None and recorded < highest):
        return Refused(
            "diverged",
            f"the version table says {'nothing' if recorded is None else recorded}, "
            f"but the ledger's highest version is {highest}: another program moved it back",
            f"say which version the schema is at: tidegate force {-1 if recorded is None else recorded} "
            f"or tidegate force {highest}",
        )
    return _assumed(bundle, highest, recorded)


def _assumed(bundle: Bundle, highest: int | None, recorded: int) -> Adopt | Refused:
    known = [
        entry_of(m) for m in bundle.migrations if m.version <= recorded and (highest is None or m.version > highest)
    ]
    if not known and highest is None:
        return Refused(
            "unrelated",
            f"the version table is at {recorded}, and the bundle has no migration up to there",
            "check the directory and the version table: they seem to belong to different applications",
        )
    if not known or known[-1].version != recorded:
        known.append(Entry(recorded, "", None))
    return Adopt(tuple(known))


def _refused_by_content(bundle: Bundle, observed: Observed) -> Refused | None:
    """Refuse a bundle that contradicts the ledger, or has nothing to do with it."""
    applied = {entry.version: entry for entry in observed.ledger}
    shared = [m for m in bundle.migrations if m.version in applied]
    if applied and not shared:
        return Refused(
            "unrelated",
            f"the bundle shares no version with the {len(applied)} applied ones (highest {observed.highest})",
            "check the directory and the version table: they seem to belong to different applications",
        )
    changed = [
        m.up.file for m in shared if m.up is not None and applied[m.version].checksum not in {None, m.up.checksum}
    ]
    if changed:
        return Refused(
            "checksum",
            f"{_listed(changed)}: changed since it was applied",
            "restore the file as it was, and put the change into a new migration",
        )
    return None


def _runs(bundle: Bundle, observed: Observed, order: OrderPolicy, goal: Goal) -> list[Run] | Refused:
    match goal:
        case Back(count):
            newest_first = sorted(observed.versions, reverse=True)
            return _undo(bundle, observed, newest_first[: len(newest_first) if count is None else count])
        case To(version) if observed.highest is not None and version < observed.highest:
            return _undo(bundle, observed, [v for v in sorted(observed.versions, reverse=True) if v > version])
        case To(version) if version not in {m.version for m in bundle.migrations} | observed.versions:
            return Refused("no_version", f"the bundle has no migration {version}", "tidegate plan lists what it has")
        case _:
            return _advance(bundle, observed, order, goal)


def _advance(bundle: Bundle, observed: Observed, order: OrderPolicy, goal: Goal) -> list[Run] | Refused:
    pending = pending_versions(bundle, observed, order)
    late = [v for v in pending if observed.highest is not None and v < observed.highest]
    if late and order is OrderPolicy.ERROR:
        return Refused(
            "order",
            f"version {late[0]} is pending, but {observed.highest} is already applied",
            'give it a higher version, or allow late versions with order = "apply" (or "skip") in bundle.toml, '
            "or TIDEGATE_ORDER",
        )
    chosen = [m for m in bundle.migrations if m.version in pending]
    match goal:
        case Next(count):
            chosen = chosen[:count]
        case To(version):
            chosen = [m for m in chosen if m.version <= version]
        case _:
            pass
    return _resumed([Run(m, Direction.UP) for m in chosen], observed.progress)


def _undo(bundle: Bundle, observed: Observed, versions: list[int]) -> list[Run] | Refused:
    known = {m.version: m for m in bundle.migrations}
    unknown = [v for v in versions if v not in known]
    if unknown:
        return Refused(
            "no_down",
            f"version {unknown[0]} is applied, but no bundle here has its down migration",
            "publish the bundle that has it, or give its directory with --source",
        )
    return _resumed([Run(known[v], Direction.DOWN) for v in versions], observed.progress)


def _resumed(runs: list[Run], progress: Progress | None) -> list[Run] | Refused:
    """A migration that is half done comes first, and nothing else may come before it."""
    if progress is None:
        return runs
    for run in runs:
        if (run.migration.version, run.direction) == (progress.version, progress.direction):
            rest = [other for other in runs if other is not run]
            return [replace(run, resume=progress), *rest]
    if not runs:
        return runs
    return Refused(
        "half_done",
        f"migration {progress.version} ({progress.direction.value}) is half done and not part of this plan",
        f"finish it with the bundle that it came from, or settle it: tidegate force {progress.version} "
        "if the schema is complete, or the version before it",
    )


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""  # noqa: PLR2004  three names fit on a line
    return ", ".join(shown[:3]) + more
