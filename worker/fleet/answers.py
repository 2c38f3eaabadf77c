"""Readiness of single targets, for whoever asks a fleet's worker: read in each target's own database.

The home half says where a target lies; while it is away, what was known stands, so that no target waits for it. Few
connections are kept, none for long, and what was read a moment ago is not read again: many may ask, and often. Whoever
asks of a database that answers does not wait for those that do not: connecting keeps a turn for a moment only, and
a database whose connection is open, and one that gave no answer last time, are asked in turns of their own.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeVar

import anyio
import asyncpg

from worker.core.fleet.declared import Fleet
from worker.core.status.masking import Mask
from worker.core.status.probe import Reading
from worker.core.value import dataclass
from worker.errors import NoDatabaseError, TidegateError
from worker.fleet.terms import Doors
from worker.fleet.turns import Bounds, Turn, Turns
from worker.jobs.locate import locate
from worker.postgres.connection import close
from worker.postgres.faults import DRIVER_ERRORS, message_of
from worker.postgres.fleet_targets import FleetTargets, Known
from worker.postgres.target_half import read_readiness

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

    from worker.jobs.roster import Place
    from worker.postgres.session import Session

_T = TypeVar("_T")

FRESH_SECONDS = 0.5
"""So long an answer stands."""

_NAMES = 10_000
_DATABASES = 8
_AT_ONCE = 16
_LATE = 96
_CONNECT_SECONDS = 0.1
_PATIENCE_SECONDS = 0.75
_ANSWER_SECONDS = 3.0
_REST_SECONDS = 1.0
_HOME_SECONDS = 2.0
_IDLE_SECONDS = 30.0
_OVER = "the worker comes to its end"
_NOT_THERE = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)


@dataclass(frozen=True, slots=True)
class Asked:
    """How the fleet is reached: `control` is the control schema's name, `clock` gives monotonic seconds."""

    fleet: Fleet
    doors: Doors
    control: str
    clock: Callable[[], float]
    mask: Mask


class _Seat:
    """A connection to one database, used by one question at a time."""

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.conn: Connection[Record] | None = None
        self.used_at = 0.0

    @property
    def is_open(self) -> bool:
        return self.conn is not None and not self.conn.is_closed()

    async def hang_up(self) -> None:
        conn, self.conn = self.conn, None
        if conn is not None:
            await close(conn)


@dataclass(frozen=True, slots=True)
class _Dark:
    """A database that gave no answer: why, and until when it is not asked again."""

    why: str
    until: float


