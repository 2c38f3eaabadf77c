"""What the readiness row of a target has to say, and whether it says so."""

from collections.abc import Iterable, Mapping

from worker.core.bundles.bundle import OrderPolicy
from worker.core.planning.assess import Wanted, assess, kept, wanted_elsewhere
from worker.core.planning.job import JobState
from worker.core.planning.plan import Observed
from worker.core.planning.readiness import Readiness, VersionTable
from worker.core.value import replace
from worker.jobs.look import View
from worker.jobs.site import Site
from worker.postgres.home_half import Row


def wanted_of(view: View, site: Site, observed: Observed) -> Wanted | None:
    """What is wanted of the target; versions that the order policy skips are not."""
    row = view.wanted
    if row is None:
        return None
    floor, applied = observed.highest if (site.order or row.order) is OrderPolicy.SKIP else None, observed.versions
    versions = tuple(v for v in sorted(row.published.checksums) if floor is None or v > floor or v in applied)
    return Wanted(row.published.label, versions, frozenset(row.required), row.serves)


def required_of(rows: Iterable[Row]) -> dict[str, tuple[int, ...]]:
    """The versions that a gate waits for, by label."""
    return {row.published.label: row.required for row in rows}


def readiness_of(
    view: View, site: Site, bundles: Mapping[str, tuple[int, ...]], observed: Observed, epoch: int
) -> Readiness:
    """The row that states what is true of a target now; `bundles` are what a gate waits for, by label, of its line.

    What the row says by the word of another home half, such as that of a fleet, stays for as long as it is so.
    """
    before, here = view.observation.readiness, view.survey.identity
    wanted = wanted_of(view, site, observed) or wanted_elsewhere(before, bundles, here)
    return kept(assess(wanted, bundles, observed, here, epoch), before, bundles)


def is_settled(view: View, site: Site) -> bool:
    """Tell that there is nothing to do: the job ended well, and the row is complete and what would be written now.

    That holds without the bundle's files: the row was written after a plan of this very bundle, which never changes and
    does not contradict the ledger. Of `bundles` the wanted one alone is compared: the others change only together with
    it, or with what is applied; but a command that knew nothing of any may have written the row.
    """
    row, observed = view.observation.readiness, view.observation.observed
    if row is None or view.wanted is None or view.job is None or view.job.state is not JobState.SUCCEEDED:
        return False
    own = required_of((view.wanted,))
    now = assess(wanted_of(view, site, observed), own, observed, view.survey.identity, row.epoch)
    complete = now.lowest_pending is None and not now.deferred and observed.progress is None
    return (
        complete
        and now.version_table is VersionTable.CLEAN
        and set(now.bundles) <= set(row.bundles)
        and replace(now, bundles=row.bundles) == row
        and not _is_contradicted(view.wanted.published.checksums, observed)
    )


def _is_contradicted(checksums: Mapping[int, str | None], observed: Observed) -> bool:
    """Tell that a version was applied from another file than the bundle has, where both files are known."""
    pairs = ((entry.checksum, checksums.get(entry.version)) for entry in observed.ledger)
    return any(applied != present for applied, present in pairs if applied is not None and present is not None)


def is_stale(view: View) -> bool:
    """Tell that the row states what is no longer so: another server or database, another ledger or version table.

    Nothing is stale before the first row was written.
    """
    row, observed = view.observation.readiness, view.observation.observed
    return row is not None and _facts(row) != _facts(assess(None, {}, observed, view.survey.identity, row.epoch))


def _facts(row: Readiness) -> tuple[object, ...]:
    return row.identity, row.version_table, row.versions
