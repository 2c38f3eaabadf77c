"""The messages that are sent: one string holds a transaction from BEGIN to COMMIT, the fence and the records in it.

A message is built as a head, a body and a tail. The body is sent with its characters in place, so that an error's
position in the message, less the head's length, is its position in the segment.
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum

from worker.core.bundles.migration import Direction, Migration, Side
from worker.core.sql.script import Mode, Segment
from worker.core.sql.statements import Kind, classify
from worker.core.target import quote_identifier, quote_literal
from worker.core.value import dataclass
from worker.postgres.lock import Held
from worker.postgres.session import PIN, UNPIN
from worker.postgres.target_half import version_row_sql

# Everything that a body can leave behind in the session and that a transaction can undo: it goes before the records,
# so that they are written by the role, and under the settings, that the session started with.
_RESET = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL"
_RESET_AND_PIN = f"{_RESET}; {PIN}"
_DROP_SESSION_OBJECTS = "CLOSE ALL; UNLISTEN *; DEALLOCATE ALL; DISCARD TEMP; DISCARD SEQUENCES"
_BEGIN = "BEGIN;"
_COMMIT = "COMMIT"
_UNHURRIED = "SET LOCAL synchronous_commit = off"
# A worker that is frozen between two portions keeps its table locks no longer; one that runs sends the next at once.
_BETWEEN_PORTIONS = " SET LOCAL idle_in_transaction_session_timeout = '60s';"
_SAVEPOINT = "tidegate_body"
_READ_ONLY = "READ ONLY"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Of one migration, in milliseconds; 0 means no limit of its own.

    `patient_ms` takes the place of `lock_ms` for statements that are not to wait in short attempts.
    """

    lock_ms: int
    patient_ms: int
    statement_ms: int

    @property
    def local_sql(self) -> str:
        """SQL that sets a block's for the rest of the transaction."""
        return f"SET LOCAL lock_timeout = {self.lock_ms}; SET LOCAL statement_timeout = {self.statement_ms}"

    @property
    def records_sql(self) -> str:
        """SQL that sets the lock timeout of the records behind a block, where the session's settings are back."""
        return f"SET LOCAL lock_timeout = {self.lock_ms}"

    @property
    def session_sql(self) -> str:
        """SQL that sets a lone statement's for the session."""
        return f"SET lock_timeout = {self.lock_ms}; SET statement_timeout = {self.statement_ms}"


@dataclass(frozen=True, slots=True)
class Work:
    """One side of one migration on a held target, and what to record of it.

    `version_after` is the version table's value once it is done. `began` is when the run began, by the session's
    clock. `also` is SQL that commits together with it. `since` is SQL for when the record before it in the same message
    was made, None where it is the first one there.
    """

    held: Held
    migration: Migration
    direction: Direction
    mode: Mode
    bundle: str
    version_after: int | None
    began: float
    also: tuple[str, ...] = ()
    since: str | None = None

    @property
    def side(self) -> Side | None:
        """The file that is run, None where the migration has none in this direction."""
        match self.direction:
            case Direction.UP:
                return self.migration.up
            case Direction.DOWN:
                return self.migration.down

    @property
    def file(self) -> str:
        """What messages call the migration: its file, or its version where it has none."""
        return f"version {self.migration.version}" if self.side is None else self.side.file

    @property
    def text(self) -> str:
        """The file's text."""
        return "" if self.side is None else self.side.sql


class SegmentState(Enum):
    """What the journal says of a segment: begun with an unknown result, failed without effect, or done."""

    INTENT = "intent"
    FAILED = "failed"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent, in three parts; a transaction's may have a fourth one behind its COMMIT.

    `proof` is a query that tells whether a transaction was committed. `cuts` are places between the body's statements
    at which a long message is sent in portions, one after the other.
    """

    head: str
    body: str
    tail: str
    behind: str = ""
    proof: str = ""
    cuts: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """The whole message; a newline ends a trailing comment of the body, a semicolon its last statement."""
        return f"{self.head}{self.body}{self._end}"

    @property
    def _end(self) -> str:
        behind = f"; {self.behind}" if self.behind else ""
        return f"\n;{self.tail}{behind}"

    def portion(self, index: int) -> tuple[int, str]:
        """What is sent at once, counted from 0 to the number of cuts, and its place in the whole message."""
        first = self.cuts[index - 1] if index else 0
        if index < len(self.cuts):
            body, end = self.body[first : self.cuts[index]], ""
        else:
            body, end = self.body[first:], self._end
        return (len(self.head) + first, f"{body}{end}") if index else (0, f"{self.head}{body}{end}")


def final(work: Work, segment: Segment | None, timeouts: Timeouts) -> Message:
    """The migration's last transaction, or its only one: ledger, history and version table say that it is done."""
    version_row = version_row_sql(work.held.target, work.version_after, dirty=False)
    message = _transaction(work, segment, timeouts, (*_recorded(work), version_row, *work.also))
    return replace(message, behind=_DROP_SESSION_OBJECTS, proof=_ledger_proof(work))


