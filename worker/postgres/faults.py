"""What a server's error means to whoever runs SQL: retry it, look again, or tell a person."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import Enum
from typing import TYPE_CHECKING

import asyncpg

from worker.core.checks.privileges import missing_grant
from worker.errors import NoDatabaseError, RefusedError, TidegateError, TimedOutError
from worker.postgres.session import Session

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

_ROLLBACK_SECONDS = 2.0

DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""All that a use of a connection can raise.

An InternalClientError comes where the server's farewell arrives at the moment at which something is sent.
"""

_LOST = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


class Fault(Enum):
    """Classes of errors that are not the statement's own fault."""

    REPEATABLE = "repeatable"
    FENCED = "fenced"
    LOCK_DROPPED = "lock_dropped"
    TRANSACTION_BROKEN = "transaction_broken"
    CONNECTION_LOST = "connection_lost"
    STATEMENT = "statement"


_BY_SQLSTATE = {
    "55P03": Fault.REPEATABLE,  # lock_not_available: the lock timeout
    "40P01": Fault.REPEATABLE,  # deadlock_detected
    "40001": Fault.REPEATABLE,  # serialization_failure
    "TG001": Fault.FENCED,
    "TG002": Fault.LOCK_DROPPED,
    "57P01": Fault.CONNECTION_LOST,  # admin_shutdown; the connection's end is noticed only after it
    "57P02": Fault.CONNECTION_LOST,  # crash_shutdown
    "57P04": Fault.CONNECTION_LOST,  # database_dropped
    "57P05": Fault.CONNECTION_LOST,  # idle_session_timeout
    "25P03": Fault.CONNECTION_LOST,  # idle_in_transaction_session_timeout
    "3B001": Fault.TRANSACTION_BROKEN,  # RELEASE SAVEPOINT: no such savepoint
    "25P01": Fault.TRANSACTION_BROKEN,  # RELEASE SAVEPOINT: not in a transaction block
}


class ConnectionLostError(NoDatabaseError):
    """The connection broke while it was used: what was sent last may or may not have been committed."""

    reason = "connection_lost"


class FencedError(TidegateError):
    """Another worker has taken the target over; nothing of ours was committed since."""

    reason = "fenced"


def fault_of(error: BaseException, conn: "Connection[Record]") -> Fault:
    """Classify an error that `conn` raised."""
    if isinstance(error, _LOST) or conn.is_closed():
        return Fault.CONNECTION_LOST
    return _BY_SQLSTATE.get(getattr(error, "sqlstate", None) or "", Fault.STATEMENT)


@asynccontextmanager
async def told(session: Session, doing: str) -> AsyncIterator[None]:
    """Turn the server's errors of control statements into errors that say what to do.

    Raises:
        ConnectionLostError: The connection broke.
        FencedError: The epoch is stale.
        RefusedError: The role lacks a privilege, which is named; or the lock was dropped.
        TimedOutError: Somebody held a lock for longer than the session's lock timeout; says who.
    """
    try:
        yield
    except asyncpg.LockNotAvailableError as error:
        raise await _never_free(session, doing) from error
    except DRIVER_ERRORS as error:
        raise _explained(error, session, doing) from error


# What decoding a row raises: a time that Python has no year for, an array of another shape, JSON of any depth.
_UNREADABLE = (ArithmeticError, LookupError, RecursionError, TypeError, ValueError)


@contextmanager
def credible(what: str) -> Iterator[None]:
    """Read rows that others may write: a column can hold what its type allows, and no program of ours writes.

    Raises:
        RefusedError: It does; nobody knows then what is meant.
    """
    try:
        yield
    except _UNREADABLE as error:
        raise RefusedError(
            f"a row of {what} holds what Tidegate never writes ({type(error).__name__})",
            hint="find out who can write to the control schema, and put the row right or remove it",
            reason="foreign_value",
        ) from error


async def _never_free(session: Session, doing: str) -> TimedOutError:
    """Name who holds what a statement of ours waited for; a transaction of ours that waited is over anyway."""
    from worker.postgres.blocking import control_holder  # noqa: PLC0415  slow to load, and rarely needed

    await settle(session.conn)
    try:
        holder = await control_holder(session.conn, session.control)
    except DRIVER_ERRORS:
        holder = None
    who = "nobody saw by whom" if holder is None else f"locks there are held by {holder}"
    return TimedOutError(
        f"waited for a lock for too long while {doing}: {who}",
        hint="look at pg_locks for who holds it" if holder is None else holder.remedy,
        reason="control_lock",
    )


def _explained(error: BaseException, session: Session, doing: str) -> TidegateError:
    match fault_of(error, session.conn):
        case Fault.CONNECTION_LOST:
            return ConnectionLostError(
                f"the connection to the database was lost while {doing}",
                hint="what was sent last is looked up after the next connect; nothing is lost",
            )
        case Fault.FENCED:
            return FencedError(f"another worker took the target over while {doing}")
        case Fault.LOCK_DROPPED:
            return RefusedError(
                f"the advisory lock was dropped while {doing}",
                hint="find what called pg_advisory_unlock_all() or DISCARD ALL on this connection",
                reason="lock_lost",
            )
        case _:
            return _denied(error, doing, session.role)


def _denied(error: BaseException, doing: str, role: str) -> TidegateError:
    message = message_of(error)
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        grant = missing_grant(message, role)
        hint = f"run as an owner: {grant}" if grant else "give the role what it lacks"
        return RefusedError(f"role {role} may not go on while {doing}: {message}", hint=hint, reason="privilege")
    state = getattr(error, "sqlstate", None)
    return RefusedError(
        f"the database refused while {doing}: {message} [{state}]", hint="see the server's log", reason="database"
    )


def message_of(error: BaseException) -> str:
    """The first line of an error's message; never its DETAIL, which can hold the application's data."""
    text = getattr(error, "message", None) or str(error)
    return text.splitlines()[0] if text else type(error).__name__


async def settle(conn: "Connection[Record]") -> None:
    """Leave no transaction open after an error or a cancellation, whatever the caller's scope says.

    A cancelled query leaves its transaction open and aborted, with its locks; the rollback is shielded, since the
    same cancellation would stop it too, and bounded, since the link may be dead.
    """
    if conn.is_closed():
        return
    import anyio  # noqa: PLC0415  slow to load, and a look that ends well settles nothing

    with anyio.move_on_after(_ROLLBACK_SECONDS, shield=True) as scope:
        try:
            await conn.execute("ROLLBACK")
        except DRIVER_ERRORS:
            conn.terminate()
    if scope.cancelled_caught:
        conn.terminate()
