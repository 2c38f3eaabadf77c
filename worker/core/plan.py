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


def _merged(ledger: tuple[Entry, ...], entries: Iterable[Entry]) -> tuple[Entry, ...]:
    known = {entry.version: entry for entry in (*ledger, *entries)}
    return tuple(known[version] for version in sorted(known))


def _untrusted(observed: Observed) -> Refused | None:
    """Refuse where the version table cannot be believed."""
    recorded = observed.recorded
    if recorded is not None and recorded.dirty and not observed.is_ours:
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
            "set DB_MIGRATIONS_TABLE (or --migrations-table) to the table that the application really uses; "
            "if they belong to other applications, say so with --new-table true",
        )
    return None


def _adoption(bundle: Bundle, observed: Observed) -> Adopt | Refused | None:
    """Bring the ledger in step with a version table that golang-migrate moved."""
    if observed.is_ours:
        return None
    recorded = None if observed.recorded is None else observed.recorded.version
    if observed.progress is not None:
        return _moved_while_half_done(observed.progress, recorded)
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


def _moved_while_half_done(progress: Progress, recorded: int | None) -> Refused:
    return Refused(
        "diverged",
        f"migration {progress.version} ({progress.direction.value}) is half done, but the version table says "
        f"{'nothing' if recorded is None else recorded} and is clean: another program moved it",
        f"say which version the schema is at: tidegate force {progress.version} if that migration is complete, "
        f"or tidegate force {-1 if recorded is None else recorded}",
    )


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
    """A migration that is half done comes first, and nothing is done without it.

    A bundle that does not have it and is applied otherwise, such as an older image's, has nothing to do with it.
    """
    runs, progress = _reaching(bundle, observed, order, goal), observed.progress
    if isinstance(runs, Refused) or progress is None or any(run.resume is not None for run in runs):
        return runs
    is_newer = progress.direction is Direction.UP and bundle.get(progress.version) is None
    if is_newer and not runs and isinstance(goal, Latest):
        return runs
    return Refused(
        "half_done",
        f"migration {progress.version} ({progress.direction.value}) is half done and not part of this plan",
        f"finish it with the bundle that it came from, or settle it: tidegate force {progress.version} "
        "if the schema is complete, or the version before it",
    )


def _reaching(bundle: Bundle, observed: Observed, order: OrderPolicy, goal: Goal) -> list[Run] | Refused:
    match goal:
        case Latest():
            return _ups(bundle, observed, order)
        case Next(count):
            ups = _ups(bundle, observed, order)
            return ups if isinstance(ups, Refused) else ups[:count]
        case Back(count):
            return _downs(bundle, observed, sorted(observed.versions, reverse=True)[:count])
        case To(version):
            return _to(bundle, observed, order, version)
        case _:
            assert_never(goal)


def _to(bundle: Bundle, observed: Observed, order: OrderPolicy, version: int) -> list[Run] | Refused:
    """Undo what is above the version, and then, if it is not applied, apply what leads up to it."""
    if bundle.get(version) is None and version not in observed.versions:
        return Refused("no_version", f"the bundle has no migration {version}", "tidegate plan lists what it has")
    downs = _downs(bundle, observed, [v for v in sorted(observed.versions, reverse=True) if v > version])
    if isinstance(downs, Refused) or version in observed.versions:
        return downs
    below = replace(observed, ledger=tuple(entry for entry in observed.ledger if entry.version < version))
    ups = _ups(bundle, below, order)
    if isinstance(ups, Refused):
        return ups
    ups = [run for run in ups if run.migration.version <= version]
    # A half-done one comes first, and where it is the goal's own, the goal is reached with it.
    reached = ups[:1] if ups and ups[0].migration.version == version else ups
    return _resumed([*downs, *reached], observed.progress)


def _ups(bundle: Bundle, observed: Observed, order: OrderPolicy) -> list[Run] | Refused:
    """Everything that is pending; a migration that is half done counts as applied for the order of the others."""
    begun = _begun(observed.progress)
    highest = max(observed.versions | begun, default=-1)
    pending = [m for m in bundle.migrations if m.version not in observed.versions]
    late = [m for m in pending if m.version < highest and m.version not in begun]
    match order:
        case OrderPolicy.ERROR if late:
            return Refused(
                "order",
                f"version {late[0].version} is pending, but {highest} is already "
                f"{'half done' if highest in begun else 'applied'}",
                'give it a higher version, or allow late versions with order = "apply" (or "skip") in bundle.toml, '
                "or TIDEGATE_ORDER",
            )
        case OrderPolicy.SKIP:
            skipped = {m.version for m in late}
            pending = [m for m in pending if m.version not in skipped]
        case OrderPolicy.ERROR | OrderPolicy.APPLY:
            pass
        case _:
            assert_never(order)
    return _resumed([Run(m, Direction.UP) for m in pending], observed.progress)


def _begun(progress: Progress | None) -> frozenset[int]:
    if progress is None or progress.direction is Direction.DOWN:
        return frozenset()
    return frozenset({progress.version})


def _downs(bundle: Bundle, observed: Observed, versions: list[int]) -> list[Run] | Refused:
    found = [(version, bundle.get(version)) for version in versions]
    unknown = [version for version, migration in found if migration is None]
    if unknown:
        return Refused(
            "no_down",
            f"version {unknown[0]} is applied, but no bundle here has its down migration",
            "publish the bundle that has it, or give its directory with --source",
        )
    return _resumed([Run(m, Direction.DOWN) for _, m in found if m is not None], observed.progress)


def _resumed(runs: list[Run], progress: Progress | None) -> list[Run]:
    """The runs with the half-done one first, if it is among them."""
    if progress is None:
        return runs
    half_done = (progress.version, progress.direction)
    first = [replace(run, resume=progress) for run in runs if (run.migration.version, run.direction) == half_done]
    return first + [run for run in runs if (run.migration.version, run.direction) != half_done]


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""  # noqa: PLR2004  three names fit on a line
    return ", ".join(shown[:3]) + more
