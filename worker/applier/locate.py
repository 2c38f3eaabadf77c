"""From a server's error to the file, the line and the column, or to the word unknown; never a guess."""

import re
from dataclasses import replace

import anyio
import asyncpg

from worker.applier.messages import Message, Work
from worker.core.events import MigrationFailed
from worker.core.failure import Failure
from worker.core.lexer import Statement
from worker.core.privileges import missing_grant
from worker.core.script import Segment, position
from worker.errors import MigrationFailedError
from worker.postgres.faults import Fault, fault_of, message_of, settle

# Errors that say nothing about the statement: repeating it would not show it, and would wait again.
_NOT_THE_STATEMENTS = re.compile(r"55P03|40001|40P01|57...|53...|58...|XX...")
_REPLAY_SECONDS = 5.0
_SHOWN = 200


async def failed(
    work: Work, segment: Segment | None, message: Message, error: asyncpg.PostgresError
) -> MigrationFailedError:
    """The error to raise for a failed migration, after telling it.

    The failing statement is known where the server gave its position or the segment has only one. Otherwise the
    segment is repeated statement by statement in a transaction that is rolled back, for five seconds at most.
    """
    failure = _explained(work, segment, message, error)
    if failure.line is None and segment is not None and _can_replay(error, segment):
        found = await _replay(work, segment, message.head, error)
        failure = failure if found is None else _at(failure, work.text, found.start, found)
    work.held.session.emit(MigrationFailed(work.migration.version, failure))
    return MigrationFailedError(failure)


def _explained(work: Work, segment: Segment | None, message: Message, error: asyncpg.PostgresError) -> Failure:
    told, hint = _words(work, error)
    failure = Failure(work.file, error.sqlstate, told, hint)
    if segment is None:
        return failure
    offset = _offset(message, segment, error)
    if offset is not None:
        return _at(failure, work.text, offset, _statement_at(segment, offset))
    if len(segment.statements) == 1 and fault_of(error, work.held.session.conn) is Fault.STATEMENT:
        only = segment.statements[0]
        return replace(_at(failure, work.text, only.start, only), column=None)
    return failure


def _words(work: Work, error: asyncpg.PostgresError) -> tuple[str, str | None]:
    hint = getattr(error, "hint", None)
    match fault_of(error, work.held.session.conn):
        case Fault.LOCK_DROPPED:
            return (
                "the migration released Tidegate's advisory lock, so it was rolled back",
                "remove pg_advisory_unlock_all() or DISCARD ALL from it",
            )
        case Fault.TRANSACTION_BROKEN if "tidegate_body" in message_of(error) or error.sqlstate == "25P01":
            return (
                "the migration ended the transaction that it was given",
                "say -- tidegate: transaction=off at its top, so that it runs by segments",
            )
        case _:
            pass
    if error.sqlstate == "2D000":
        hint = "a COMMIT inside DO or CALL needs -- tidegate: transaction=off at the top of the file"
    if error.sqlstate == "42501":
        grant = missing_grant(message_of(error), work.held.session.role)
        hint = f"run as an owner: {grant}" if grant else hint
    return message_of(error), hint


def _offset(message: Message, segment: Segment, error: asyncpg.PostgresError) -> int | None:
    """The error's offset in the file; the server counts characters of the whole message from 1."""
    place = getattr(error, "position", None)
    if place is None:
        return None
    offset = int(place) - 1 - len(message.head)
    return segment.offset + offset if 0 <= offset < len(message.body) else None


def _at(failure: Failure, text: str, offset: int, statement: Statement | None) -> Failure:
    line, column = position(text, offset)
    shown = None if statement is None else statement.text[:_SHOWN]
    return replace(failure, line=line, column=column, statement=shown)


def _statement_at(segment: Segment, offset: int) -> Statement | None:
    return next((s for s in segment.statements if s.start <= offset < s.end), None)


def _can_replay(error: asyncpg.PostgresError, segment: Segment) -> bool:
    return len(segment.statements) > 1 and not _NOT_THE_STATEMENTS.fullmatch(error.sqlstate or "")


async def _replay(work: Work, segment: Segment, head: str, error: asyncpg.PostgresError) -> Statement | None:
    """Find the statement that fails with the same error, and undo all of it."""
    conn = work.held.session.conn
    found = None
    with anyio.move_on_after(_REPLAY_SECONDS):
        try:
            await conn.execute(head)
            for statement in segment.statements:
                found = statement
                await conn.execute(statement.text)
            found = None
        except asyncpg.PostgresError as again:
            same = (again.sqlstate, message_of(again)) == (error.sqlstate, message_of(error))
            return found if same else None
        except (asyncpg.InterfaceError, OSError):
            return None
        finally:
            await settle(conn)
    return None
