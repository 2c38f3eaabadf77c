"""Planning: from a bundle and what the database says to the effects that are left to bring about.

`plan` decides, and `after` of worker.core.planning.plan says what the database will say once an effect is done;
between them they hold the invariant that planning again after any prefix of a plan's effects yields exactly the rest.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import takewhile
from types import MappingProxyType
from typing import assert_never

from worker.core.bundles.bundle import Bundle, OrderPolicy
from worker.core.bundles.migration import Direction
from worker.core.planning.adoption import adoption, untrusted
from worker.core.planning.content import altered, unrelated
from worker.core.planning.plan import (
    Adopt,
    Back,
    Borrowed,
    Entry,
    Goal,
    Latest,
    Next,
    Observed,
    Pending,
    Plan,
    Progress,
    Refused,
    Run,
    To,
    UpToDate,
    after,
)

_NONE: Mapping[int, Borrowed] = MappingProxyType({})


def plan(
    bundle: Bundle, observed: Observed, order: OrderPolicy, goal: Goal, borrowed: Mapping[int, Borrowed] = _NONE
) -> Plan:
    """Decide what is left to do to reach `goal` with `bundle`; `borrowed` has migrations to undo that it lacks."""
    adopted = untrusted(observed) or adoption(bundle, observed)
    if isinstance(adopted, Refused):
        return adopted
    settled = _settled(observed, adopted)
    refusal = altered(bundle, settled) or _astray(bundle, settled, goal, borrowed, adopted)
    runs = refusal or _runs(bundle, settled, order, goal, borrowed)
    if isinstance(runs, Refused):
        return runs
    effects = (*(() if adopted is None else (adopted,)), *runs)
    return _cut_off(bundle, settled, runs) or (Pending(effects) if effects else UpToDate())


def lacking(bundle: Bundle, observed: Observed, goal: Goal) -> tuple[Entry, ...]:
    """List what the goal undoes and the bundle does not have: what `plan` takes from `borrowed`."""
    adopted = adoption(bundle, observed)
    if isinstance(adopted, Refused):
        return ()
    settled = _settled(observed, adopted)
    undone = {version for version in _undone(settled, goal) if bundle.get(version) is None}
    return tuple(entry for entry in settled.ledger if entry.version in undone)


def _settled(observed: Observed, adopted: Adopt | None) -> Observed:
    return observed if adopted is None else after(observed, adopted)


def _astray(
    bundle: Bundle, observed: Observed, goal: Goal, borrowed: Mapping[int, Borrowed], adopted: Adopt | None
) -> Refused | None:
    """Refuse a bundle that has nothing to do with what is applied.

    A goal that only goes back is judged by what is lent too, and not at all once it is reached: the last version that
    the bundle shares may be one of those that are undone on the way.
    """
    goes_back = isinstance(goal, Back) or (isinstance(goal, To) and goal.version in observed.versions)
    if not goes_back or adopted is not None:
        return unrelated(bundle.versions, observed.versions)
    if not _undone(observed, goal):
        return None
    return unrelated((*bundle.versions, *borrowed), observed.versions)


def _cut_off(bundle: Bundle, observed: Observed, runs: list[Run]) -> Refused | None:
    """Refuse before the first effect what would be refused when the worker was cut off behind one of them.

    That is where so much is undone, before something is applied, that nothing that the bundle shares is left.
    """
    downs = list(takewhile(lambda run: run.direction is Direction.DOWN, runs))
    if not downs or len(downs) == len(runs):
        return None
    left = observed.versions.difference(run.migration.version for run in downs)
    # Where nothing is left, anything can be applied; until then the last one to be undone was all that was left.
    if unrelated(bundle.versions, left or {downs[-1].migration.version}) is None:
        return None
    return Refused(
        "unrelated",
        f"version {runs[len(downs)].migration.version} is to be applied once version {downs[-1].migration.version} is "
        "undone, but by then the bundle shares no version with what is still applied",
        "give the bundle that has the older versions too, or go back alone: tidegate down",
    )


def _undone(observed: Observed, goal: Goal) -> list[int]:
    """The versions that a goal undoes, in order."""
    applied = sorted(observed.versions, reverse=True)
    match goal:
        case Latest() | Next():
            return []
        case Back(count):
            return applied[:count]
        case To(version):
            return [one for one in applied if one > version]
        case _:
            assert_never(goal)


def _runs(
    bundle: Bundle, observed: Observed, order: OrderPolicy, goal: Goal, borrowed: Mapping[int, Borrowed]
) -> list[Run] | Refused:
    """A migration that is half done comes first, and nothing is done without it.

    A bundle that does not have it and is applied otherwise, such as an older image's, has nothing to do with it.
    """
    runs, progress = _reaching(bundle, observed, order, goal, borrowed), observed.progress
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


def _reaching(
    bundle: Bundle, observed: Observed, order: OrderPolicy, goal: Goal, borrowed: Mapping[int, Borrowed]
) -> list[Run] | Refused:
    match goal:
        case Latest():
            return _ups(bundle, observed, order)
        case Next(count):
            ups = _ups(bundle, observed, order)
            return ups if isinstance(ups, Refused) else ups[:count]
        case Back():
            return _downs(bundle, observed, goal, borrowed)
        case To(version):
            downs = _downs(bundle, observed, goal, borrowed)
            return _to(bundle, observed, order, version, downs)
        case _:
            assert_never(goal)


def _to(
    bundle: Bundle, observed: Observed, order: OrderPolicy, version: int, downs: list[Run] | Refused
) -> list[Run] | Refused:
    """Undo what is above the version, and then, if it is not applied, apply what leads up to it."""
    if bundle.get(version) is None and version not in observed.versions:
        return Refused("no_version", f"the bundle has no migration {version}", "tidegate plan lists what it has")
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
    begun, applied = _begun(observed.progress), observed.versions
    highest = max(applied | begun, default=-1)
    pending = [m for m in bundle.migrations if m.version not in applied]
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


def _downs(bundle: Bundle, observed: Observed, goal: Goal, borrowed: Mapping[int, Borrowed]) -> list[Run] | Refused:
    runs = []
    for version in _undone(observed, goal):
        run = _down(bundle, version, borrowed)
        if run is None:
            return _no_down(observed, version)
        runs.append(run)
    return _resumed(runs, observed.progress)


def _down(bundle: Bundle, version: int, borrowed: Mapping[int, Borrowed]) -> Run | None:
    own, lent = bundle.get(version), borrowed.get(version)
    if own is not None:
        return Run(own, Direction.DOWN)
    return None if lent is None else Run(lent.migration, Direction.DOWN, lender=lent.label)


def _no_down(observed: Observed, version: int) -> Refused:
    recorded = next(entry for entry in observed.ledger if entry.version == version)
    if recorded.checksum is not None:
        return Refused(
            "no_down",
            f"version {version} is applied, but no bundle here or published has it as it was applied",
            "publish the bundle that has it, or give its directory with --source",
        )
    below = max((one for one in observed.versions if one < version), default=None)
    return Refused(
        "no_down",
        f"version {version} was applied by another program, and no bundle here or published has it",
        "give the directory that has it with --source; or undo it with that program "
        f"(migrate {'down -all' if below is None else f'goto {below}'}), and then say tidegate admin adopt",
    )


def _resumed(runs: list[Run], progress: Progress | None) -> list[Run]:
    """The runs with the half-done one first, if it is among them."""
    if progress is None:
        return runs
    half_done = (progress.version, progress.direction)
    first = [replace(run, resume=progress) for run in runs if (run.migration.version, run.direction) == half_done]
    return first + [run for run in runs if (run.migration.version, run.direction) != half_done]
