"""From the ledger and the line's bundles to the readiness row."""

from collections.abc import Collection, Mapping

from worker.core.planning.plan import Observed
from worker.core.planning.readiness import Identity, Readiness, VersionTable, served_bundles
from worker.core.value import dataclass, replace


@dataclass(frozen=True, slots=True)
class Wanted:
    """The wanted bundle: its label, the versions that will be applied, those that a gate waits for, and its floor."""

    label: str
    versions: tuple[int, ...]
    required: frozenset[int]
    serves: int | None


def assess(
    wanted: Wanted | None, bundles: Mapping[str, tuple[int, ...]], observed: Observed, here: Identity, epoch: int
) -> Readiness:
    """State what a target is ready for.

    Args:
        wanted: The wanted bundle, None where none is.
        bundles: The versions that a gate waits for, by label, of every bundle of the line.
        observed: What the target's database says.
        here: The server and the database.
        epoch: The epoch that the row is written under.
    """
    applied = observed.versions
    pending = () if wanted is None else tuple(v for v in wanted.versions if v not in applied)
    required = [v for v in pending if wanted is not None and v in wanted.required]
    serves = None if wanted is None else wanted.serves
    return Readiness(
        bundle=None if wanted is None else wanted.label,
        versions=tuple(sorted(applied)),
        lowest_pending=min(required, default=None),
        deferred=tuple(sorted(set(pending).difference(required))),
        bundles=served_bundles(bundles, applied, serves),
        serves=serves,
        version_table=version_table(observed),
        identity=here,
        epoch=epoch,
    )


def wanted_elsewhere(row: Readiness | None, known: Collection[str], here: Identity) -> Wanted | None:
    """What another home half wants of a target that nothing is wanted of here, as far as its row tells.

    `known` are the labels of the bundles of this home half. A row of another server or database tells nothing.
    """
    if row is None or row.identity != here or row.bundle is None or row.bundle in known:
        return None
    pending = () if row.lowest_pending is None else (row.lowest_pending,)
    required = frozenset((*row.versions, *pending))
    return Wanted(row.bundle, tuple(sorted(required.union(row.deferred))), required, row.serves)


def kept(row: Readiness, before: Readiness | None, known: Collection[str]) -> Readiness:
    """The row with those labels of the one before it that are not `known`, and still hold.

    They are of another home half's bundles, or what they require was not read.
    """
    lasting = set(lasting_labels(before, row.identity, row.versions, row.serves)).difference(known)
    return replace(row, bundles=tuple(sorted(lasting.union(row.bundles)))) if lasting else row


def lasting_labels(
    before: Readiness | None, here: Identity, applied: Collection[int], serves: int | None
) -> tuple[str, ...]:
    """The labels of a row that hold whatever they require: that was among the row's versions.

    So they do where all of those versions are applied still, and no bundle that is wanted since ends the service of
    older ones. Where more is applied, they still do.
    """
    if before is None or before.identity != here or not set(before.versions) <= set(applied):
        return ()
    if serves is not None and (before.serves is None or before.serves < serves):
        return ()
    return before.bundles


def version_table(observed: Observed) -> VersionTable:
    """What the version table says beside the ledger; dirt of our own journal is no dirt, since it is accounted for."""
    if observed.is_ours:
        return VersionTable.CLEAN
    if observed.recorded is not None and observed.recorded.dirty:
        return VersionTable.DIRTY
    recorded = None if observed.recorded is None else observed.recorded.version
    return VersionTable.CLEAN if recorded == observed.highest else VersionTable.DIVERGED
