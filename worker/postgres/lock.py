"""The lock and the fence: who may change a target, and how a stale holder is kept from it.

The protocol, in order:

1. A target's lock is three session-level advisory locks on the connection that also runs the migrations: Tidegate's
   own key, then golang-migrate's key of its URL form, then that of its connection form (worker.core.lock_keys). Each is
   tried, never waited for in the server: a session that waits in pg_advisory_lock() holds a snapshot, and a
   CREATE INDEX CONCURRENTLY of the holder would wait for that snapshot for ever. Between attempts the session is
   idle, outside any transaction. If one key is taken, those already got are given back before the next attempt.
2. Tidegate's own key is taken twice. `hold_fence` gives one back and takes it again in every transaction, without
   ever being without it, and so notices at once when a migration's body dropped the session's locks
   (pg_advisory_unlock_all, DISCARD ALL).
3. Whoever had to wait for the lock looks once more under it: another worker has usually done the work meanwhile, and
   then there is nothing to write and no epoch to raise. Otherwise it commits a raise of the target's epoch before it
   reads anything that it decides a write by; where the lock is free, in the statement that takes it, which locks the
   newest fence row whatever its snapshot is. The raise needs that row's lock, which every fenced transaction holds
   from its `hold_fence` to its end. So either an older holder's transaction committed before the raise, and is
   seen by the reads that follow, or its `hold_fence` finds another epoch and raises TG001 (with an older snapshot the
   server raises 40001 first), and nothing of it is committed.
4. The epoch belongs to this connection: it is never used on another one, nor after the connection was lost.
5. Golang-migrate's keys, but not our own, are given back from a lone statement's intent to its result: one that waits
   for all older snapshots (CREATE INDEX CONCURRENTLY) would wait for a golang-migrate that waits in the server for its
   key, since that holds a snapshot.
6. On any doubt the connection is closed rather than unlocked: the server gives the locks back when the backend ends,
   which is never before the statement that it runs has ended. One exception: where a batch was rolled back because a
   body of it dropped the locks, they are taken again, and the target is compared with what it was, for a golang-migrate
   may have been at it meanwhile, which raises no epoch.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker.core.checkpoint import Checkpoint
from worker.core.events.events import LockAcquired, LockReleased, LockTimedOut, LockWaiting
from worker.core.lock_keys import control_key, golang_keys, target_key
from worker.core.status.company import PREFIX
from worker.core.target import Target, quote_identifier, quote_literal
from worker.core.value import dataclass
from worker.errors import TimedOutError
from worker.postgres.faults import DRIVER_ERRORS, FencedError, told
from worker.postgres.queries import queries
from worker.postgres.session import Session

# Between two attempts passes a tenth of what was waited so far: waiting takes little longer than the lock is held.
_FIRST_POLL_SECONDS, _POLL_SECONDS, _POLL_SHARE = 0.025, 0.5, 0.1
_HOLDER_SECONDS = 0.5


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
class Held:
    """A lock that is held on the session's connection; every fenced write there carries `epoch`."""

    session: Session
    target: Target
    keys: Keys
    epoch: int

    @property
    def fence_sql(self) -> str:
        """SQL that raises unless the lock and the current epoch are still held; it goes before every record."""
        return f"SELECT {quote_identifier(self.session.control)}.hold_fence({self.fence_arguments})"

    @property
    def fence_arguments(self) -> str:
        """What a function of the control schema needs to know of it, as SQL: target, epoch, lock key."""
        return f"{quote_literal(self.target.name)}, {self.epoch}, {self.keys.own[0]}"


@asynccontextmanager
async def hold(session: Session, keys: Keys, limit: float | None) -> AsyncIterator[float]:
    """Hold the lock while the block runs, waiting `limit` seconds for it (None: for ever); yields the seconds waited.

    They are 0 where it was free at once.

    Leaving by an exception leaves the locks to the end of the connection, which the caller closes (rule 6).

    Raises:
        TimedOutError: Somebody else held it for longer than `limit`; says who.
    """
    async with told(session, "taking the lock"):
        waited = await _wait(session, keys, limit)
    async with _holding(session, keys):
        yield waited


@asynccontextmanager
async def hold_raised(
    session: Session, keys: Keys, target: Target, limit: float | None
) -> AsyncIterator[tuple[float, Held | None]]:
    """The same for a target, whose epoch is raised with it in one round trip; None where it was not free at once.

    What was read before the lock was taken is then older than the other holder's work: look again before the raise.
    """
    epoch, waited = None, 0.0
    async with told(session, "taking the lock"):
        epoch = await _try_raising(session, keys, target)
        if epoch is None:
            waited = await _wait(session, keys, limit)
    async with _holding(session, keys):
        yield waited, None if epoch is None else _raised(session, keys, target, epoch, waited)