def joined(messages: Sequence[Message]) -> Message:
    """Whole transactions as one; what each drops from the session it drops before the next one, or COMMIT, begins.

    Nothing stands behind the COMMIT: whatever the server refuses, nothing was committed.
    """
    inner = "; ".join([_inner(message) for message in messages])
    return Message(_BEGIN, "", f"{inner}; {_COMMIT}", proof=messages[-1].proof)


def chained(messages: Sequence[Message]) -> str:
    """Whole transactions one behind the other, of which the last one alone waits for the disk.

    Its commit has the log of all that went before it written too. Where the server refuses one, those before it are
    committed, and the rest is not begun. What stands behind a COMMIT runs in the transaction that follows it in the
    message, so that it is undone with that one: then the session is to be cleared.
    """
    *others, last = messages
    unhurried = [replace(each, tail=f"{each.tail.removesuffix(_COMMIT)}{_UNHURRIED}; {_COMMIT}") for each in others]
    return ";\n".join([each.text for each in (*unhurried, last)])


def _inner(message: Message) -> str:
    if not (message.head.startswith(_BEGIN) and message.tail.endswith(_COMMIT)):
        raise AssertionError("only transactions that ask for no mode of their own can be joined")
    return replace(message, head=message.head.removeprefix(_BEGIN), tail=message.tail.removesuffix(_COMMIT)).text


def recorded_at_sql(held: Held, version: int) -> str:
    """SQL for when a version was recorded: all that is sent in one message has the message's timestamp."""
    return f"{quote_identifier(held.session.control)}.recorded_at({quote_literal(held.target.name)}, {version})"


def progress(work: Work, segment: Segment, timeouts: Timeouts) -> Message:
    """A block that others follow; golang-migrate sees the version as dirty meanwhile."""
    message = _fenced(work, segment, timeouts, _journalled(work, segment, SegmentState.DONE))
    return replace(message, proof=_journal_proof(work, segment, SegmentState.DONE))


def note(work: Work, segment: Segment, state: SegmentState) -> Message:
    """Says how far a lone statement has come: its intent before it is sent, its result after that."""
    return replace(
        _fenced(work, None, None, _journalled(work, segment, state)), proof=_journal_proof(work, segment, state)
    )


def finishing(work: Work, sql: str, proof: str, timeouts: Timeouts) -> Message:
    """Ends what a cut statement had begun, in a transaction of its own, so that nobody waits long behind it."""
    return replace(_fenced(work, None, None, (timeouts.local_sql, sql)), proof=proof)


def _fenced(work: Work, segment: Segment | None, timeouts: Timeouts | None, records: tuple[str, ...]) -> Message:
    return _transaction(work, segment, timeouts, (work.held.fence_sql, *records))


def _transaction(work: Work, segment: Segment | None, timeouts: Timeouts | None, records: tuple[str, ...]) -> Message:
    """A transaction of its own: the segment, then the session as it started, the records, which begin with the fence.

    If the body ended the transaction that it was given, its savepoint is gone, and releasing it fails.
    """
    if segment is None or timeouts is None:
        return Message(_BEGIN, "", "; ".join((*records, _COMMIT)))
    # READ ONLY ends with the subtransaction that it was set in, so that the records can be written behind it.
    modes, read_only = segment.begin.replace(_READ_ONLY, ""), _READ_ONLY in segment.begin
    body = f"SAVEPOINT {_SAVEPOINT};" + (f"SET TRANSACTION {_READ_ONLY};" if read_only else "")
    begin = f"BEGIN {modes};" if modes else _BEGIN
    begin += _BETWEEN_PORTIONS if segment.cuts else ""
    head = f"{begin} {timeouts.local_sql}; {work.held.session.unpin}; {_replayed(segment)}{body}"
    # Here the migration's table locks are held: who waits for those is not to wait for a control table besides.
    tail = (f"RELEASE SAVEPOINT {_SAVEPOINT}", _RESET_AND_PIN, timeouts.records_sql, *records, _COMMIT)
    return Message(head, segment.text, "; ".join(tail), cuts=segment.cuts)


def lone_start(segment: Segment, timeouts: Timeouts, unpin: str = UNPIN) -> Message:
    """What a lone statement needs to be set before it."""
    return Message("", f"{timeouts.session_sql}; {unpin}; {_replayed(segment)}", "")


def lone(segment: Segment) -> Message:
    """A statement that no transaction can hold.

    DISCARD ALL is taken apart: it would drop the session's advisory locks besides all that it is meant for.
    """
    whole = classify(segment.statements[0].text) is not Kind.DISCARD_ALL
    return Message("", segment.text if whole else f"{_RESET}; {_DROP_SESSION_OBJECTS}; DISCARD PLANS", "")


def anew() -> Message:
    """Drop what a rollback leaves in the session, prepared statements above all."""
    return Message("", _DROP_SESSION_OBJECTS, "")


def lone_end() -> Message:
    """Undo what a lone statement, or those before it, set."""
    return Message("", _RESET_AND_PIN, "")


