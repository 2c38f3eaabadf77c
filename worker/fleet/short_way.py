"""The short way of a target: all that is pending in one message, each migration a transaction of its own.

What a run does is done here too, by the same decisions, the same lock and fence, and the same messages; it is sent
together, and not watched. So it is for plain migrations upwards alone, where no standby is waited for, and has a
limit: whatever is refused or cut then goes on the usual way, which reads everything anew and tells each error as it
always does.
"""

from collections.abc import Sequence
from dataclasses import replace

from worker.applier.limits import Limits
from worker.applier.messages import Work
from worker.applier.pipeline import chain, patience
from worker.applier.send import send_chain
from worker.applier.steps import Step as Sent
from worker.applier.steps import tell_done, works_of
from worker.core.bundles.bundle import Bundle
from worker.core.events.event import Outcome
from worker.core.events.events import JobFinished, JobStarted, ReadinessSet
from worker.core.planning.plan import Observed
from worker.core.planning.readiness import Readiness
from worker.core.planning.reconcile import Action
from worker.core.value import dataclass
from worker.fleet.seats import reset
from worker.fleet.sights import Glimpse
from worker.fleet.steps import Step, steps_of
from worker.jobs.decide import decide, decide_early
from worker.jobs.look import View
from worker.jobs.published import load, place_of
from worker.jobs.readiness import readiness_of, required_of
from worker.jobs.site import Report, Request, Result, Site
from worker.jobs.work import work_out
from worker.postgres.advisory import Keys
from worker.postgres.fleet_sight import Recorded, recorded_under
from worker.postgres.lock import Held, hold, raise_fence
from worker.postgres.readiness_row import readiness_sql
from worker.postgres.session import Session
from worker.postgres.sight import see
from worker.postgres.target_half import create_version_table_sql
from worker.postgres.transaction import WITHOUT_STANDBY

_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Came:
    """What the short way came to: a report, or None where the usual way goes on, and how many versions were applied.

    `epoch` is that of the job which ended well, None where no job was worked at. `is_slow` says that the message
    was cut for the time that it took.
    """

    report: Report | None
    applied: int = 0
    epoch: int | None = None
    is_slow: bool = False