class Answers:
    """Answers for single targets; it belongs to one event loop."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._known: OrderedDict[str, tuple[Known, float]] = OrderedDict()
        self._read: OrderedDict[str, tuple[Reading, float]] = OrderedDict()
        self._seats: OrderedDict[str, _Seat] = OrderedDict()
        self._dark: OrderedDict[str, _Dark] = OrderedDict()
        bounds = Bounds(_AT_ONCE, _LATE, _CONNECT_SECONDS, _PATIENCE_SECONDS)
        self._at_hand, self._new, self._in_doubt = Turns(bounds), Turns(bounds), Turns(bounds)
        self._home: Session | None = None
        self._home_lock = anyio.Lock()
        self._home_used_at = 0.0
        self._home_away_until = 0.0
        self._is_over = False

    async def about(self, name: str) -> Reading | None:
        """What is so of a target, None where the fleet has none of that name."""
        fresh = self._fresh(name)
        if fresh is not None:
            return fresh
        if self._is_over:
            return Reading(name, away=_OVER)
        try:
            with anyio.fail_after(_ANSWER_SECONDS):
                known = await self._where(name)
                return None if known is None else await self._reading(known)
        except TimeoutError:
            return Reading(name, away=f"{name}: no answer within {_ANSWER_SECONDS:g} s")
        except TidegateError as error:
            return Reading(name, away=self._asked.mask(f"{name}: {error.message}"))

    async def tidy(self) -> None:
        """Close what nobody asked for of late, for as long as the worker runs; leaves no connection behind."""
        try:
            while True:
                await anyio.sleep(_IDLE_SECONDS / 3)
                await self._close_before(self._asked.clock() - _IDLE_SECONDS)
        finally:
            # A question that is still on its way to its connection is not to keep it.
            self._is_over = True
            with anyio.CancelScope(shield=True):
                await self._close_before(float("inf"))

    async def _close_before(self, moment: float) -> None:
        for seat in list(self._seats.values()):
            if seat.used_at < moment:
                await seat.hang_up()
        if self._home is not None and self._home_used_at < moment:
            home, self._home = self._home, None
            await close(home.conn)

    def _fresh(self, name: str) -> Reading | None:
        reading, at = self._read.get(name, (None, 0.0))
        return reading if self._asked.clock() - at < FRESH_SECONDS else None

    async def _where(self, name: str) -> Known | None:
        """Where a target lies and what its line wants: by the home half, or by what it said while it was there.

        Raises:
            NoDatabaseError: The home half is away, and never said it.
        """
        known = self._standing(name)
        if known is not None:
            return known
        async with self._home_lock:
            known = self._standing(name)
            return await self._found(name) if known is None else known

    def _standing(self, name: str) -> Known | None:
        """What was known, where it is fresh or the home half is away; None where that has to be asked."""
        known, at = self._known.get(name, (None, 0.0))
        if self._asked.clock() < self._home_away_until:
            return self._remembered(name)
        return known if self._asked.clock() - at < FRESH_SECONDS else None

    def _remembered(self, name: str) -> Known:
        known, _ = self._known.get(name, (None, 0.0))
        if known is None:
            raise NoDatabaseError("the home half, which knows where it lies, cannot be reached")
        return known

    async def _found(self, name: str) -> Known | None:
        try:
            with anyio.fail_after(_HOME_SECONDS):
                found = await self._ask_home(name)
        except (NoDatabaseError, TimeoutError):
            self._home_away_until = self._asked.clock() + _HOME_SECONDS
            return self._remembered(name)
        if found is None:
            self._known.pop(name, None)
            return None
        _keep(self._known, name, (found, self._asked.clock()), _NAMES)
        return found

    async def _ask_home(self, name: str) -> Known | None:
        self._home_used_at = self._asked.clock()
        home = self._home
        if home is None or home.conn.is_closed():
            home = await self._asked.doors.home()
            self._check_running(home.conn)
            self._home = home
        try:
            return await FleetTargets(home).known(self._asked.fleet.sources, name)
        except (NoDatabaseError, anyio.get_cancelled_exc_class()):
            # A question that was cut off may have an answer on its way.
            home.conn.terminate()
            raise

    def _check_running(self, conn: "Connection[Record]") -> None:
        """Drop a connection that was got only once the worker had come to its end: nobody would close it."""
        if self._is_over:
            conn.terminate()
            raise NoDatabaseError(_OVER)

    async def _reading(self, known: Known) -> Reading:
        declared = known.declared
        place = locate(self._asked.fleet, self._asked.doors.server, declared).place
        async with self._seated(declared.database, place) as conn:
            fresh = self._fresh(declared.name)
            if fresh is not None:
                return fresh
            try:
                rows = await read_readiness(conn, self._asked.control, declared.target.name)
            except _NOT_THERE:
                rows = ()
            except DRIVER_ERRORS as error:
                raise NoDatabaseError(f"its database could not be read: {message_of(error)}") from error
        row = rows[0][1:] if rows else (None, None)
        reading = Reading(declared.name, known.wanted, *row)
        _keep(self._read, declared.name, (reading, self._asked.clock()), _NAMES)
        return reading

    @asynccontextmanager
    async def _seated(self, database: str, place: "Place") -> "AsyncIterator[Connection[Record]]":
        """The database's connection, for the block alone.

        Raises:
            NoDatabaseError: It cannot be had, or was lost.
        """
        seat = self._seats.setdefault(database, _Seat())
        self._seats.move_to_end(database)
        # Whoever asks of another database is not to wait behind those that ask of one that is away.
        self._check_there(database)
        try:
            async with seat.lock, self._turns(seat, database).turn() as turn:
                # Who waited learns what became of the one before; who gives up waiting says nothing of the database.
                self._check_there(database)
                conn = await self._open(seat, turn, database, place)
                with self._used(seat, database):
                    yield conn
        finally:
            with anyio.CancelScope(shield=True):
                await self._make_room()

    def _turns(self, seat: _Seat, database: str) -> Turns:
        if seat.is_open:
            return self._at_hand
        return self._in_doubt if database in self._dark else self._new

    def _check_there(self, database: str) -> None:
        dark = self._dark.get(database)
        if dark is not None and self._asked.clock() < dark.until:
            raise NoDatabaseError(dark.why)

    async def _open(self, seat: _Seat, turn: Turn, database: str, place: "Place") -> "Connection[Record]":
        """The seat's connection, opened if need be; the seat is this question's alone."""

        async def connect() -> "Connection[Record]":
            conn = await place.server.connect(place.database)
            self._check_running(conn)
            return conn

        seat.used_at = self._asked.clock()
        conn = seat.conn
        if conn is None or conn.is_closed():
            with self._used(seat, database):
                conn = seat.conn = await turn.connect(connect)
            # Who gives up waiting now says nothing of the database, and leaves its connection to the next.
            await turn.take()
        return conn

    @contextmanager
    def _used(self, seat: _Seat, database: str) -> Iterator[None]:
        """A block at whose end the database has answered, or else is dark."""
        try:
            yield
        except BaseException as error:
            self._lost(seat, database, error)
            raise
        self._dark.pop(database, None)

    def _lost(self, seat: _Seat, database: str, error: BaseException) -> None:
        """A question without an answer: what may still come of it is for nobody, and the next one waits a while."""
        if seat.conn is not None:
            seat.conn.terminate()
        why = error.message if isinstance(error, TidegateError) else "its database gave no answer"
        _keep(self._dark, database, _Dark(why, self._asked.clock() + _REST_SECONDS), _NAMES)

    async def _make_room(self) -> None:
        """Keep the connections that were used last; one that is used now is kept too."""
        idle = [database for database, seat in self._seats.items() if not seat.lock.locked()]
        more = sum(seat.is_open for seat in self._seats.values()) - _DATABASES
        kept = set([database for database in idle if self._seats[database].is_open][max(0, more) :])
        # All are taken out before anything is awaited, so that none of them is used, or taken out again, meanwhile.
        over = [self._seats.pop(each) for each in idle if each not in kept]
        for seat in over:
            await seat.hang_up()


def _keep(shelf: "OrderedDict[str, _T]", name: str, value: _T, most: int) -> None:
    shelf[name] = value
    shelf.move_to_end(name)
    while len(shelf) > most:
        shelf.popitem(last=False)
