"""Brings a target to a goal: lock, raise the fence, read again, decide, apply, record, release."""

from dataclasses import replace
from typing import assert_never

import anyio

from worker import control_schema
from worker.core.assess import version_table
from worker.core.bundle import Bundle
from worker.core.events import JobFailed, JobFinished, JobStarted, Outcome, TargetPaused
from worker.core.job import JobEvent, JobState
from worker.core.plan import Pending, Refused, UpToDate, plan
from worker.core.readiness import Readiness
from worker.errors import InDoubtError, MigrationFailedError, RefusedError, TidegateError
from worker.jobs.execution import Execution
from worker.jobs.look import View, is_settled, look, order_of
from worker.jobs.offer import check_scripts, refused
from worker.jobs.site import LATEST, Insistence, Report, Request, Result, Site
from worker.postgres.faults import ConnectionLostError, FencedError
from worker.postgres.home_half import HomeHalf, Job, JobFailure
from worker.postgres.lock import Held, Keys, hold, raise_fence
from worker.postgres.session import Session

_RECORD_SECONDS = 2.0


async def bring(session: Session, site: Site, request: Request, bundle: Bundle | None) -> Report:
    """Bring the target to the request's goal with `bundle`, None meaning the wanted one.

    An unlocked look may find that there is nothing to do: then no lock is taken, no epoch raised, nothing written.

    Raises:
        RefusedError: Nothing may be done, and why.
        MigrationFailedError: A migration failed; what came before it is applied, and readiness says so.
        InDoubtError: A cut statement needs a person.
        FencedError: Another worker has taken the target over.
        ConnectionLostError: The connection broke; look again with another one.
        TimedOutError: The lock was not free in time.
    """
    view = await look(session, site, bundle)
    chosen = bundle or await wanted_bundle(session, view)
    if chosen is None:
        return Report(Result.NOTHING_WANTED, view.survey.target, None, why=f"nothing is published on {view.line}")
    if request.insistence is Insistence.ROUND and (why := _why_left_alone(view, chosen, site)) is not None:
        session.emit(TargetPaused(why))
        return _untouched(view, Result.LEFT_ALONE, why)
    unpins = request.insistence is Insistence.COMMAND and view.observation.pinned is not None
    if request.goal == LATEST and not unpins and is_settled(view, chosen, order_of(site, chosen)):
        return _untouched(view, Result.UP_TO_DATE, None)
    await control_schema.ensure(session, site.limits, site.readers, present=view.survey.has_control)
    return await _under_lock(session, site, request, bundle, view)


async def wanted_bundle(session: Session, view: View) -> Bundle | None:
    """Read the wanted bundle's files, if one is wanted."""
    return None if view.wanted is None else await HomeHalf(session, view.line).load(view.wanted)


def _why_left_alone(view: View, bundle: Bundle, site: Site) -> str | None:
    """Why a worker's round changes nothing: the target is paused, pinned, or waits for a person."""
    if view.paused is not None or view.job is None:
        return view.paused
    decided = plan(bundle, view.observation.observed, order_of(site, bundle), LATEST)
    waits = f"its job is {view.job.state.value}; it waits for tidegate retry, or for another bundle"
    match view.job.state:
        case JobState.FAILED | JobState.IN_DOUBT:
            return None if isinstance(decided, UpToDate) else waits
        case JobState.REFUSED:
            row = view.observation.readiness
            told = row is None or row.version_table is version_table(view.observation.observed)
            return waits if isinstance(decided, Refused) and told else None
        case _:
            return None


def _untouched(view: View, result: Result, why: str | None) -> Report:
    observation = view.observation
    label = None if view.wanted is None else view.wanted.published.label
    version = observation.observed.highest
    return Report(result, view.survey.target, label, version=version, readiness=observation.readiness, why=why)


async def _under_lock(session: Session, site: Site, request: Request, given: Bundle | None, seen: View) -> Report:
    target = seen.survey.target
    keys = Keys.of_target(target, seen.survey.database)
    async with hold(session, keys, site.limits.advisory_timeout) as waited:
        held = await raise_fence(session, keys, target, waited)
        view = await look(session, site, given)
        bundle = given or await wanted_bundle(session, view)
        if bundle is None:
            return _untouched(view, Result.NOTHING_WANTED, f"nothing is published on {view.line}")
        return await _Attempt(held, site, view, bundle).bring(request)


