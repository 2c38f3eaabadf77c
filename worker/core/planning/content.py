"""A bundle's files beside the ledger: what contradicts it, and which rewritten files a person accepts."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from worker.core.bundles.bundle import Bundle
from worker.core.planning.plan import Observed, Refused, listed
from worker.core.value import dataclass


@dataclass(frozen=True, slots=True)
class Rewritten:
    """An applied version whose up file was changed since; both checksums are whole."""

    version: int
    name: str
    file: str
    recorded: str
    present: str


def rewritten(bundle: Bundle, observed: Observed) -> tuple[Rewritten, ...]:
    """List the applied versions whose up file is not the recorded one; without a checksum any file is."""
    recorded = {entry.version: entry.checksum for entry in observed.ledger}
    return tuple(
        Rewritten(m.version, m.name, m.up.file, checksum, m.up.checksum)
        for m in bundle.migrations
        if m.up is not None and (checksum := recorded.get(m.version)) is not None and checksum != m.up.checksum
    )


def contradiction(bundle: Bundle, observed: Observed) -> Refused | None:
    """Refuse a bundle that contradicts the ledger, or has nothing to do with it."""
    return unrelated(bundle.versions, observed.versions) or altered(bundle, observed)


def altered(bundle: Bundle, observed: Observed) -> Refused | None:
    """Refuse a bundle whose files are not those that were applied."""
    changed = rewritten(bundle, observed)
    if not changed:
        return None
    return Refused(
        "checksum",
        f"{listed(one.file for one in changed)}: changed since it was applied",
        "restore the file as it was, and put the change into a new migration; or, where the schema is right as it is, "
        f"accept the file: tidegate admin repair --accept {changed[0].version} --why TEXT",
    )


def accepted(bundle: Bundle, observed: Observed, versions: Iterable[int]) -> tuple[Rewritten, ...] | Refused:
    """Find the rewritten files of these versions; a version that has none is refused, and all with it."""
    refusal = unrelated(bundle.versions, observed.versions)
    if refusal is not None:
        return refusal
    found = {one.version: one for one in rewritten(bundle, observed)}
    wanted = sorted(set(versions))
    strange = [version for version in wanted if version not in found]
    if strange:
        return Refused(
            "no_version",
            f"version {strange[0]} cannot be accepted: {_why_not(bundle, observed, strange[0])}",
            "tidegate admin repair lists the versions that can be",
        )
    return tuple(found[version] for version in wanted)


def unrelated(present: Iterable[int], applied: AbstractSet[int]) -> Refused | None:
    """Refuse where versions are applied and none of those that are present is among them."""
    if not applied or not applied.isdisjoint(present):
        return None
    return Refused(
        "unrelated",
        f"the bundle shares no version with the {len(applied)} applied ones (highest {max(applied)})",
        "check the directory and the version table: they seem to belong to different applications",
    )


def _why_not(bundle: Bundle, observed: Observed, version: int) -> str:
    if bundle.get(version) is None:
        return "the bundle does not have it"
    if version not in observed.versions:
        return "it is not applied"
    return "its file is not known to differ from what was applied"
