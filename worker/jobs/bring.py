"""Brings a target to a goal: look, lock and raise the fence, look again, decide, apply, record, release."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, assert_never

from worker import control_schema
from worker.core.bundles.bundle import Bundle
from worker.core.bundles.wanted import Intent
from worker.core.checkpoint import Checkpoint
from worker.core.events.events import ReadinessForeign
from worker.core.planning.plan import Back, To
from worker.core.planning.reconcile import Action, Insistence
from worker.core.value import dataclass
from worker.errors import RefusedError, TimedOutError
from worker.jobs.control import have_control
from worker.jobs.decide import Decision, decide, decide_early
from worker.jobs.look import Control, View, glance_first, glance_for_work, is_wanted, look, look_settled
from worker.jobs.preflight import check_standing
from worker.jobs.published import learn, load
from worker.jobs.site import Report, Request, Result, Site
from worker.postgres.advisory import Condition, Keys
from worker.postgres.home_half import HomeHalf
from worker.postgres.lock import Held, hold_raised, raise_fence
from worker.postgres.session import Session
from worker.postgres.target_half import TargetHalf
from worker.postgres.transaction import fenced

if TYPE_CHECKING:
    from worker.core.status.fingerprint import State


async def _unseen(_view: View) -> None:
    return


@dataclass(frozen=True, slots=True)
class Sights:
    """`seen` is given every view, while the session is idle; `known` is a whole one, in the place of the first look."""

    seen: Callable[[View], Awaitable[None]] = _unseen
    known: View | None = None


_NONE = Sights()


async def bring(
    session: Session,
    site: Site,
    request: Request,
    bundle: Bundle | None = None,
    sights: Sights = _NONE,
) -> Report:
    """Bring the target to the request's goal with `bundle`, None meaning the wanted one.

    An offered bundle is published first, if it leads forward. An unlocked look may find that there is nothing to do:
    then no lock is taken, no epoch raised, nothing written.

    Raises:
        RefusedError: Nothing may be done, and why.
        MigrationFailedError: A migration failed; what came before it is applied, and readiness says so.
        InDoubtError: A cut statement needs a person.
        FencedError: Another worker has taken the target over.
        ConnectionLostError: The connection broke; look again with another one.
        TimedOutError: The lock was not free in time.
    """
    return await _Bringing(session, site, request, bundle, sights).run()


class _Bringing:
    """A request on its way; the decision is made anew each time that more is held."""

    def __init__(
        self,
        session: Session,
        site: Site,
        request: Request,
        given: Bundle | None,
        sights: Sights,
    ) -> None:
        self._session = session
        self._site = site
        self._request = request
        self._given = given
        self._at_hand = given or request.offer
        self._sights = sights
        self._state: State | None = None
        self._brought: Report | None = None

    async def run(self) -> Report:
        known = self._sights.known
        view = await self._offered() if known is None else await self._noted(known)
        if view.control is Control.ABSENT and self._request.offer is not None:
            # It was published into a control schema that was made for it: nobody can have said there to leave it alone.
            return await self._with_lock(view)
        if self._site.readers and self._request.insistence is Insistence.COMMAND and view.control is Control.CURRENT:
            # The setting may be newer than the schema.
            await control_schema.grant_readers(self._session, self._site.readers)
        decision = await self._decide(view)
        if decision.action is Action.NOTHING:
            await learn(self._session, self._site, view)
            return self._report(view, decision)
        check_standing(view.survey.standing)
        if decision.action is not Action.STAMP or view.control is not Control.WITHOUT_HOME:
            await have_control(self._session, self._site, view, self._at_hand)
        return await self._with_lock(view)

    async def _with_lock(self, view: View) -> Report:
        keys, target = Keys.of_target(view.survey.target, view.survey.database), view.survey.target
        condition = Condition(TargetHalf(self._session, target).stated_sql, self._is_brought)
        async with hold_raised(self._session, keys, target, self._site.limits.advisory_timeout, condition) as taken:
            if taken is not None:
                return await self._under_lock(keys, view, *taken)
        if self._brought is None:
            raise AssertionError("the wait ends without the lock only where the target was brought there")
        return self._brought

    async def _is_brought(self) -> bool:
        """Look whether the lock's holder, who has stated something, has left nothing to do.

        What is in the way of a look may be the holder's own doing, and over by the time that the lock is free.
        """
        with suppress(RefusedError, TimedOutError):
            view, decision = await self._decided()
            if decision.action is Action.NOTHING:
                self._brought = self._report(view, decision)
        return self._brought is not None

    async def _decided(self) -> tuple[View, Decision]:
        view = await self._look()
        check_standing(view.survey.standing)
        return view, await self._decide(view)

    async def _offered(self) -> View:
        """Look, and publish what is offered; then look at what came of it, of other publishers' offers too.

        Where it was published into a control schema that was made for it, that is looked at under the fence only.
        """
        offer = self._request.offer
        if offer is None:
            return await self._look()
        view = await self._noted(await look_settled(self._session, self._site, self._at_hand))
        if is_wanted(view, offer):
            return view
        from worker.jobs.offer import publish, publish_first  # noqa: PLC0415  with the planner, and needed once a bundle

        check_standing(view.survey.standing)
        if view.control is Control.ABSENT:
            if await publish_first(self._session, self._site, view, offer, Intent.AUTOMATIC):
                return view
            view = await self._look()
        if not is_wanted(view, offer):
            await publish(self._session, self._site, view, offer, Intent.AUTOMATIC)
            view = await self._look()
        return view

    async def _under_lock(self, keys: Keys, view: View, waited: float, held: Held | None) -> Report:
        if held is None:
            view, decision = await self._decided()
            if decision.action is Action.NOTHING:
                return self._report(view, decision)
            held = await raise_fence(self._session, keys, view.survey.target, waited)
        view = await self._look_again(view)
        # Where the glance did not do, this may be the first look at who made the control schema.
        check_standing(view.survey.standing)
        self._notice(view)
        decision = await self._decide(view)
        match decision.action:
            case Action.NOTHING:
                return self._report(view, decision)
            case Action.STAMP:
                await self._stamp(held, view)
                return self._report(view, decision)
            case Action.WORK if decision.work is not None:
                from worker.jobs.attempt import Attempt  # noqa: PLC0415  the applier is slow to load, and this is rare

                attempt = Attempt(held, self._site, view, decision.work, self._state)
                return await attempt.bring(self._request)
            case Action.WORK | Action.PLAN:
                raise AssertionError("it was decided with a bundle")
            case _:
                assert_never(decision.action)

    def _notice(self, view: View) -> None:
        """Say so where the row was written in another database, from which this one was copied."""
        row, here = view.observation.readiness, view.survey.identity
        if row is not None and row.identity != here:
            self._session.emit(ReadinessForeign(str(row.identity), str(here)))

    async def _stamp(self, held: Held, view: View) -> None:
        from worker.jobs.execution import Statement  # noqa: PLC0415  the same

        required = await HomeHalf(held.session, view.line).required() if view.has_home else {}
        statement = Statement(held, self._site, view, required)
        async with fenced(held, "writing readiness"):
            row = await statement.write(view.observation.observed)
        statement.stated(row)

    async def _look(self) -> View:
        return await self._noted(await look(self._session, self._site, self._at_hand))

    async def _look_again(self, before: View) -> View:
        """Read anew what the fence protects; rights, and who could interfere, were seen just before."""
        if before.control is Control.ABSENT:
            again = await glance_first(self._session, before)
        elif before.control is Control.CURRENT and before.survey.has_table:
            found = await glance_for_work(self._session, self._site, before)
            again, self._state = found or (None, None)
        else:
            again = None
        return await self._look() if again is None else await self._noted(again)

    async def _noted(self, view: View) -> View:
        await self._sights.seen(view)
        self._session = self._session.bind(target=self._site.home_name(view.survey.target))
        self._session.passing(Checkpoint.LOOKED)
        return view

    async def _decide(self, view: View) -> Decision:
        early = decide_early(self._site, self._request, view, self._given)
        if early is not None and not self._is_in_vain(early):
            return early
        from worker.jobs.work import empty_handed, work_out  # noqa: PLC0415  the same

        if early is not None:
            raise empty_handed(view)
        bundle = self._given or await self._wanted(view)
        work = await work_out(self._session, self._site, view, bundle, self._request.goal)
        return decide(self._site, self._request, view, self._given, work)

    def _is_in_vain(self, decision: Decision) -> bool:
        """Tell that what a person would have undone, or reached, cannot even be planned."""
        return decision.result is Result.NOTHING_WANTED and isinstance(self._request.goal, Back | To)

    async def _wanted(self, view: View) -> Bundle:
        """The wanted bundle; its files are read where they are not at hand, and are at hand from then on."""
        row = view.wanted
        if row is None:
            raise AssertionError("decided before: nothing is wanted")
        shelf = self._request.shelf
        at_hand = self._at_hand or (None if shelf is None else shelf.get(row.published.digest))
        self._at_hand = await load(self._session, self._site, view, row, at_hand)
        if shelf is not None:
            shelf[row.published.digest] = self._at_hand
        self._site.trust.seen(self._at_hand)
        return self._at_hand

    def _report(self, view: View, decision: Decision) -> Report:
        return Report(
            decision.result,
            view.survey.target,
            None if view.wanted is None else view.wanted.published.label,
            version=view.observation.observed.highest,
            readiness=view.observation.readiness,
            why=decision.why,
        )