class _Attempt:
    """One attempt at a job, under the lock, with everything read anew."""

    def __init__(self, held: Held, site: Site, view: View, bundle: Bundle) -> None:
        self._held = held
        self._session = held.session.bind(bundle=bundle.label)
        self._site = site
        self._view = view
        self._bundle = bundle
        self._home = HomeHalf(held.session, view.line)
        self._job: Job | None = None
        self._began = held.session.clock()

    async def bring(self, request: Request) -> Report:
        await self._open(request)
        held = replace(self._held, session=self._session)
        execution = Execution(held, self._site, self._view, self._bundle, await self._home.bundles())
        try:
            await self._apply(request, execution)
            if request.pin is None:
                await execution.unpin()
            readiness = await execution.write_readiness()
        except BaseException as error:
            # Also when cancelled: what was done is recorded, within bounds, before the cancellation goes on.
            with anyio.move_on_after(_RECORD_SECONDS, shield=True):
                await self._record(execution, error)
            raise
        await self._move(JobEvent.SUCCEED, len(execution.applied))
        seconds = self._session.clock() - self._began
        self._session.emit(JobFinished(Outcome.SUCCEEDED, len(execution.applied), seconds))
        return self._report(execution, readiness)

    async def _open(self, request: Request) -> None:
        """A job is for everything that is wanted; a pinning command is no job, and history keeps it."""
        name = self._held.target.name
        await self._home.ensure_target(name)
        if self._view.wanted is not None and request.goal == LATEST and request.pin is None:
            self._job = await self._home.open_job(name, self._view.wanted.published.id)
            self._session = self._session.bind(job=self._job.id)

    def _report(self, execution: Execution, readiness: Readiness) -> Report:
        return Report(
            Result.APPLIED if execution.applied or execution.adopted else Result.UP_TO_DATE,
            self._held.target,
            self._bundle.label,
            tuple(execution.applied),
            execution.adopted,
            execution.observed.highest,
            readiness,
        )

    async def _apply(self, request: Request, execution: Execution) -> None:
        order = order_of(self._site, self._bundle)
        decided = plan(self._bundle, execution.observed, order, request.goal)
        match decided:
            case Refused():
                raise refused(decided)
            case UpToDate():
                return
            case Pending():
                check_scripts(decided.effects)
                versions = [run.migration.version for run in decided.runs]
                first, last = (versions[0], versions[-1]) if versions else (None, None)
                self._session.emit(JobStarted(len(versions), first, last))
                await self._move(JobEvent.START, 0)
                await execution.run(decided, request.pin)
            case _:
                assert_never(decided)

    async def _record(self, execution: Execution, error: BaseException) -> None:
        """Say what became of the job; the ledger stays the truth where this cannot be said."""
        applied, seconds = len(execution.applied), self._session.clock() - self._began
        if isinstance(error, (FencedError, ConnectionLostError)) or self._session.conn.is_closed():
            self._session.emit(JobFinished(Outcome.INTERRUPTED, applied, seconds))
            return
        event, outcome = _ended(error)
        try:
            if event is not JobEvent.INTERRUPT:
                await execution.write_readiness()
            await self._move(event, applied, error)
        finally:
            if isinstance(error, TidegateError):
                told = JobFailed(outcome, error.reason, error.message, error.hint, applied, seconds)
                self._session.emit(told)
            else:
                self._session.emit(JobFinished(outcome, applied, seconds))

    async def _move(self, event: JobEvent, applied: int, error: BaseException | None = None) -> None:
        if self._job is None:
            return
        failure = None
        if isinstance(error, TidegateError):
            place = error.failure if isinstance(error, MigrationFailedError) else None
            failure = JobFailure(error.reason, error.message, error.hint, place)
        self._job = await self._home.move_job(
            self._job, event, epoch=self._held.epoch, applied=applied, failure=failure
        )


def _ended(error: BaseException) -> tuple[JobEvent, Outcome]:
    match error:
        case MigrationFailedError():
            return JobEvent.FAIL, Outcome.FAILED
        case InDoubtError():
            return JobEvent.DOUBT, Outcome.IN_DOUBT
        case RefusedError():
            return JobEvent.REFUSE, Outcome.REFUSED
        case TidegateError():
            return JobEvent.FAIL, Outcome.FAILED
        case _:
            return JobEvent.INTERRUPT, Outcome.INTERRUPTED
