"""Which published bundle lends the migration that is to be undone, where the bundle at hand lacks it."""

from collections.abc import Sequence

from worker.core.plan import Entry
from worker.core.wanted import Published


def lender(entry: Entry, recorded: str | None, published: Sequence[Published]) -> Published | None:
    """Find the bundle to borrow from: the one that the ledger recorded the version from, else the newest that fits.

    One whose up file is not the recorded one does not fit, for its down file undoes something else; where no checksum
    was recorded, as of what another program applied, any file fits. A withdrawn bundle lends like any other.
    """
    fitting = [one for one in published if entry.version in one.checksums and _fits(entry, one)]
    return max(fitting, key=lambda one: (one.label == recorded, one.id), default=None)


def _fits(entry: Entry, one: Published) -> bool:
    return entry.checksum in {None, one.checksums[entry.version]}