class ShortWay:
    """The short way of one target, on a session that is its own for as long."""

    def __init__(self, session: Session, site: Site, request: Request, glimpse: Glimpse) -> None:
        self._session = session
        self._site = site
        self._request = request
        self._view = glimpse.view
        self._rows = glimpse.rows

    async def bring(self) -> Came:
        """Bring the target to what is wanted, if that can be done in one message.

        Raises:
            RefusedError: The wanted bundle is not trusted, or its files are not those that were published.
            FencedError: Another worker has taken the target over.
            ConnectionLostError: The connection broke; the ledger says what was committed.
            TimedOutError: The lock was not free in time.
        """
        view = self._view
        early = decide_early(self._site, self._request, view, None)
        if early is not None:
            nothing = early.action is Action.NOTHING and self._knows(view)
            return Came(self._report(view, early.result, early.why) if nothing else None)
        bundle = await self._bundle(view)
        if view.survey.has_standbys or not await self._steps(view, bundle):
            return Came(None)
        keys = Keys.of_target(view.survey.target, view.survey.database)
        came = Came(None)
        async with hold(self._session, keys, self._site.limits.advisory_timeout) as waited:
            # Whoever had to wait for the lock looks once more: rights, and who could interfere, too.
            if not waited:
                came = await self._under_lock(keys, bundle)
        await reset(self._session)
        return came

    async def _under_lock(self, keys: Keys, bundle: Bundle) -> Came:
        held = await raise_fence(self._session, keys, self._view.survey.target, 0.0)
        now = await self._looked(held)
        steps = () if now is None else await self._steps(now, bundle)
        return await self._run(held, now, bundle, steps) if now is not None and steps else Came(None)

    async def _looked(self, held: Held) -> View | None:
        """The target as it is now that nobody else may change it; None where more than its own state is different."""
        before, target = self._view, held.target
        sight = await see(self._session, before.survey, before.line, self._site.home_name(target))
        if sight is None or sight.target is None or sight.wanted != before.wanted:
            return None
        return replace(before, observation=sight.observation, target=sight.target, job=sight.job)

    async def _bundle(self, view: View) -> Bundle:
        row, shelf = view.wanted, self._request.shelf
        if row is None or shelf is None:
            raise AssertionError("a fleet's targets share a shelf, and something is wanted")
        digest = row.published.digest
        shelf[digest] = found = await load(self._session, self._site, view, row, shelf.get(digest))
        self._site.trust.seen(found)
        return found

    async def _steps(self, view: View, bundle: Bundle) -> tuple[Step, ...]:
        """What is to be run, or nothing where it has to go the usual way."""
        work = await work_out(self._session, self._site, view, bundle, self._request.goal)
        decision = decide(self._site, self._request, view, None, work)
        return steps_of(view, work.plan) if decision.action is Action.WORK else ()

    async def _run(self, held: Held, view: View, bundle: Bundle, steps: Sequence[Step]) -> Came:
        self._check_signed(view, bundle, steps)
        began, wanted = self._session.clock(), view.wanted
        row, wanted_at = self._row(held, view, steps[-1].then), None if wanted is None else wanted.wanted_at
        limits = self._site.limits
        works = _works(held, bundle.label, steps, (WITHOUT_STANDBY, readiness_sql(held, row)))
        # Another program may have made one since the glimpse, and applied migrations: then nothing of this is done.
        first = "" if view.survey.has_table else f"{create_version_table_sql(held.target)};\n"
        stopped = await send_chain(held, f"{first}{chain(works, limits)}", seconds_of(limits))
        recorded = await recorded_under(held, wanted_at)
        session = held.session.bind(bundle=bundle.label)
        _tell(session, works, recorded)
        if stopped is not None:
            return Came(None, len(recorded), is_slow=isinstance(stopped, TimeoutError))
        since = recorded[-1].since if row.lowest_pending is None else None
        session.emit(ReadinessSet(row.bundle or "", row.versions[-1], row.lowest_pending, since))
        session.emit(JobFinished(Outcome.SUCCEEDED, len(recorded), self._session.clock() - began))
        applied = tuple(each.version for each in recorded)
        report = Report(Result.APPLIED, held.target, bundle.label, applied, 0, row.versions[-1], row)
        return Came(report, len(recorded), held.epoch)

    def _check_signed(self, view: View, bundle: Bundle, steps: Sequence[Step]) -> None:
        """Check the signatures once more, now that nothing is read any more before it is run."""
        trust = self._site.trust
        trust.check_line(view.line, view.survey.target.table)
        warrant = trust.warrant(bundle, (), place_of(view), upwards=True)
        if warrant is not None:
            for step in steps:
                warrant.check(step.run.migration.up)

    def _row(self, held: Held, view: View, observed: Observed) -> Readiness:
        """The readiness row that is true once the last migration is committed, and with it."""
        return readiness_of(view, self._site, required_of(self._rows), observed, held.epoch)

    def _knows(self, view: View) -> bool:
        """Whether nothing is to be learned of how new the wanted bundle is."""
        return view.wanted is None or self._site.trust.knows(view.wanted.published.digest)

    def _report(self, view: View, result: Result, why: str | None) -> Report:
        return Report(
            result,
            view.survey.target,
            None if view.wanted is None else view.wanted.published.label,
            version=view.observation.observed.highest,
            readiness=view.observation.readiness,
            why=why,
        )


def _works(held: Held, label: str, steps: Sequence[Step], last: tuple[str, ...]) -> tuple[Work, ...]:
    """What is sent; `last` goes into the last one's transaction."""
    sent = [Sent(step.run, step.then.highest) for step in steps]
    return works_of(held, label, (*sent[:-1], replace(sent[-1], also=last)))


def _tell(session: Session, works: Sequence[Work], recorded: Sequence[Recorded]) -> None:
    """Say what was done, in the words of a run; what was not comes the usual way."""
    durations = {each.version: each.duration_ms for each in recorded}
    if any(work.migration.version in durations for work in works):
        session.emit(JobStarted(len(works), works[0].migration.version, works[-1].migration.version))
    tell_done(session.emit, works, durations)


def seconds_of(limits: Limits) -> float:
    """How many seconds a target's message may take."""
    return patience(limits, _SECONDS)
