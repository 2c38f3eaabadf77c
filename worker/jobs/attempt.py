"""One attempt at a job, under the lock and the fence: apply, state what is true, and record what became of it."""

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

import anyio

from worker.bundles.trust import Warrant
from worker.core.bundles.migration import Direction
from worker.core.checkpoint import Checkpoint
from worker.core.events.event import Outcome
from worker.core.events.events import FenceRejected, JobFailed, JobFinished, JobStarted
from worker.core.planning.assess import lasting_labels
from worker.core.planning.job import JobEvent
from worker.core.planning.plan import Pending, Refused, UpToDate
from worker.core.planning.readiness import Readiness
from worker.errors import InDoubtError, MigrationFailedError, RefusedError, TidegateError, TimedOutError
from worker.jobs import fingerprint
from worker.jobs.execution import Execution, Statement
from worker.jobs.look import View, is_wanted
from worker.jobs.offer import check_scripts, refused
from worker.jobs.published import place_of
from worker.jobs.readiness import required_of
from worker.jobs.site import LATEST, Drift, Report, Request, Result, Site
from worker.jobs.work import Work
from worker.postgres.faults import ConnectionLostError, FencedError
from worker.postgres.home_half import HomeHalf
from worker.postgres.job_row import Job, JobFailure
from worker.postgres.lock import Held

if TYPE_CHECKING:
    from worker.core.status.fingerprint import State

_RECORD_SECONDS = 2.0


