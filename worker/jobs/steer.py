"""What a person tells a target: retry, pause, resume, and withdraw for its line."""

from worker.core.planning.job import JobEvent
from worker.errors import RefusedError
from worker.jobs.amend import current, holding
from worker.jobs.look import Control, View, look
from worker.jobs.site import Site
from worker.postgres.home_half import HomeHalf, Row
from worker.postgres.job_row import Job
from worker.postgres.session import Session
from worker.postgres.target_half import TargetHalf
from worker.postgres.transaction import fenced


async def retry(session: Session, site: Site) -> Job | None:
    """Let the workers try the wanted bundle's job again; returns it as it is now, None where there is none.

    Raises:
        RefusedError: There is no control schema.
    """
    view = await known(session, site)
    if view.job is None:
        return None
    home = HomeHalf(session, view.line)
    job = await home.move_job(view.job, JobEvent.RETRY)
    await home.wake()
    return job


async def pause(session: Session, site: Site) -> None:
    """Let workers leave the target alone; what runs now goes on.

    Raises:
        RefusedError: There is no control schema.
    """
    view = await known(session, site)
    home = HomeHalf(session, view.line)
    await home.ensure_target(site.home_name(view.survey.target))
    await home.set_paused(site.home_name(view.survey.target), paused=True)


async def resume(session: Session, site: Site) -> None:
    """Let workers have the target again, whether it was paused or pinned.

    Raises:
        RefusedError: There is no control schema.
        TimedOutError: It was pinned, and a command is still at it.
    """
    view = await known(session, site)
    home = HomeHalf(session, view.line)
    await home.set_paused(site.home_name(view.survey.target), paused=False)
    if view.observation.pinned is not None:
        async with holding(session, site, view) as held, fenced(held, "resuming the target"):
            await TargetHalf(held.session, held.target).pin(held, None)
    await home.wake()


async def withdraw(session: Session, site: Site, label: str) -> Row | None:
    """Take a bundle of the target's line back; returns what is wanted then. No SQL of it is run or undone.

    Raises:
        RefusedError: There is no control schema, or no such bundle that is not withdrawn already.
    """
    view = await known(session, site)
    if not await HomeHalf(session, view.line).withdraw(label):
        raise RefusedError(
            f"the line {view.line} has no bundle {label} to withdraw",
            hint="tidegate bundle list shows the bundles and which of them are withdrawn",
            reason="label",
        )
    return (await look(session, site)).wanted


async def known(session: Session, site: Site) -> View:
    """Look at the target, under a control schema of this version.

    Raises:
        RefusedError: There is no control schema, or its home half lies in another database.
    """
    view = await look(session, site)
    if view.control is Control.ABSENT:
        raise RefusedError(
            f"the control schema {session.control} is not in this database",
            hint="tidegate up or tidegate publish creates it; TIDEGATE_SCHEMA names it",
            reason="control_schema",
        )
    if view.elsewhere is not None:
        raise RefusedError(
            f"{view.survey.target.name} is a target of a fleet, whose bundles and jobs are in another database",
            hint=view.elsewhere,
            reason="control_schema",
        )
    # Where nothing has to be made, no more is asked of the role than what it is about to do.
    return view if view.control is Control.CURRENT else await current(session, site, view, None)
