"""Advisory keys: tried in order, waited for outside the server, and given back (rule 1 of worker.postgres.lock)."""

import asyncio
from collections.abc import Awaitable, Callable

from worker.core.events.events import LockLeft, LockTimedOut, LockWaiting
from worker.core.lock_keys import control_key, golang_keys, target_key
from worker.core.status.company import PREFIX
from worker.core.target import Target
from worker.core.value import dataclass
from worker.errors import TimedOutError
from worker.postgres.queries import queries
from worker.postgres.session import Session

# Between two attempts passes a tenth of what was waited so far: waiting takes little longer than the lock is held.
_FIRST_POLL_SECONDS, _POLL_SECONDS, _POLL_SHARE = 0.025, 0.5, 0.1
_HOLDER_SECONDS = 0.5
# A job ends soon after it has stated readiness; what it states on its way may be followed by hours of work.
_ASKED_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Keys:
    """The advisory keys of one lock: our own, and golang-migrate's in the order in which they are taken."""

    own: tuple[int, ...]
    foreign: tuple[int, ...] = ()

    @staticmethod
    def of_target(target: Target, database: str) -> "Keys":
        """The keys of a target; our own twice (rule 2)."""
        return Keys((target_key(target),) * 2, golang_keys(target, database))

    @staticmethod
    def of_control(schema: str) -> "Keys":
        """The key for creating and upgrading a control schema."""
        return Keys((control_key(schema),) * 2)

    @property
    def in_order(self) -> tuple[int, ...]:
        """Every key, in the order of taking."""
        return (*self.own, *self.foreign)


@dataclass(frozen=True, slots=True)
class Condition:
    """What a waiter sees of the holder's work: `sql` gives one value, beside each attempt.

    For two seconds after that became another one `is_met` is asked, too: whether what the lock was wanted for is done.
    """

    sql: str
    is_met: Callable[[], Awaitable[bool]]


async def wait(session: Session, keys: Keys, limit: float | None) -> float:
    """Take every key, waiting `limit` seconds for them (None: for ever); returns the seconds waited.

    They are 0 where all were free at once.

    Raises:
        TimedOutError: Somebody else held one of them for longer than `limit`; says who.
    """
    waiter = _Waiter(session, keys, limit)
    while not await waiter.try_all():
        await waiter.pause()
    return waiter.waited


async def wait_unless(session: Session, keys: Keys, limit: float | None, condition: Condition) -> float | None:
    """The same; None, and nothing is held, where the condition was met first."""
    waiter, before, asked_until = _Waiter(session, keys, limit, condition.sql), None, session.clock()
    while not await waiter.try_all():
        if waiter.has_waited and waiter.seen != before:
            asked_until = session.clock() + _ASKED_SECONDS
        before = waiter.seen
        if session.clock() < asked_until and await condition.is_met():
            session.emit(LockLeft(waiter.waited))
            return None
        await waiter.pause()
    return waiter.waited


class _Waiter:
    """`seen` is what the SQL beside the last attempt gave."""

    def __init__(self, session: Session, keys: Keys, limit: float | None, beside: str = "NULL") -> None:
        self._session = session
        self._keys = keys
        self._limit = limit
        self._sql = f"{tried_sql(keys)}, ({beside})"
        self._began = session.clock()
        self._asked: float | None = None
        self._told_of: int | None = None
        self.seen: object = None

    @property
    def has_waited(self) -> bool:
        return self._asked is not None

    @property
    def waited(self) -> float:
        """Seconds; 0 where the first attempt did."""
        return self._session.clock() - self._began if self.has_waited else 0.0

    async def try_all(self) -> bool:
        """Try every key in order, and give back what was got when one of them is taken."""
        got, self.seen = await self._session.conn.fetchrow(self._sql) or (0, None)
        is_taken: bool = got == len(self._keys.in_order)
        if not is_taken:
            await give_back(self._session, self._keys.in_order[:got])
        return is_taken

    async def pause(self) -> None:
        """Wait until the next attempt, and tell now and then for whom; the time may be up."""
        waited = self._session.clock() - self._began
        is_late = self._limit is not None and waited >= self._limit
        if self._asked is None or is_late or waited - self._asked >= _HOLDER_SECONDS:
            self._asked = waited
            holder = await self._tell_holder()
            if is_late:
                self._session.emit(LockTimedOut(waited))
                raise _timed_out(waited, holder)
        delay = _pause(waited, self._session.jitter())
        await asyncio.sleep(delay if self._limit is None else min(delay, self._limit - waited))

    async def _tell_holder(self) -> LockWaiting | None:
        holder = await lock_holder(self._session, self._keys)
        if holder is not None and holder.holder_pid != self._told_of:
            self._session.emit(holder)
            self._told_of = holder.holder_pid
        return holder


def _pause(waited: float, jitter: float) -> float:
    """Seconds until the next attempt, so spread that waiters do not come all at once."""
    return min(max(_FIRST_POLL_SECONDS, _POLL_SHARE * waited), _POLL_SECONDS) * (0.5 + jitter / 2)


def tried_sql(keys: Keys) -> str:
    """SQL that tries every key in order, and tells how many were got."""
    # CASE evaluates its conditions in order and stops at the first that holds: no key is tried behind a taken one.
    tried = " ".join(f"WHEN NOT pg_try_advisory_lock({key}) THEN {got}" for got, key in enumerate(keys.in_order))
    return f"SELECT CASE {tried} ELSE {len(keys.in_order)} END"


async def give_back(session: Session, keys: tuple[int, ...]) -> None:
    """Give keys back that were got, the last one first."""
    if keys:
        await session.conn.execute(";".join(f"SELECT pg_advisory_unlock({key})" for key in reversed(keys)))


async def lock_holder(session: Session, keys: Keys) -> LockWaiting | None:
    """Who else holds one of these keys in this database, if anybody."""
    row = await session.conn.fetchrow(queries("target", session.control)["lock_holder"], list(map(str, keys.in_order)))
    if row is None:
        return None
    application = row["application"]
    return LockWaiting(
        row["role"],
        application,
        row["address"],
        row["pid"],
        "unknown" if row["since"] is None else row["since"].isoformat(timespec="seconds"),
        ours=application.startswith(PREFIX),
    )


def _timed_out(waited: float, holder: LockWaiting | None) -> TimedOutError:
    who = (
        "somebody who is gone by now"
        if holder is None
        else f"role {holder.holder_role}, application {holder.holder_application or 'unnamed'}, "
        f"address {holder.holder_address}, backend {holder.holder_pid}, connected since {holder.holder_since}"
    )
    return TimedOutError(
        f"the advisory lock was not free within {waited:.0f} s; it is held by {who}",
        hint="let it finish, or end it with pg_terminate_backend(); TIDEGATE_ADVISORY_TIMEOUT says how long to wait",
        reason="lock_timeout",
    )
