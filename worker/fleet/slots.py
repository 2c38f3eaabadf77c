"""The slots: each takes one claimed target after the other, and brings it; what is wrong with one hurts no other."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import anyio

from worker.core.events.event import Context, Emitter, Event, Outcome
from worker.core.events.events import DatabaseUnreachable, JobFailed
from worker.core.events.fleet_events import TargetLeft
from worker.core.planning.reconcile import Insistence
from worker.core.value import dataclass
from worker.errors import TidegateError
from worker.fleet.ends import BAD, Ends, end_of, out_of_reach, reported, unsettled
from worker.fleet.home import Home
from worker.fleet.seats import Seat, Seats, reset
from worker.fleet.short_way import Came, ShortWay, seconds_of
from worker.fleet.sights import Sights
from worker.fleet.terms import Terms
from worker.jobs.bring import bring
from worker.jobs.site import Report, Request, Result, Site
from worker.postgres.faults import ConnectionLostError, told
from worker.postgres.fleet import Claim, Done, End, Finished, Wish
from worker.postgres.session import DrainedError, Session

_AHEAD = 4
# A bundle that was cut so often has migrations that take long, and then nothing is gained by trying.
_CUT_OFTEN = 8
_IDLE_SECONDS = 1.0


class Slots:
    """All slots of one worker, and what they have claimed and not said yet."""

    def __init__(self, home: Home, seats: Seats, terms: Terms, emit: Emitter) -> None:
        self._home = home
        self._seats = seats
        self._terms = terms
        self._emit = emit
        self._ends = Ends(terms, seats)
        self._sights = Sights()
        self._slow: Counter[int] = Counter()
        self._request = Request(Insistence.ROUND, shelf={})
        self._claims: list[Claim] = []
        self._done: list[Done] = []
        self._busy = 0
        self._lost: TidegateError | None = None
        self._choosing = anyio.Lock()
        self._stir = anyio.Event()
        self.budgets: dict[str, int | None] = {}
        self.names = terms.names
        self.draining = False
        self.applied = 0
        self.migrations = 0

    async def round(self) -> None:
        """Bring what is due until nothing more can be claimed.

        Raises:
            TidegateError: The home half is away; what was under way came to its end nevertheless.
        """
        async with anyio.create_task_group() as tasks:
            for _ in range(self._terms.fleet.bounds.workers):
                tasks.start_soon(self._slot)
        self._done += map(unsettled, self._claims)
        self._sights.forget(self._claims)
        self._claims = []
        lost, self._lost = self._lost, None
        if lost is not None:
            raise lost
        await self._say()

    @property
    def is_idle(self) -> bool:
        """Whether no target is being brought."""
        return not self._busy

    def stir(self) -> None:
        """Have idle slots look again."""
        self._stir.set()

    async def is_more(self) -> bool:
        """Whether there is anything to wait for: what is due still or again, or what other workers are at."""
        wish = self._wish(self._seats.hoped_for)
        async with self._home.half() as half:
            return await half.is_due(wish) or await half.others_at_work(wish)

    async def _slot(self) -> None:
        seat: Seat | None = None
        try:
            while (claim := await self._next(seat)) is not None:
                self._busy += 1
                taken, seat = seat, None
                try:
                    seat, done = await self._one(taken, claim)
                finally:
                    self._busy -= 1
                self._done.append(done)
        finally:
            await self._seats.leave(seat)
            self.stir()

    async def _next(self, seat: Seat | None) -> Claim | None:
        """The next target for a slot; None once nothing can be claimed and nobody is busy."""
        while not self.draining:
            try:
                async with self._choosing:
                    claim = await self._chosen(seat)
            except TidegateError as error:
                # What other slots are at goes on: it needs no home.
                self._lost = error
                return None
            if claim is not None or not self._busy:
                return claim
            stir = self._stir
            with anyio.move_on_after(_IDLE_SECONDS):
                await stir.wait()
            if self._stir is stir and stir.is_set():
                self._stir = anyio.Event()
        return None

    async def _chosen(self, seat: Seat | None) -> Claim | None:
        claim = self._at_hand(seat)
        if claim is None and await self._claim(seat):
            claim = self._at_hand(seat)
        if claim is not None:
            self._claims.remove(claim)
            self._seats.reserve(seat, claim.database)
        return claim

    def _at_hand(self, seat: Seat | None) -> Claim | None:
        """A claimed target that this slot may go to: in its own database, or else where there is room."""
        away = [claim for claim in self._claims if self._seats.is_resting(claim.database)]
        self._done += map(out_of_reach, away)
        self._sights.forget(away)
        self._claims = [claim for claim in self._claims if claim not in away]
        near = (claim for claim in self._claims if seat is not None and seat.database == claim.database)
        far = (claim for claim in self._claims if self._seats.has_room(claim.database, seat))
        return next(near, None) or next(far, None)

    async def _claim(self, seat: Seat | None) -> bool:
        """Claim more, where nothing is at hand: first where the slot sits; tells whether anything was got."""
        while self._done:
            # Others come to their ends meanwhile, and the budget is to know of them.
            await self._say()
        near = [] if seat is None else [seat.database]
        far = [name for name in self._seats.open if name not in near and self._seats.has_room(name, seat)]
        for databases in filter(None, (near, far)):
            async with self._home.half() as half:
                found = await half.claim(self._wish(databases))
            if found:
                self._claims += found
                return True
        return False

    def _wish(self, databases: Sequence[str]) -> Wish:
        fleet = self._terms.fleet
        return Wish(self.budgets, fleet.sources, databases, _AHEAD * fleet.bounds.workers, self.names)

    async def _say(self) -> None:
        """Say what came of claims; at worst it is said later, or the leases run out and whoever comes finds out."""
        done, self._done = self._done, []
        if not done:
            return
        try:
            async with self._home.half() as half:
                await half.give_back(done)
        except TidegateError:
            self._done = done + self._done
            raise

    async def _one(self, seat: Seat | None, claim: Claim) -> tuple[Seat | None, Done]:
        target = claim.target
        site = replace(
            self._terms.site,
            schema=target.schema,
            table=target.table,
            line=claim.line,
            database=claim.database or None,
        )
        sitting: Seat | None = None
        try:
            sitting = await self._seats.sit(seat, claim)
            came = await self._brought(sitting.session, site, claim)
        except DrainedError:
            return sitting, unsettled(claim)
        except TidegateError as error:
            await self._seats.leave(sitting)
            return None, self._failed(claim, error)
        except BaseException:
            await self._seats.leave(sitting)
            raise
        self._ends.came_through(claim)
        self.applied += came.report.result is Result.APPLIED
        self.migrations += came.migrations
        return sitting, replace(reported(claim, came.report), job=came.job)

    def _failed(self, claim: Claim, error: TidegateError) -> Done:
        done = self._ends.failed(claim, error)
        if done.end in BAD and self.budgets.get(claim.line) is not None:
            self._hand_back(claim.line)
        if done.end is End.UNREACHABLE:
            self._emit.bind(target=claim.name)(DatabaseUnreachable(error.message, done.pause))
        self.stir()
        return done

    def _hand_back(self, line: str) -> None:
        """Have the budget asked again before anything else of the line is begun."""
        back = [claim for claim in self._claims if claim.line == line]
        self._claims = [claim for claim in self._claims if claim.line != line]
        self._done += map(unsettled, back)
        self._sights.forget(back)

    async def _brought(self, session: Session, site: Site, claim: Claim) -> "Brought":
        teller = _Teller(self._emit)
        session = replace(
            session, path=claim.path, emit=Emitter((teller,)).bind(target=claim.name), draining=lambda: self.draining
        )
        try:
            async with told(session, f"bringing {claim.name}"):
                return await self._way(session, site, claim)
        except TidegateError as error:
            if not teller.told and end_of(error) in BAD:
                session.emit(JobFailed(Outcome.REFUSED, error.reason, error.message, error.hint, 0, 0.0))
            raise
        finally:
            # A lost connection, a fence, a drain or a cancellation ends a job without a word of it.
            session.emit(TargetLeft())

    async def _way(self, session: Session, site: Site, claim: Claim) -> "Brought":
        """The short way, if the target and the bundle are of that kind, and otherwise the usual one."""
        began, before = self._terms.clock(), 0
        glimpse = await self._sights.of(session, claim, self._claims)
        is_short = self._slow[claim.bundle] < _CUT_OFTEN and not self._ends.is_again(claim)
        if glimpse is not None and is_short:
            came = await self._short(ShortWay(session, site, self._request, glimpse), claim)
            if came.report is not None:
                seconds = self._terms.clock() - began
                job = None if came.epoch is None else Finished(came.epoch, came.applied, seconds)
                return Brought(came.report, came.applied, job)
            before = came.applied
        report = await bring(session, site, self._request)
        if report.result is Result.APPLIED:
            await reset(session)
        return Brought(report, before + len(report.applied))

    async def _short(self, way: ShortWay, claim: Claim) -> Came:
        began, limit = self._terms.clock(), seconds_of(self._terms.site.limits)
        try:
            came = await way.bring()
        except ConnectionLostError:
            # A message that does not end when it is cut takes its connection along.
            self._slow[claim.bundle] += self._terms.clock() - began >= limit
            raise
        self._slow[claim.bundle] += came.is_slow
        return came


@dataclass(frozen=True, slots=True)
class Brought:
    """What came of a target, with how many migrations, and its job where that is not recorded yet."""

    report: Report
    migrations: int
    job: Finished | None = None


class _Teller:
    """Passes a target's events on, and remembers whether its failure was among them."""

    def __init__(self, emit: Emitter) -> None:
        self._emit = emit
        self.told = False

    def __call__(self, event: Event, context: Context) -> None:
        self.told = self.told or isinstance(event, JobFailed)
        self._emit.bind(**context)(event)
