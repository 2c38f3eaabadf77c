"""From a server's error to the file, the line and the column, or to the word unknown; never a guess."""

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from enum import Enum

import asyncpg

from worker.applier.messages import Message, Work
from worker.applier.send import start_anew
from worker.core.checks.privileges import missing_grant
from worker.core.events.failure import Failure
from worker.core.events.migration_events import MigrationFailed
from worker.core.running.blocking import Words
from worker.core.sql.places import Statement
from worker.core.sql.script import Segment, SegmentKind, position
from worker.core.value import dataclass
from worker.errors import MigrationFailedError
from worker.postgres.faults import DRIVER_ERRORS, ConnectionLostError, Fault, fault_of, message_of, settle

# Repeating the statements would not show the one that failed with these, or would do harm.
_NOT_REPLAYED = re.compile(r"40...|53...|57...|58...|TG...|XX...")
_SYNTAX_ERROR = "42601"
_REFUSED_IN_BLOCK = "25001"
_SHOWN = 200
REPLAY_SECONDS = 5.0
"""The search for the failed statement takes no longer."""

_BROKEN: Words = (
    "the migration ended the transaction that it was given",
    "say -- tidegate: transaction=off at its top, so that it runs by segments",
)
_RECORDS = (
    "its statements ran, and recording them failed: a migration must leave the version table, the control schema "
    "and the rights on them as they are"
)


