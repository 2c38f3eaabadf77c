"""The lock and the fence: who may change a target, and how a stale holder is kept from it.

The protocol, in order:

1. A target's lock is three session-level advisory locks on the connection that also runs the migrations: Tidegate's
   own key, then golang-migrate's key of its URL form, then that of its connection form (worker.core.lock_keys). Each is
   tried, never waited for in the server: a session that waits in pg_advisory_lock() holds a snapshot, and a
   CREATE INDEX CONCURRENTLY of the holder would wait for that snapshot for ever. Between attempts the session is
   idle, outside any transaction; beside an attempt it reads one row at most (rule 3). If one key is taken, those
   already got are given back before the next attempt.
2. Tidegate's own key is taken twice. `hold_fence` gives one back and takes it again in every transaction, without
   ever being without it, and so notices at once when a migration's body dropped the session's locks
   (pg_advisory_unlock_all, DISCARD ALL).
3. Whoever waits for the lock to bring a target somewhere reads beside each attempt when the readiness row was written.
   Where that is new, it looks for a while, too, and leaves without the lock where nothing is left to do. Whoever had
   to wait and got the lock looks once more under it: there may be nothing to write, and no epoch to raise. Otherwise it
   commits a raise of the target's epoch before it reads anything that it decides a write by; where the lock is free,
   in the statement that takes it, which locks the newest fence row whatever its snapshot is. The raise needs that row's
   lock, which every fenced transaction holds from its `hold_fence` to its end. So either an older holder's transaction
   committed before the raise, and is seen by the reads that follow, or its `hold_fence` finds another epoch and raises
   TG001 (with an older snapshot the server raises 40001 first), and nothing of it is committed.
4. The epoch belongs to this connection: it is never used on another one, nor after the connection was lost.
5. Golang-migrate's keys, but not our own, are given back from a lone statement's intent to its result: one that waits
   for all older snapshots (CREATE INDEX CONCURRENTLY) would wait for a golang-migrate that waits in the server for its
   key, since that holds a snapshot.
6. On any doubt the connection is closed rather than unlocked: the server gives the locks back when the backend ends,
   which is never before the statement that it runs has ended. One exception: where a batch was rolled back because a
   body of it dropped the locks, they are taken again, and the target is compared with what it was, for a golang-migrate
   may have been at it meanwhile, which raises no epoch.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker.core.checkpoint import Checkpoint
from worker.core.events.events import LockAcquired, LockReleased
from worker.core.target import Target, quote_identifier, quote_literal
from worker.core.value import dataclass
from worker.postgres.advisory import Condition, Keys, give_back, tried_sql, wait, wait_unless
from worker.postgres.faults import DRIVER_ERRORS, FencedError, told
from worker.postgres.queries import queries
from worker.postgres.session import Session


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
        waited = await wait(session, keys, limit)
    async with _holding(session, keys):
        yield waited


@asynccontextmanager
async def hold_raised(
    session: Session, keys: Keys, target: Target, limit: float | None, condition: Condition
) -> AsyncIterator[tuple[float, Held | None] | None]:
    """The same for a target, whose epoch is raised with it in one round trip; no Held where it was not free at once.

    What was read before the lock was taken is then older than the other holder's work: look again before the raise.
    Where the condition was met first, the other holder did all that the lock was wanted for: None, and nothing is held.

    Raises:
        TimedOutError: Somebody else held it for longer than `limit`; says who.
    """
    async with told(session, "taking the lock"):
        epoch = await _try_raising(session, keys, target)
        waited = 0.0 if epoch is not None else await wait_unless(session, keys, limit, condition)
    if waited is None:
        yield None
        return
    async with _holding(session, keys):
        yield waited, None if epoch is None else _raised(session, keys, target, epoch, waited)


@asynccontextmanager
async def _holding(session: Session, keys: Keys) -> AsyncIterator[None]:
    taken_at = session.clock()
    session.passing(Checkpoint.LOCKED)
    yield
    session.passing(Checkpoint.RELEASING)
    async with told(session, "giving the lock back"):
        await give_back(session, keys.in_order)
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
        await give_back(held.session, held.keys.foreign)


async def retake_foreign(held: Held, limit: float | None) -> None:
    """Take golang-migrate's keys again.

    Raises:
        TimedOutError: A golang-migrate got in between and did not end in time.
    """
    async with told(held.session, "taking golang-migrate's keys again"):
        await wait(held.session, Keys((), held.keys.foreign), limit)


async def retake(held: Held, limit: float | None) -> None:
    """Take every key again that a rolled back body may have dropped: that is no part of its transaction.

    Raises:
        TimedOutError: Somebody else got in between and did not end in time.
        FencedError: Another worker has taken over meanwhile.
    """
    async with told(held.session, "taking the lock again"):
        # What the body left of them would count once more, and outlive the hold.
        await held.session.conn.execute("SELECT pg_catalog.pg_advisory_unlock_all()")
        await wait(held.session, held.keys, limit)
    if not await is_current(held):
        raise FencedError(f"another worker took {held.target.name} over (our epoch was {held.epoch})")


async def _try_raising(session: Session, keys: Keys, target: Target) -> int | None:
    """Try every key and raise the epoch if all were got; None, and nothing is held, where one of them is taken."""
    sql = try_raising_sql(session.control, keys)
    got, epoch = await session.conn.fetchrow(sql, target.name, session.worker) or (0, None)
    if epoch is None:
        await give_back(session, keys.in_order[:got])
        return None
    return int(epoch)


def try_raising_sql(control: str, keys: Keys) -> str:
    """SQL that tries every key of a target and raises its epoch if all were got."""
    sql = queries("target", control)["try_raising"]
    return sql.replace(":tried", tried_sql(keys)).replace(":all", str(len(keys.in_order)))
