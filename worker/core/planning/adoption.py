"""Believing the version table: what the planner takes over from it by itself, and what a person tells it to accept."""

from worker.core.bundles.bundle import Bundle
from worker.core.planning.content import contradiction
from worker.core.planning.plan import Adopt, Entry, Observed, Progress, Refused, UpToDate, entry_of, listed
from worker.core.value import dataclass


@dataclass(frozen=True, slots=True)
class Accept:
    """The ledger follows the version table: it forgets what is above, and takes over what it lacks up to there."""

    forgotten: tuple[Entry, ...]
    adopted: tuple[Entry, ...]


def untrusted(observed: Observed) -> Refused | None:
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
            f"the version table is empty or missing, but {listed(observed.rivals)} holds a golang-migrate version",
            "set DB_MIGRATIONS_TABLE (or --migrations-table) to the table that the application really uses; "
            "if they belong to other applications, say so with --new-table true",
        )
    return None


def adoption(bundle: Bundle, observed: Observed) -> Adopt | Refused | None:
    """Bring the ledger in step with a version table that golang-migrate moved up; one moved back is for a person."""
    if observed.is_ours:
        return None
    recorded = _version(observed)
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
            "if it undid those migrations, let the ledger follow: tidegate admin adopt; else say which version the "
            f"schema is at: tidegate force {-1 if recorded is None else recorded} or tidegate force {highest}",
        )
    return _assumed(bundle, highest, recorded)


def accept(bundle: Bundle | None, observed: Observed) -> Accept | UpToDate | Refused:
    """Decide what it takes to bring the ledger in step with the version table, wherever that was moved."""
    refusal = untrusted(observed) or _unsettled(observed)
    if refusal is not None:
        return refusal
    recorded = _version(observed)
    if recorded == observed.highest:
        return UpToDate()
    kept = tuple(entry for entry in observed.ledger if recorded is not None and entry.version <= recorded)
    forgotten = observed.ledger[len(kept) :]
    highest = kept[-1].version if kept else None
    if recorded is None or recorded == highest:
        return Accept(forgotten, ())
    found = _taken_over(bundle, observed, highest, recorded)
    return found if isinstance(found, Refused) else Accept(forgotten, found.entries)


def _version(observed: Observed) -> int | None:
    return None if observed.recorded is None else observed.recorded.version


def _unsettled(observed: Observed) -> Refused | None:
    progress = observed.progress
    if progress is None:
        return None
    if not observed.is_ours:
        return _moved_while_half_done(progress, _version(observed))
    return Refused(
        "half_done",
        f"migration {progress.version} ({progress.direction.value}) is half done",
        f"finish it with the bundle that it came from, or settle it: tidegate force {progress.version} "
        "if the schema is complete, or the version before it",
    )


def _moved_while_half_done(progress: Progress, recorded: int | None) -> Refused:
    return Refused(
        "diverged",
        f"migration {progress.version} ({progress.direction.value}) is half done, but the version table says "
        f"{'nothing' if recorded is None else recorded} and is clean: another program moved it",
        f"say which version the schema is at: tidegate force {progress.version} if that migration is complete, "
        f"or tidegate force {-1 if recorded is None else recorded}",
    )


def _taken_over(bundle: Bundle | None, observed: Observed, highest: int | None, recorded: int) -> Adopt | Refused:
    if bundle is None:
        return Refused(
            "no_version",
            f"the version table is at {recorded}, and there is no bundle that says what leads up to it",
            "say --source DIR, or publish the bundle",
        )
    return contradiction(bundle, observed) or _assumed(bundle, highest, recorded)


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
