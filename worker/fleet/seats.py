"""Who sits where: the slots' connections, within the bounds, and the databases that are left alone for a while."""

from collections import Counter
from typing import TYPE_CHECKING

from worker.core.backoff import Backoff
from worker.core.fleet.bounds import free_seats
from worker.core.value import dataclass
from worker.errors import NoDatabaseError
from worker.fleet.home import have_control
from worker.fleet.terms import Doors, Path, Terms, Until
from worker.postgres.connection import close
from worker.postgres.fleet import Claim
from worker.postgres.session import PIN, Session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.jobs.roster import Place

PATIENCE = 3
"""So often a database is tried in vain before a command gives it up."""

_AGAIN = Backoff(first=0.5, ceiling=15.0)
_RESET = (
    "CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; DEALLOCATE ALL; UNLISTEN *; "
    f"SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES; {PIN}"
)


@dataclass(frozen=True, slots=True)
class Seat:
    """A slot's connection to a database, which it keeps while its next target lies there too."""

    database: str
    path: Path
    session: Session


@dataclass(frozen=True, slots=True)
class Trouble:
    """A database that cannot be reached: how often in a row, and until when it is left alone."""

    failures: int
    until: float


class Seats:
    """The seats of all slots of one worker; `places` are the fleet's databases as they were read last."""

    def __init__(self, doors: Doors, terms: Terms) -> None:
        self._doors = doors
        self._terms = terms
        self._taken: Counter[str] = Counter()
        self._trouble: dict[str, Trouble] = {}
        self._have_control: set[str] = set()
        self.places: Mapping[str, Place] = {}

    @property
    def open(self) -> list[str]:
        """The databases that may be worked at."""
        free = [name for name in self.hoped_for if not self.is_resting(name)]
        return [name for name in free if self._taken[name] or self.has_room(name, None)]

    @property
    def hoped_for(self) -> list[str]:
        """The databases that may be worked at now or later."""
        return [name for name in self.places if not self._is_given_up(name)]

    def next_look(self, since: float) -> float | None:
        """When the first of the databases is to be tried again that were left alone at that moment, or later."""
        return min((each.until for each in self._trouble.values() if each.until > since), default=None)

    def has_room(self, database: str, leaving: Seat | None) -> bool:
        """Whether one more may sit at a database, once the seat is left."""
        taken = Counter(self._taken)
        if leaving is not None:
            taken[leaving.database] -= 1
        servers = {name: place.server.key for name, place in self.places.items()}
        return free_seats(self._terms.fleet.bounds, taken, servers, database) > 0

    def reserve(self, seat: Seat | None, database: str) -> None:
        """Take a seat before anything is awaited, so that no other slot counts on it."""
        if seat is None or seat.database != database:
            self._taken[database] += 1

    async def sit(self, seat: Seat | None, claim: Claim) -> Seat:
        """A connection to the claim's database, which was reserved: the slot's own, or a new one.

        Raises:
            NoDatabaseError: It cannot be reached; nobody sits there then, nor where the slot sat before.
            RefusedError: The control schema is not there, and the role may not make it; the same.
        """
        path = Path.SAID if claim.path else Path.USUAL
        if seat is not None:
            if (seat.database, seat.path) == (claim.database, path) and not seat.session.conn.is_closed():
                return seat
            await self._hang_up(seat.session)
            self._taken[seat.database] -= seat.database != claim.database
        try:
            return Seat(claim.database, path, await self._opened(claim, path))
        except BaseException:
            self._taken[claim.database] -= 1
            raise

    async def _opened(self, claim: Claim, path: Path) -> Session:
        place = self.places.get(claim.database)
        if place is None:
            raise NoDatabaseError(f"{claim.name}: its database is in no group of this fleet any more")
        session = await self._doors.target(place, path)
        try:
            if not place.is_home and claim.database not in self._have_control:
                await have_control(session, self._terms.site)
        except BaseException:
            await self._hang_up(session)
            raise
        self._have_control.add(claim.database)
        return session

    async def leave(self, seat: Seat | None) -> None:
        """Close the seat's connection."""
        if seat is not None:
            await self._hang_up(seat.session)
            self._taken[seat.database] -= 1

    async def _hang_up(self, session: Session) -> None:
        await close(session.conn)
        if session.home is not None:
            await close(session.home)

    def reached(self, database: str) -> None:
        """A database was worked at."""
        self._trouble.pop(database, None)

    def missed(self, database: str) -> float:
        """A database could not be reached; returns for how many seconds it is left alone."""
        now, before = self._terms.clock(), self._trouble.get(database)
        if before is not None and before.until > now:
            # Others sat there too, or were about to: they are told the same, and it is one failure.
            return before.until - now
        failures = 1 if before is None else before.failures + 1
        delay = _AGAIN.delay(failures, self._terms.jitter())
        self._trouble[database] = Trouble(failures, now + delay)
        return delay

    def is_resting(self, database: str) -> bool:
        """Whether a database is left alone for a while, since it could not be reached."""
        trouble = self._trouble.get(database)
        return trouble is not None and trouble.until > self._terms.clock()

    def _is_given_up(self, database: str) -> bool:
        trouble = self._trouble.get(database)
        return self._terms.until is Until.DONE and trouble is not None and trouble.failures >= PATIENCE


async def reset(session: Session) -> None:
    """Have the session as it began, for the next target: all that DISCARD ALL does, in one message."""
    await session.conn.execute(_RESET)
