"""What a person answers about a statement that was in doubt: it took effect, or it did not and is to run."""

from contextlib import suppress

from worker.applier.messages import Work
from worker.applier.recover import asked, settling
from worker.applier.run import read
from worker.core.bundles.migration import Migration
from worker.core.planning.plan import Progress
from worker.core.sql.script import Mode, Segment
from worker.core.value import dataclass
from worker.errors import BundleError, RefusedError
from worker.jobs.amend import amending, holding
from worker.jobs.look import View, look
from worker.jobs.published import load
from worker.jobs.site import Site
from worker.jobs.steer import known
from worker.postgres.home_half import HomeHalf, Row
from worker.postgres.lock import Held
from worker.postgres.remains import until_gone
from worker.postgres.session import Session
from worker.postgres.target_half import Answer


@dataclass(frozen=True, slots=True)
class Place:
    """What is asked about: a segment of a version's migration, counted from 1."""

    version: int
    segment: int

    def __str__(self) -> str:
        return f"{self.version}:{self.segment}"


async def answer(session: Session, site: Site, given: Answer, at: Place) -> None:
    """Record the answer in the journal and in the history, and let the workers go on with the migration.

    Raises:
        RefusedError: There is no control schema, nothing was cut, by now something else was, or the catalogue tells
            what became of the statement; nothing was changed.
        TimedOutError: The lock was not free in time, or the statement's backend is still there.
        FencedError: Another worker has taken the target over.
    """
    _cut(await known(session, site), at)
    async with holding(session, site, await look(session, site)) as held:
        view = await look(session, site)
        progress = _cut(view, at)
        if progress.cut_pid is not None and progress.cut_at is not None:
            await until_gone(session, progress.cut_pid, progress.cut_at, site.limits.advisory_timeout)
        await _check_asked(held, site, view, progress)
        async with amending(held, site, view, "recording the answer", view.observation.observed) as half:
            await half.answer(held, progress, given)


def _cut(view: View, at: Place) -> Progress:
    """The migration whose statement was cut, if it is the one that the answer is about."""
    progress, target = view.observation.observed.progress, view.survey.target.name
    if progress is None or progress.cut is None:
        raise RefusedError(
            f"no statement of {target} was cut, so there is nothing to answer",
            hint="tidegate status says how things stand; tidegate retry without --segment tries a job again",
            reason="not_in_doubt",
        )
    place = Place(progress.version, len(progress.done) + 1)
    if place != at:
        raise RefusedError(
            f"the question is about {place} by now, and not about {at}",
            hint="run tidegate up, or look into the worker's log: the message tells what is asked",
            reason="not_in_doubt",
        )
    return progress


async def _check_asked(held: Held, site: Site, view: View, progress: Progress) -> None:
    """Refuse an answer to what no run would ask: taken for one, it could record as done what is not there."""
    work, segment = await _text(held, site, view, progress)
    place = f"{work.file}:{segment.statements[0].line}"
    if progress.done and segment.needs_session:
        raise RefusedError(
            f"{place}: the statement needs a session that is gone, so that its answer alone would not help",
            hint=settling(work),
            reason="not_in_doubt",
        )
    if await asked(work, segment, site.limits.advisory_timeout) is None:
        raise RefusedError(
            f"{place}: the catalogue tells what became of the statement, so it is no question",
            hint="run tidegate up, or tidegate retry where a worker runs: what was cut is finished, mended or repeated",
            reason="not_in_doubt",
        )


async def _text(held: Held, site: Site, view: View, progress: Progress) -> tuple[Work, Segment]:
    """The segment that was cut, from the newest usable bundle that has it, withdrawn or not."""
    for row in reversed(await HomeHalf(held.session, view.line).bundles()):
        if progress.version in row.published.checksums:
            migration = await _migration(held, site, view, row, progress.version)
            segment = None if migration is None else _segment(migration, progress)
            if migration is not None and segment is not None:
                label, began = row.published.label, held.session.clock()
                return Work(held, migration, progress.direction, Mode.JOURNALLED, label, None, began), segment
    raise RefusedError(
        f"no published bundle has what was run of version {progress.version}, so nobody can tell what is asked",
        hint=f"publish the bundle that it was run from; or settle the whole: tidegate force {progress.version}",
        reason="not_in_doubt",
    )


async def _migration(held: Held, site: Site, view: View, row: Row, version: int) -> Migration | None:
    """A bundle's migration; none where the bundle is not what was published, or not trusted."""
    with suppress(RefusedError):
        return (await load(held.session, site, view, row)).get(version)
    return None


def _segment(migration: Migration, progress: Progress) -> Segment | None:
    """The segment that was cut, if this is the text that was run."""
    begun = (*progress.done, progress.cut)
    with suppress(BundleError, RefusedError):
        segments = read(migration, progress.direction).segments
        if tuple(segment.digest for segment in segments[: len(begun)]) == begun:
            return segments[len(progress.done)]
    return None
