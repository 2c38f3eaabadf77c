"""What force, adopt and repair share: a person amends a target's records under the lock, and no migration is run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker.core.bundles.bundle import Bundle
from worker.core.planning.job import JobEvent
from worker.core.planning.plan import Observed
from worker.jobs.control import have_control
from worker.jobs.execution import Statement
from worker.jobs.look import Control, View, look
from worker.jobs.preflight import check_standing
from worker.jobs.site import Site
from worker.postgres.advisory import Keys
from worker.postgres.home_half import HomeHalf
from worker.postgres.lock import Held, hold, raise_fence
from worker.postgres.session import Session
from worker.postgres.target_half import TargetHalf
from worker.postgres.transaction import fenced


@asynccontextmanager
async def holding(session: Session, site: Site, view: View) -> AsyncIterator[Held]:
    """Hold the target's lock and a raised fence while the block runs.

    Raises:
        TimedOutError: The lock was not free in time.
    """
    keys = Keys.of_target(view.survey.target, view.survey.database)
    async with hold(session, keys, site.limits.advisory_timeout) as waited:
        yield await raise_fence(session, keys, view.survey.target, waited)


async def current(session: Session, site: Site, view: View, given: Bundle | None) -> View:
    """The target with a control schema that is as new as this program, created or upgraded if need be.

    Raises:
        RefusedError: The role may not write there, or another role should; names the SQL to run.
    """
    check_standing(view.survey.standing)
    if view.control is Control.CURRENT:
        return view
    await have_control(session, site, view, given)
    return await look(session, site, given)


@asynccontextmanager
async def amending(held: Held, site: Site, view: View, doing: str, then: Observed) -> AsyncIterator[TargetHalf]:
    """Commit together what the block writes, the readiness row for what is so `then`, and the job's way to a retry.

    Raises:
        FencedError: Another worker has taken the target over; nothing was written.
    """
    home = HomeHalf(held.session, view.line)
    statement = Statement(held, site, view, await home.required())
    async with fenced(held, doing):
        yield TargetHalf(held.session, held.target)
        row = await statement.write(then)
        if view.job is not None:
            await home.move_job(view.job, JobEvent.RETRY, epoch=held.epoch)
        await home.wake()
    statement.stated(row)
