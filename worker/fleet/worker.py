"""The loop: read who belongs to the fleet, bring what is due, count, rest; woken by NOTIFY and by a poll behind it."""

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from worker.core.backoff import Backoff
from worker.core.events.event import Emitter
from worker.core.events.events import DatabaseRefused, DatabaseUnreachable
from worker.core.events.fleet_events import FleetChanged, FleetHalted, FleetMisdeclared
from worker.core.status.fleet_status import TROUBLED, FleetStatus, Misdeclared, TroubledTarget, halts_of
from worker.errors import NoDatabaseError, SettingError, TidegateError, TimedOutError
from worker.fleet.audit import Audit
from worker.fleet.home import Home, HomeSeat, Opening, have_control
from worker.fleet.seats import PATIENCE, Seats
from worker.fleet.slots import Slots
from worker.fleet.terms import Doors, Terms, Until
from worker.jobs.retention import Retention
from worker.jobs.roster import Place, Roster, read_roster
from worker.postgres.fleet import LEASE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.events.event import Event
    from worker.core.fleet.declared import Group
    from worker.core.status.fleet_status import Halt

_LOST = Backoff(first=0.25, ceiling=5.0)
_REST_SECONDS = 0.25
_LOOK_SECONDS = 2.0


class FleetWorker:
    """Brings a fleet's targets to what is wanted; `status` and `wrong` are as they were read last."""

    def __init__(self, doors: Doors, terms: Terms, emit: Emitter, opening: Opening) -> None:
        self._doors = doors
        self._terms = terms
        self._emit = emit
        self._opening: Opening | None = opening
        self._home = Home(doors.home)
        self._seats = Seats(doors, terms)
        self._audit = Audit(self._home, self._seats, terms) if terms.until is Until.DONE else None
        self._retention = Retention(terms.clock, terms.jitter)
        self._roster: Roster | None = None
        self._read_at = 0.0
        self._told: set[str] = set()
        self._halted: set[str] = set()
        self._woken = anyio.Event()
        self.slots = Slots(self._home, self._seats, terms, emit)
        self.status = FleetStatus(())
        self.wrong: tuple[tuple[Group, TidegateError], ...] = ()
        self.looked: Callable[[], None] = lambda: None
        self.away: Callable[[str], None] = lambda _why: None

    def wake(self, _source: str = "") -> None:
        """Look again soon."""
        self._woken.set()
        self.slots.stir()

    def drain(self) -> None:
        """Begin nothing new; each target that is under way comes to the end of its migration."""
        self.slots.draining = True
        self.wake()

    async def run(self) -> None:
        """Run until drained, cancelled or done; leaves no connection and no lease behind."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._beat)
                if self._terms.until is Until.STOPPED:
                    tasks.start_soon(self._keep)
                    tasks.start_soon(self._watch)
                await self._rounds()
                tasks.cancel_scope.cancel()
        finally:
            await self._home.hang_up()

    async def _rounds(self) -> None:
        failures = 0
        while not self.slots.draining:
            self._woken, began = anyio.Event(), self._terms.clock()
            try:
                await self._declare()
                if self._audit is not None:
                    await self._audit.run()
                    self._audit = None
                await self.slots.round()
                await self._look()
                failures = 0
                if self._terms.until is Until.DONE and not await self.slots.is_more():
                    return
                await self._rest(self._pause(began))
            except TidegateError as error:
                failures += 1
                is_away = isinstance(error, (NoDatabaseError, TimedOutError))
                if self._terms.until is Until.DONE and not (is_away and failures <= PATIENCE):
                    raise
                await self._wait_out(error, failures, _LOST.delay(failures, self._terms.jitter()))

    async def _wait_out(self, error: TidegateError, failures: int, delay: float) -> None:
        """The home half is away, or a person has to mend it or the fleet's file."""
        self.away(error.message)
        if isinstance(error, (NoDatabaseError, TimedOutError)):
            self._emit(DatabaseUnreachable(error.message, delay))
        elif error.message not in self._told:
            self._told.add(error.message)
            self._emit(self._wrong_event(error, failures, delay))
        await self._rest(delay)

    def _wrong_event(self, error: TidegateError, failures: int, delay: float) -> "Event":
        if isinstance(error, SettingError):
            return FleetMisdeclared(self._terms.origin, error.message, error.hint)
        return DatabaseRefused(error.message, error.hint, failures, delay)

    async def _rest(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._woken.wait()

    def _pause(self, began: float) -> float:
        """How long to rest behind a round; a database that was not left alone in it has nothing to be tried for."""
        if self._terms.until is Until.DONE:
            return _REST_SECONDS
        pause, again = self._terms.poll * (0.5 + self._terms.jitter() / 2), self._seats.next_look(began)
        return pause if again is None else min(pause, max(_REST_SECONDS, again - self._terms.clock()))

    async def _beat(self) -> None:
        """Renew the leases; a worker that cannot do so loses them, and no more than that."""
        while True:
            await anyio.sleep(LEASE_SECONDS / 3)
            with suppress(TidegateError):
                async with self._home.half() as half:
                    await half.renew()

    async def _keep(self) -> None:
        """Find new targets also while a long migration runs, and have old events removed while none does."""
        while True:
            await anyio.sleep(self._terms.poll)
            with suppress(TidegateError):
                await self._declare()
                if self.slots.is_idle:
                    async with self._home.half() as half:
                        await self._retention.heed(half.session)
            self.slots.stir()

    async def _declare(self) -> None:
        """Record the fleet's targets in the home half; the first time, do what has to be done before any claim."""
        roster = await self._read()
        async with self._home.half() as half:
            if self._opening is None:
                await have_control(half.session, self._terms.site)
                await self._record(half, roster)
                return
            # What is made and published here, no look at a target would find out again.
            async with half.lasting():
                await have_control(half.session, self._terms.site)
                await self._record(half, roster)
                await self._opening(half)
            self._opening = None

    async def _read(self) -> Roster:
        """What is declared; its queries are asked once by a command, and at each poll by a worker, not at each hint."""
        now = self._terms.clock()
        is_fresh = self._terms.until is Until.DONE or now - self._read_at < self._terms.poll / 2
        if self._roster is None or not is_fresh:
            self._roster = await read_roster(self._terms.fleet, self._doors.server, self._terms.origin)
            self._read_at = now
            self._tell_wrong(self._roster)
        return self._roster

    def _tell_wrong(self, roster: Roster) -> None:
        self.wrong = roster.wrong
        for group, error in roster.wrong:
            if error.message not in self._told:
                self._emit(FleetMisdeclared(group.place, error.message, error.hint))
        self._told = {error.message for _, error in roster.wrong}

    async def _record(self, half: HomeSeat, roster: Roster) -> None:
        places = dict(roster.places)
        for database in await half.registered():
            place = places.get(database) or self._registered(database)
            if place is not None:
                places[database] = place
        self._seats.places = places
        written, gone = await half.sync(roster.declared, roster.whole)
        if written or gone:
            self._emit(FleetChanged(written, gone))
        await self._budget(half)

    def _registered(self, database: str) -> Place | None:
        """Where a database lies that add_target() was told of: on the server of the group that takes such targets."""
        for group in self._terms.fleet.groups:
            prefix = "" if group.name is None else f"{group.name}/"
            if group.rows and (not database or database.startswith(prefix)):
                with suppress(TidegateError):
                    server = self._doors.server(group)
                    return Place(server, database.removeprefix(prefix) or server.database)
        return None

    async def _budget(self, half: HomeSeat) -> None:
        sizes, budget = await half.sizes(self._terms.fleet.sources), self._terms.fleet.budget
        lines = dict.fromkeys((*self._terms.fleet.lines, *sizes))
        self.slots.budgets = {line: budget.allowed(sizes.get(line, 0)) for line in lines}

    async def _look(self) -> None:
        sources = self._terms.fleet.sources
        async with self._home.half() as half:
            counts, troubled = await half.counts(sources), await half.troubled(sources, TROUBLED)
            spent = await half.spent(self.slots.budgets)
        self.status = FleetStatus(
            counts,
            halts_of(counts, spent, self.slots.budgets),
            tuple(TroubledTarget(e.name, e.line, e.outcome, e.problem.message, e.problem.hint) for e in troubled),
            tuple(Misdeclared(group.place, error.message, error.hint) for group, error in self.wrong),
        )
        self._tell_halted(self.status.halted)
        self.looked()

    def _tell_halted(self, halted: "tuple[Halt, ...]") -> None:
        """Say once that a line is halted."""
        for halt in halted:
            if halt.line not in self._halted:
                self._emit(FleetHalted(halt.line, halt.failures, halt.budget))
        self._halted = {halt.line for halt in halted}

    async def _watch(self) -> None:
        """Count while targets are brought, so that whoever looks sees how it goes on."""
        while True:
            await anyio.sleep(_LOOK_SECONDS)
            if not self.slots.is_idle:
                with suppress(TidegateError):
                    await self._look()