def _replayed(segment: Segment) -> str:
    return "".join(f"{statement.rstrip().rstrip(';')}\n;" for statement in segment.session)


def _control(work: Work) -> str:
    return quote_identifier(work.held.session.control)


def _recorded(work: Work) -> tuple[str, ...]:
    """The fence, ledger and history, and the end of the journal.

    The control schema's own migrations, which make the function that does all of it, and a down spell them out.
    """
    held = work.held
    if work.direction is Direction.UP and held.target.schema != held.session.control:
        return (_applied(work),)
    return (held.fence_sql, _ledger(work), _forget_journal(work))


def _applied(work: Work) -> str:
    migration, held = work.migration, work.held
    # Of untyped arguments the server finds the one function of that name and number.
    before, since = (_before(work), "NULL") if work.since is None else ("0", work.since)
    texts = map(quote_literal, (work.bundle, work.mode.value, held.session.worker))
    return (
        f"SELECT {_control(work)}.record_applied({held.fence_arguments}, {migration.version}, "
        f"{quote_literal(migration.name)}, {_checksum(work)}, {', '.join(texts)}, {before}, {since})"
    )


def _checksum(work: Work) -> str:
    up = work.migration.up
    return "NULL" if up is None else quote_literal(up.checksum)


def _before(work: Work) -> str:
    """The milliseconds of the run before this transaction."""
    return f"{(work.held.session.clock() - work.began) * 1000:.3f}"


def _ledger(work: Work) -> str:
    migration, held = work.migration, work.held
    common = (
        f"{quote_literal(held.target.name)} AS target, {migration.version}::bigint AS version, "
        f"{quote_literal(migration.name)} AS name, {_checksum(work)} AS checksum, "
        f"{quote_literal(work.bundle)} AS bundle, {quote_literal(work.mode.value)} AS mode, "
        f"{quote_literal(held.session.worker)} AS worker, "
        f"{_duration(work)} AS duration_ms, {held.epoch}::bigint AS epoch"
    )
    columns = "target, version, name, checksum, bundle, mode, worker, duration_ms, epoch"
    history = f"INSERT INTO {_control(work)}.history ({columns}, action) SELECT {columns}, '{work.direction.value}'"
    match work.direction:
        case Direction.UP:
            kept = f"INSERT INTO {_control(work)}.ledger ({columns}, origin) SELECT {common}, 'applied'"
            return f"WITH kept AS ({kept} RETURNING {columns}) {history} FROM kept"
        case Direction.DOWN:
            return f"WITH done AS (SELECT {common}), kept AS ({_gone(work)}) {history} FROM done"


def _duration(work: Work) -> str:
    """SQL for the milliseconds of the whole run: what went before this transaction, and the transaction itself."""
    return f"{_before(work)} + extract(epoch FROM clock_timestamp() - transaction_timestamp()) * 1000"


def _gone(work: Work) -> str:
    where = f"target = {quote_literal(work.held.target.name)} AND version = {work.migration.version}"
    return f"DELETE FROM {_control(work)}.ledger WHERE {where}"


def _ledger_proof(work: Work) -> str:
    where = f"target = {quote_literal(work.held.target.name)} AND version = {work.migration.version}"
    row = f"EXISTS (SELECT FROM {_control(work)}.ledger WHERE {where}"
    match work.direction:
        case Direction.UP:
            return f"SELECT {row} AND epoch = {work.held.epoch})"
        case Direction.DOWN:
            return f"SELECT NOT {row})"


def _journalled(work: Work, segment: Segment, state: SegmentState) -> tuple[str, str]:
    row = version_row_sql(work.held.target, work.migration.version, dirty=True)
    return _journal(work, segment, state), row


def _journal(work: Work, segment: Segment, state: SegmentState) -> str:
    return (
        f"INSERT INTO {_control(work)}.journal (target, version, direction, segment, digest, state, epoch) VALUES ("
        f"{quote_literal(work.held.target.name)}, {work.migration.version}, '{work.direction.value}', "
        f"{segment.index}, '{segment.digest}', '{state.value}', {work.held.epoch}) "
        "ON CONFLICT (target, version, direction, segment) DO UPDATE SET digest = excluded.digest, "
        "state = excluded.state, epoch = excluded.epoch, backend_pid = pg_backend_pid(), at = clock_timestamp()"
    )


def _journal_proof(work: Work, segment: Segment, state: SegmentState) -> str:
    return (
        f"SELECT EXISTS (SELECT FROM {_control(work)}.journal WHERE target = {quote_literal(work.held.target.name)} "
        f"AND version = {work.migration.version} AND direction = '{work.direction.value}' "
        f"AND segment = {segment.index} AND state = '{state.value}' AND epoch = {work.held.epoch})"
    )


def _forget_journal(work: Work) -> str:
    return (
        f"DELETE FROM {_control(work)}.journal WHERE target = {quote_literal(work.held.target.name)} "
        f"AND version = {work.migration.version}"
    )