@asynccontextmanager
async def _holding(session: Session, keys: Keys) -> AsyncIterator[None]:
    taken_at = session.clock()
    session.passing(Checkpoint.LOCKED)
    yield
    session.passing(Checkpoint.RELEASING)
    async with told(session, "giving the lock back"):
        await _give_back(session, keys.in_order)
    session.emit(LockReleased(session.clock() - taken_at))
    session.passing(Checkpoint.RELEASED)


async def raise_fence(session: Session, keys: Keys, target: Target, waited: float) -> Held:
    """Commit a raise of the target's epoch; nothing may be read for a write's decision before (rule 3)."""
    sql = queries("target", session.control)["raise_fence"]
    async with told(session, "raising the fence"):
        epoch = await session.conn.fetchval(sql, target.name, session.worker)
    return _raised(session, keys, target, epoch, waited)


def _raised(session: Session, keys: Keys, target: Target, epoch: int, waited: float) -> Held:
    session.emit(LockAcquired(epoch, waited))
    session.passing(Checkpoint.FENCED)
    return Held(session.bind(epoch=epoch), target, keys, epoch)


async def is_current(held: Held) -> bool:
    """Tell whether the epoch is still the current one; false where the connection is lost as well."""
    sql = queries("target", held.session.control)["epoch"]
    try:
        return bool(await held.session.conn.fetchval(sql, held.target.name) == held.epoch)
    except DRIVER_ERRORS:
        return False


async def release_foreign(held: Held) -> None:
    """Give golang-migrate's keys back, but not our own (rule 5)."""
    async with told(held.session, "giving golang-migrate's keys back"):
        await _give_back(held.session, held.keys.foreign)


async def retake_foreign(held: Held, limit: float | None) -> None:
    """Take golang-migrate's keys again.

    Raises:
        TimedOutError: A golang-migrate got in between and did not end in time.
    """
    async with told(held.session, "taking golang-migrate's keys again"):
        await _wait(held.session, Keys((), held.keys.foreign), limit)


async def retake(held: Held, limit: float | None) -> None:
    """Take every key again that a rolled back body may have dropped: that is no part of its transaction.

    Raises:
        TimedOutError: Somebody else got in between and did not end in time.
        FencedError: Another worker has taken over meanwhile.
    """
    async with told(held.session, "taking the lock again"):
        # What the body left of them would count once more, and outlive the hold.
        await held.session.conn.execute("SELECT pg_catalog.pg_advisory_unlock_all()")
        await _wait(held.session, held.keys, limit)
    if not await is_current(held):
        raise FencedError(f"another worker took {held.target.name} over (our epoch was {held.epoch})")


async def _wait(session: Session, keys: Keys, limit: float | None) -> float:
    began = session.clock()
    told_of, asked = None, None
    while not await _try(session, keys.in_order):
        waited = session.clock() - began
        is_over = limit is not None and waited >= limit
        if asked is None or is_over or waited - asked >= _HOLDER_SECONDS:
            holder, asked = await lock_holder(session, keys), waited
            if holder is not None and holder.holder_pid != told_of:
                session.emit(holder)
                told_of = holder.holder_pid
            if is_over:
                session.emit(LockTimedOut(waited))
                raise _timed_out(waited, holder)
        delay = _pause(waited, session.jitter())
        await asyncio.sleep(delay if limit is None else min(delay, limit - waited))
    return 0.0 if asked is None else session.clock() - began


def _pause(waited: float, jitter: float) -> float:
    """Seconds until the next attempt, so spread that waiters do not come all at once."""
    return min(max(_FIRST_POLL_SECONDS, _POLL_SHARE * waited), _POLL_SECONDS) * (0.5 + jitter / 2)


async def _try(session: Session, keys: tuple[int, ...]) -> bool:
    """Try every key in order, and give back what was got when one of them is taken."""
    got: int = await session.conn.fetchval(_try_sql(keys))
    if got < len(keys):
        await _give_back(session, keys[:got])
    return got == len(keys)


async def _try_raising(session: Session, keys: Keys, target: Target) -> int | None:
    """Try every key and raise the epoch if all were got; None, and nothing is held, where one of them is taken."""
    sql = try_raising_sql(session.control, keys)
    got, epoch = await session.conn.fetchrow(sql, target.name, session.worker) or (0, None)
    if epoch is None:
        await _give_back(session, keys.in_order[:got])
        return None
    return int(epoch)


def try_raising_sql(control: str, keys: Keys) -> str:
    """SQL that tries every key of a target and raises its epoch if all were got."""
    sql = queries("target", control)["try_raising"]
    return sql.replace(":tried", _try_sql(keys.in_order)).replace(":all", str(len(keys.in_order)))


def _try_sql(keys: tuple[int, ...]) -> str:
    """SQL that tries every key in order, and tells how many were got."""
    # CASE evaluates its conditions in order and stops at the first that holds: no key is tried behind a taken one.
    tried = " ".join(f"WHEN NOT pg_try_advisory_lock({key}) THEN {got}" for got, key in enumerate(keys))
    return f"SELECT CASE {tried} ELSE {len(keys)} END"


async def _give_back(session: Session, keys: tuple[int, ...]) -> None:
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
