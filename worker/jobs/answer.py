"""What a person answers about a statement that was in doubt: it took effect, or it did not and is to run."""

from dataclasses import dataclass

from worker.errors import RefusedError
from worker.jobs.amend import amending, holding
from worker.jobs.look import look
from worker.jobs.site import Site
from worker.jobs.steer import known
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
        RefusedError: There is no control schema, nothing was cut, or by now something else was.
        TimedOutError: The lock was not free in time, or the statement's backend is still there.
        FencedError: Another worker has taken the target over.
    """
    view = await known(session, site)
    async with holding(session, site, view) as held:
        view = await look(session, site)
        progress = view.observation.observed.progress
        if progress is None or progress.cut_pid is None or progress.cut_at is None:
            raise RefusedError(
                f"no statement of {held.target.name} was cut, so there is nothing to answer",
                hint="tidegate status says how things stand; tidegate retry without --segment tries a job again",
                reason="not_in_doubt",
            )
        asked = Place(progress.version, len(progress.done) + 1)
        if asked != at:
            raise RefusedError(
                f"the question is about {asked} by now, and not about {at}",
                hint="run tidegate up, or look into the worker's log: the message tells what is asked",
                reason="not_in_doubt",
            )
        await until_gone(session, progress.cut_pid, progress.cut_at, site.limits.advisory_timeout)
        async with amending(held, site, view, "recording the answer", view.observation.observed) as half:
            await half.answer(held, progress, given)
