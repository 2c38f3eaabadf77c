"""Sends one message on the held connection, and leaves no transaction open whatever becomes of it."""

from enum import Enum

import anyio
import asyncpg

from worker.applier.messages import Message, anew
from worker.core.checkpoint import Checkpoint
from worker.core.sql.script import Segment
from worker.postgres.faults import DRIVER_ERRORS, ConnectionLostError, Fault, FencedError, fault_of, message_of, settle
from worker.postgres.lock import Held, is_current
from worker.postgres.session import Session
from worker.postgres.statements import forget

_LOOKED_UP = "whether it was committed is looked up in the ledger after the next connect; nothing is lost"


class Unit(Enum):
    """What a message holds: a whole transaction from BEGIN to COMMIT, or a statement that needs none."""

    TRANSACTION = "transaction"
    STATEMENT = "statement"


class LateRefusalError(Exception):
    """The server refused what a transaction's COMMIT ran, or what stands behind it; `error` is what it said.

    Whether the transaction was committed must be looked up; the connection is alive.
    """

    def __init__(self, error: asyncpg.PostgresError) -> None:
        super().__init__(str(error))
        self.error = error


async def send(held: Held, sql: str, unit: Unit = Unit.STATEMENT) -> None:
    """Send `sql` as one simple query; raises what `send_message` does."""
    await send_message(held, Message("", sql, ""), unit)


async def send_message(held: Held, message: Message, unit: Unit) -> None:
    """Send a message as one simple query, or a long one as several in the transaction that the first of them begins.

    Raises:
        asyncpg.PostgresError: The server refused a statement; nothing of an open transaction is left. Also where the
            epoch was stale inside the transaction alone, by the body's own doing.
        LateRefusalError: The same, but the transaction was over by then.
        FencedError: The epoch is stale: another worker has taken over.
        ConnectionLostError: The connection broke; whether the message came through must be looked up.
    """
    conn, passing = held.session.conn, held.session.passing
    forget(conn)
    try:
        passing(Checkpoint.SENDING)
        await _send_portions(held.session, message)
        passing(Checkpoint.SENT)
    except BaseException as error:
        is_over = unit is Unit.TRANSACTION and not (conn.is_closed() or conn.is_in_transaction())
        # Also when cancelled: the query is, and its transaction stays open and aborted, with its locks.
        await settle(conn)
        await _raise_if_ours(held, error)
        if is_over and isinstance(error, asyncpg.PostgresError):
            raise LateRefusalError(error) from error
        raise


async def _send_portions(session: Session, message: Message) -> None:
    conn, last = session.conn, len(message.cuts)
    for index in range(last + 1):
        if 0 < index < last and not conn.is_in_transaction():
            # The body ended the transaction that it was given: no more of it is run, and the last portion says so.
            continue
        place, sql = message.portion(index)
        try:
            await conn.execute(sql)
        except asyncpg.PostgresError as error:
            if (position := getattr(error, "position", None)) is not None:
                # The server counts from the beginning of what it was sent, and everybody else from the message's.
                error.position = str(int(position) + place)
            raise
        if index < last:
            session.passing(Checkpoint.PORTION)


async def start_anew(held: Held, segment: Segment | None) -> None:
    """Before a segment is sent a second time; what earlier segments left in the session stays where it needs that.

    Raises:
        ConnectionLostError: The server refuses to drop it, so that only the connection's end helps.
    """
    if segment is None or not segment.needs_session:
        await clear(held, "an attempt was rolled back")


async def clear(held: Held, after: str) -> None:
    """Drop what a body left in the session; `after` says in the error how things stand.

    Raises:
        ConnectionLostError: The server refuses that, so that only the connection's end helps.
    """
    try:
        await send(held, anew().text)
    except asyncpg.PostgresError as error:
        raise ConnectionLostError(
            f"{after}, and what it left in the session cannot be dropped: {message_of(error)}",
            hint="the next run goes on with a new connection",
        ) from error


async def send_chain(held: Held, message: str, seconds: float) -> asyncpg.PostgresError | TimeoutError | None:
    """Send several whole transactions, once and for no longer than this; returns what stopped them, None for nothing.

    Then those before are committed, and what is left in the session is dropped; the ledger says which those are.

    Raises:
        FencedError: Another worker has taken over.
        ConnectionLostError: The connection broke.
    """
    stopped: asyncpg.PostgresError | TimeoutError | None = TimeoutError()
    with anyio.move_on_after(seconds):
        try:
            await send(held, message, Unit.TRANSACTION)
        except asyncpg.PostgresError as error:
            stopped = error
        except LateRefusalError as late:
            stopped = late.error
        else:
            return None
    await clear(held, "one of several migrations was stopped")
    return stopped


async def _raise_if_ours(held: Held, error: BaseException) -> None:
    if not isinstance(error, DRIVER_ERRORS):
        return
    match fault_of(error, held.session.conn):
        case Fault.CONNECTION_LOST:
            raise ConnectionLostError(
                "the connection to the database was lost in the middle of a migration",
                hint=_LOOKED_UP,
            ) from error
        case Fault.FENCED if not await is_current(held):
            raise FencedError(f"another worker took {held.target.name} over (our epoch was {held.epoch})") from error
        case _:
            return