class Attempt:
    """An attempt with everything read anew; `state` is how the catalogue stands to its fingerprint, None for unread."""

    def __init__(self, held: Held, site: Site, view: View, work: Work, state: "State | None") -> None:
        self._held = held
        self._session = held.session.bind(bundle=work.bundle.label)
        self._site = site
        self._view = view
        self._bundle = work.bundle
        self._plan = work.plan
        self._lent = work.lent
        self._state = state
        self._home = HomeHalf(held.session, view.line)
        self._job: Job | None = None
        self._began = held.session.clock()

    async def bring(self, request: Request) -> Report:
        """Bring the target to the request's goal."""
        required = await self._open(request)
        self._session.passing(Checkpoint.OPENED)
        held = replace(self._held, session=self._session)
        statement = Statement(held, self._site, self._view, required)
        execution = Execution(held, self._site, self._view, self._bundle, statement)
        try:
            await self._apply(request, execution)
            readiness = await execution.finish(request.pin)
            # The gates do not wait for it, and a cut job repeats it.
            is_ended = self._site.drift is Drift.FOUND and await self._take_and_end(held, len(execution.applied))
        except BaseException as error:
            # Also when cancelled: what was done is recorded, within bounds, before the cancellation goes on.
            with anyio.move_on_after(_RECORD_SECONDS, shield=True):
                await self._record(execution, error)
            raise
        if not is_ended:
            await self._move(JobEvent.SUCCEED, len(execution.applied))
        self._session.emit(JobFinished(Outcome.SUCCEEDED, len(execution.applied), self._seconds))
        self._session.passing(Checkpoint.FINISHED)
        return self._report(execution, readiness)

    @property
    def _seconds(self) -> float:
        return self._session.clock() - self._began

    async def _take_and_end(self, held: Held, applied: int) -> bool:
        """Take the fingerprint; where the job's row is in the same database, it ends in the same transaction."""
        ending = ""
        if self._job is not None and held.session.home is None:
            _, ending = self._home.moved_job(self._job, JobEvent.SUCCEED, epoch=self._held.epoch, applied=applied)
        return await fingerprint.take(held, self._bundle.label, ending) and bool(ending)

    async def _open(self, request: Request) -> dict[str, tuple[int, ...]]:
        """Open the job, and start it where there is something to do; returns what the line's bundles require.

        A job is for everything that is wanted; a pinning command is no job, and history keeps it.
        """
        name, wanted = self._site.home_name(self._held.target), self._view.wanted
        if wanted is None or not self._is_job(request):
            if self._view.target is None:
                await self._home.ensure_target(name)
            return await self._required()
        if isinstance(self._plan, Pending) and _is_agreed(request, self._plan):
            self._job, required = await self._start(name, wanted.published.id)
            required = {**required, **required_of((wanted,))}
        else:
            self._job, required = await self._home.open_job(name, wanted.published.id), await self._required()
        self._session = self._session.bind(job=self._job.id)
        return required

    async def _start(self, name: str, bundle_id: int) -> tuple[Job, dict[str, tuple[int, ...]]]:
        try:
            return await self._home.start_job(name, bundle_id, self._held.epoch, self._stated())
        except BaseException as error:
            # The server may have started it, though nobody was told. What it refused was not started.
            if isinstance(error, ConnectionLostError) or not isinstance(error, TidegateError):
                with anyio.move_on_after(_RECORD_SECONDS, shield=True):
                    await self._start_cut(name, bundle_id, error)
            raise

    def _stated(self) -> tuple[str, ...]:
        """Labels that the row states now and will after the job too, so that what they require need not be read."""
        wanted, observation, here = self._view.wanted, self._view.observation, self._view.survey.identity
        if wanted is None or not isinstance(self._plan, Pending) or self._plan.undone:
            return ()
        return lasting_labels(observation.readiness, here, observation.observed.versions, wanted.serves)

    async def _start_cut(self, name: str, bundle_id: int, error: BaseException) -> None:
        """Have a cancelled start wait for the next round, which mends also what is left by a lost connection."""
        if not isinstance(error, ConnectionLostError):
            with suppress(TidegateError):
                self._job = await self._home.open_job(name, bundle_id)
                await self._move(JobEvent.INTERRUPT, 0)
        self._session.emit(JobFinished(Outcome.INTERRUPTED, 0, self._seconds))

    def _is_job(self, request: Request) -> bool:
        return request.goal == LATEST and request.pin is None and is_wanted(self._view, self._bundle)

    async def _required(self) -> dict[str, tuple[int, ...]]:
        """What the line's bundles require; in a first run there is none but the wanted one."""
        wanted = self._view.wanted
        return required_of((wanted,)) if self._view.is_first and wanted is not None else await self._home.required()

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
        match self._plan:
            case Refused():
                raise refused(self._plan, self._held.target)
            case UpToDate():
                return
            case Pending():
                _check_agreed(request, self._plan)
                execution.warrant = self._warrant(self._plan)
                check_scripts(self._plan.effects)
                versions = [run.migration.version for run in self._plan.runs]
                first, last = (versions[0], versions[-1]) if versions else (None, None)
                self._session.emit(JobStarted(len(versions), first, last))
                if self._site.drift is Drift.FOUND and not self._view.is_first:
                    held = replace(self._held, session=self._session)
                    await fingerprint.remember(held, self._plan.effects, self._state)
                await execution.run(self._plan, request.pin)
            case _:
                assert_never(self._plan)

    def _warrant(self, pending: Pending) -> Warrant | None:
        """Check the signatures once more, now that nothing is read any more before it is run."""
        upwards = any(run.direction is Direction.UP for run in pending.runs)
        trust, place = self._site.trust, place_of(self._view)
        trust.check_line(self._view.line, self._view.survey.target.table)
        return trust.warrant(self._bundle, self._lent, place, upwards=upwards)

    async def _record(self, execution: Execution, error: BaseException) -> None:
        """Say what became of the job; the ledger stays the truth where this cannot be said."""
        if isinstance(error, FencedError):
            self._session.emit(FenceRejected(self._held.epoch))
        event, outcome = _ended(error)
        if not isinstance(error, (FencedError, ConnectionLostError)) and not self._session.conn.is_closed():
            await self._write_down(execution, event, error)
        applied = len(execution.applied)
        if isinstance(error, TidegateError) and outcome is not Outcome.INTERRUPTED:
            self._session.emit(JobFailed(outcome, error.reason, error.message, error.hint, applied, self._seconds))
        else:
            self._session.emit(JobFinished(outcome, applied, self._seconds))

    async def _write_down(self, execution: Execution, event: JobEvent, error: BaseException) -> None:
        # The first error is the one to tell; what could not be written is repaired by the next round. The job does
        # not depend on the row: where a migration dropped the lock, the row cannot be written, and yet it failed.
        if event is not JobEvent.INTERRUPT:
            with suppress(TidegateError):
                await execution.write_readiness()
        with suppress(TidegateError):
            await self._move(event, len(execution.applied), error)
        if execution.applied and event is not JobEvent.INTERRUPT and self._site.drift is Drift.FOUND:
            with suppress(TidegateError):
                await fingerprint.take(replace(self._held, session=self._session), self._bundle.label)

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


def _check_agreed(request: Request, pending: Pending) -> None:
    """Undo nothing but what a person was shown and agreed to, whatever was applied since."""
    if not _is_agreed(request, pending):
        raise RefusedError(
            f"what would be undone changed meanwhile: it is {', '.join(map(str, pending.undone)) or 'nothing'} now",
            hint="say it again, and look at what is shown",
            reason="changed",
        )


def _is_agreed(request: Request, pending: Pending) -> bool:
    return request.agreed is None or request.agreed == pending.undone


def _ended(error: BaseException) -> tuple[JobEvent, Outcome]:
    match error:
        case InDoubtError():
            return JobEvent.DOUBT, Outcome.IN_DOUBT
        case RefusedError():
            return JobEvent.REFUSE, Outcome.REFUSED
        case FencedError() | ConnectionLostError() | TimedOutError():
            return JobEvent.INTERRUPT, Outcome.INTERRUPTED
        case TidegateError():
            return JobEvent.FAIL, Outcome.FAILED
        case _:
            return JobEvent.INTERRUPT, Outcome.INTERRUPTED