class _Replayed(Enum):
    """What a replay shows where it does not show the statement that failed."""

    ALL_RAN = "all ran"
    COMMIT_FAILED = "commit failed"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that the server refused, and the segment in it; without one it is our records that failed.

    `said` goes before the server's words.
    """

    segment: Segment | None
    message: Message
    error: asyncpg.PostgresError
    said: Words | None = None


Overseen = Callable[[], AbstractAsyncContextManager[None, bool | None]]
"""What goes around the repetition of a body, and ends it where it takes too long."""


async def failed(work: Work, refusal: Refusal, overseen: Overseen) -> MigrationFailedError:
    """The error to raise for a failed migration, after telling it.

    The server gives the position of some errors. For the others the segment is repeated statement by statement in a
    transaction that is rolled back, `overseen`. What is sent in another way next has not failed yet, and is not told.
    """
    segment, error = refusal.segment, refusal.error
    words, hint = refusal.said or _words(work, segment, error)
    failure = Failure(work.file, error.sqlstate, words, hint)
    if segment is not None:
        failure = await _placed(failure, work, segment, refusal, overseen)
    if not is_refused_in_block(segment, error.sqlstate):
        work.held.session.emit(MigrationFailed(work.migration.version, failure))
    return MigrationFailedError(failure)


def check_unbroken(work: Work, error: asyncpg.PostgresError | TimeoutError) -> None:
    """Tell that a body ended the transaction that it was given, if that is the error: what it did is committed.

    Raises:
        MigrationFailedError: It did; nothing of it is recorded, and it must not be run again.
    """
    if fault_of(error, work.held.session.conn) is Fault.TRANSACTION_BROKEN:
        failure = Failure(work.file, getattr(error, "sqlstate", None), *_BROKEN)
        work.held.session.emit(MigrationFailed(work.migration.version, failure))
        raise MigrationFailedError(failure)


def is_refused_in_block(segment: Segment | None, sqlstate: str | None) -> bool:
    """Whether a single statement failed only because the server runs it in no transaction block."""
    return segment is not None and segment.kind is SegmentKind.SINGLE and sqlstate == _REFUSED_IN_BLOCK


async def _placed(failure: Failure, work: Work, segment: Segment, refusal: Refusal, overseen: Overseen) -> Failure:
    message, error = refusal.message, refusal.error
    place = getattr(error, "position", None)
    if place is None:
        return await _found(failure, work, segment, refusal, overseen)
    # The server counts characters of the whole message, from 1.
    offset = int(place) - 1 - len(message.head)
    if 0 <= offset < len(message.body):
        offset += segment.offset
        return _at(failure, work.text, offset, segment.statements.at(offset))
    if offset > 0 and error.sqlstate == _SYNTAX_ERROR:
        # What stands behind the body is right, so the body's last statement has no end.
        last = segment.statements[-1]
        return _at(failure, work.text, last.end, last)
    return replace(failure, hint=_RECORDS) if offset > 0 else failure


def _at(failure: Failure, text: str, offset: int, statement: Statement | None) -> Failure:
    line, column = position(text, offset)
    shown = None if statement is None else statement.text[:_SHOWN]
    return replace(failure, line=line, column=column, statement=shown)


def _words(work: Work, segment: Segment | None, error: asyncpg.PostgresError) -> tuple[str, str | None]:
    match fault_of(error, work.held.session.conn):
        case Fault.LOCK_DROPPED:
            return (
                "the migration released Tidegate's advisory lock, so it was rolled back",
                "remove pg_advisory_unlock_all() from it",
            )
        case Fault.FENCED:
            return (
                "the migration changed Tidegate's fence, so it was rolled back",
                "take out of it what writes to the control schema",
            )
        case Fault.TRANSACTION_BROKEN if segment is not None and segment.kind is not SegmentKind.ALONE:
            return _BROKEN
        case _:
            return message_of(error), _hint(work, error)


def _hint(work: Work, error: asyncpg.PostgresError) -> str | None:
    said: str | None = getattr(error, "hint", None)
    match error.sqlstate:
        case "2D000":
            return "a COMMIT inside DO or CALL needs -- tidegate: transaction=off at the top of the file"
        case "25001" if "transaction block" in message_of(error):
            return "it needs -- tidegate: transaction=off at the top of the file, where it is sent by itself"
        case "25006":
            return "a read-only transaction can neither change nor record anything: take READ ONLY out of the file"
        case "42501":
            grant = missing_grant(message_of(error), work.held.session.role)
            return f"run as an owner: {grant}" if grant else said
        case _:
            return said


async def _found(failure: Failure, work: Work, segment: Segment, refusal: Refusal, overseen: Overseen) -> Failure:
    """The failure, at the statement that fails with the same error when it is repeated, else at the only one."""
    error = refusal.error
    only = segment.statements[0] if len(segment.statements) == 1 else None
    culprit: Statement | None
    if segment.kind is SegmentKind.ALONE:
        culprit = only
    elif _NOT_REPLAYED.fullmatch(error.sqlstate or ""):
        culprit = only if fault_of(error, work.held.session.conn) is Fault.STATEMENT else None
    else:
        replayed = await _replay(work, segment, refusal, overseen)
        if replayed is _Replayed.ALL_RAN:
            return replace(failure, hint=failure.hint or _RECORDS)
        culprit = replayed if isinstance(replayed, Statement) else only
    return failure if culprit is None else replace(_at(failure, work.text, culprit.start, culprit), column=None)


async def _replay(work: Work, segment: Segment, refusal: Refusal, overseen: Overseen) -> Statement | _Replayed:
    """Run the statements one by one, and undo all of it."""
    found: Statement | _Replayed = _Replayed.NOTHING
    async with overseen():
        found = await _repeated(work, segment, refusal)
    return found  # noqa: RET504  the block above may end before it is assigned


async def _repeated(work: Work, segment: Segment, refusal: Refusal) -> Statement | _Replayed:
    conn = work.held.session.conn
    at: Statement | _Replayed = _Replayed.ALL_RAN
    try:
        await start_anew(work.held, segment)
        await conn.execute(refusal.message.head)
        for statement in segment.statements:
            at = statement
            await conn.execute(statement.text)
            if not conn.is_in_transaction():
                # A COMMIT that the lexer took for something else: nothing more may be repeated.
                return _Replayed.NOTHING
        at = _Replayed.COMMIT_FAILED
        await conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except (*DRIVER_ERRORS, ConnectionLostError) as again:
        return at if _same(again, refusal.error) else _Replayed.NOTHING
    else:
        return _Replayed.ALL_RAN
    finally:
        await settle(conn)


def _same(again: BaseException, error: asyncpg.PostgresError) -> bool:
    return isinstance(again, asyncpg.PostgresError) and (again.sqlstate, message_of(again)) == (
        error.sqlstate,
        message_of(error),
    )
