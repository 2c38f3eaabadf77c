"""Which published bundles can lend the migration that is to be undone, where the bundle at hand lacks it."""

from collections.abc import Sequence

from worker.core.bundles.wanted import Published
from worker.core.planning.plan import Entry


def lenders(entry: Entry, recorded: str | None, published: Sequence[Published]) -> list[Published]:
    """List the bundles to borrow from: the one that the ledger recorded the version from, then the newest that fit.

    One whose up file is not the recorded one does not fit, for its down file undoes something else; where no checksum
    was recorded, as of what another program applied, any file fits. A withdrawn bundle lends like any other.
    """
    fitting = [one for one in published if entry.version in one.checksums and _fits(entry, one)]
    return sorted(fitting, key=lambda one: (one.label == recorded, one.id), reverse=True)


def _fits(entry: Entry, one: Published) -> bool:
    return entry.checksum in {None, one.checksums[entry.version]}
