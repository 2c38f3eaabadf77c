"""What a migration's text is: how it must be run, and the segments that it is run by."""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from itertools import islice, takewhile
from typing import NoReturn, assert_never

from worker.core.bundles.migration import Directives, Transaction
from worker.core.pattern import pattern
from worker.core.sql.places import Statement, Statements, line_ends
from worker.core.sql.source import blanked, read_source
from worker.core.sql.statements import Kind, may_commit, transaction_modes
from worker.core.sql.tokens import tokens
from worker.errors import RefusedError

PART = 512 * 1024
"""Characters; a text that is longer is sent in parts, so that neither side has to hold many copies of it."""

# What changes how text is read; a dump begins by setting both of the first two to what they are.
_READ_ANEW = pattern(
    r"""standard_conforming_strings (?! \s* (?: = | to) \s* '?on\b )
    | client_encoding (?! \s* (?: = | to) \s* '?utf-?8\b )
    | backslash_quote | set \s+ names""",
    re.IGNORECASE | re.VERBOSE,
)


class Mode(Enum):
    """How a script is run."""

    EMPTY = "empty"
    TRANSACTIONAL = "transactional"
    JOURNALLED = "journalled"


class SegmentKind(Enum):
    """How a segment is sent: a block is one fenced transaction, a lone statement goes outside any transaction.

    A single statement is one that `transaction=off` asks to have by itself and that a transaction can hold: it gets
    one of its own, with its journal row in it. Where the server refuses that, it is sent as a lone one.
    """

    BLOCK = "block"
    ALONE = "alone"
    SINGLE = "single"


@dataclass(frozen=True, slots=True)
class Segment:
    """The unit that the journal records.

    `text` is what is sent. It may end in a comment, so whoever appends to it begins with a line end and a semicolon.
    `offset` is where it starts in the file: character i of the text is character `offset` + i of the file. `begin`
    is the transaction mode that the file asked for ("" or, for example, "ISOLATION LEVEL SERIALIZABLE").

    `session` holds the statements of earlier segments that set session state; a fresh session runs them first, in
    order. `needs_session` holds the earlier ones that left a temporary object, a prepared statement or a held
    cursor, which a fresh session cannot have again; without any it is empty.

    Its digest is the lower-case hex SHA-256 of, in UTF-8: the word "block" for a block and "alone" for the other kinds,
    LF, `begin`, LF, and the text with every CR LF and every lone CR replaced by LF.
    """

    index: int
    kind: SegmentKind
    text: str = field(repr=False)
    offset: int
    begin: str
    session: tuple[str, ...]
    needs_session: tuple[Statement, ...]
    statements: Statements = field(repr=False)

    @property
    def digest(self) -> str:
        """What the journal tells the segment by; computed when asked for, since most runs keep no journal."""
        running = sha256(f"{_DIGEST_WORDS[self.kind]}\n{self.begin}\n".encode())
        text = self.text.replace("\r\n", "\n").replace("\r", "\n")
        for at in range(0, len(text), PART):
            running.update(text[at : at + PART].encode("utf-8", "surrogatepass"))
        return running.hexdigest()

    @property
    def cuts(self) -> tuple[int, ...]:
        """Places in the text, behind semicolons, that cut it into parts of about `PART`, or of one statement.

        There are none in what may change how the text behind it is read: the server has read a single message before.
        """
        ends, found, last = self.statements.places[1::2], [], 0
        while (at := bisect_left(ends, self.offset + last + PART)) < len(ends) - 1:
            last = ends[at] - self.offset
            found.append(last)
        return () if found and _READ_ANEW.search(self.text) else tuple(found)


@dataclass(frozen=True, slots=True)
class Script:
    """A migration's text, classified.

    For `Mode.TRANSACTIONAL` there is exactly one segment, of kind block, whose text is as long as the file; for
    `Mode.EMPTY` none.
    """

    mode: Mode
    segments: tuple[Segment, ...]


def position(sql: str, offset: int) -> tuple[int, int]:
    """Return line and column of a character, both counted from 1, the column in characters; CR LF is one line end."""
    if offset > 0 and sql.startswith("\r\n", offset - 1):
        offset -= 1
    line_start = max(sql.rfind("\n", 0, offset), sql.rfind("\r", 0, offset)) + 1
    return 1 + line_ends(sql, 0, offset), offset - line_start + 1


def read_script(sql: str, directives: Directives) -> Script:
    """Classify a migration's text and cut it into segments.

    With `transaction=off` among the directives, every statement outside an explicit block is a segment of its own.

    Raises:
        BundleError: a token without its end, a psql command, COPY FROM stdin, or a NUL character; names the line.
        RefusedError: the text would lie about what it did, or cannot be run as it is; reason "script", names the line.
    """
    source = read_source(sql)
    reading = _Reading(directives.transaction)
    for kind, statements in source.stretches:
        reading.take(kind, statements)
    return reading.script(source.text)


@dataclass(frozen=True, slots=True)
class _Part:
    """A segment before its text is cut from the file."""

    kind: SegmentKind
    begin: str
    session: tuple[str, ...]
    objects: tuple[Statement, ...]
    statements: Statements


@dataclass(slots=True)
class _Reading:
    """The state after some of a file's statements: what is cut already, and what is still being gathered."""

    transaction: Transaction
    parts: list[_Part] = field(default_factory=list)
    blanks: list[tuple[int, int]] = field(default_factory=list)
    run: list[tuple[Kind, Statements]] = field(default_factory=list)
    begin: str = ""
    opened: Statement | None = None
    session: tuple[str, ...] = ()
    objects: tuple[Statement, ...] = ()
    body: list[Statements] = field(default_factory=list)

    def take(self, kind: Kind, statements: Statements) -> None:
        """Take statements of one kind that follow each other."""
        if kind in _HELD_BY_TRANSACTIONS:
            self._gather(kind, statements)
        else:
            for index in range(len(statements)):
                self._take_one(kind, statements[index : index + 1])

    def _take_one(self, kind: Kind, alone: Statements) -> None:
        statement = alone[0]
        match kind:
            case Kind.EMPTY | Kind.COPY_FROM_STDIN:
                pass  # `read_source` has refused the latter
            case Kind.BEGIN:
                self._open(statement)
            case Kind.COMMIT | Kind.COMMIT_AND_CHAIN:
                self._commit(kind, statement)
            case Kind.ROLLBACK | Kind.TWO_PHASE:
                _refuse(statement, *_REFUSALS[kind])
            case Kind.ALONE | Kind.DISCARD_ALL:
                self._take_alone(kind, alone)
            case Kind.TRANSACTION_MODE:
                self._take_mode(kind, alone)
            case Kind.PREFERS_ALONE if self.opened is None:
                self._send_alone(kind, alone)
            case Kind.PREFERS_ALONE:
                self._gather(kind, alone)
            case Kind.PLAIN | Kind.SAVEPOINT | Kind.SESSION_OBJECT | Kind.SESSION_STATE | Kind.TRANSACTION_STATE:
                raise AssertionError("they are taken together")
            case _:
                assert_never(kind)

    def _open(self, statement: Statement) -> None:
        if self.opened is not None:
            _refuse(statement, f"stands inside the transaction of line {self.opened.line}", "commit that one before it")
        self._end_run()
        self.opened, self.begin = statement, transaction_modes(statement.text)
        self.blanks.append((statement.start, statement.end))

    def _commit(self, kind: Kind, statement: Statement) -> None:
        chain = kind is Kind.COMMIT_AND_CHAIN
        if chain and self.opened is None:
            _refuse(statement, "has no transaction to commit", "put a BEGIN before the statements that it ends")
        begin = self.begin
        self._end_run()
        self.opened, self.begin = (statement, begin) if chain else (None, "")
        self.blanks.append((statement.start, statement.end))

    def _take_alone(self, kind: Kind, alone: Statements) -> None:
        if self.opened is not None:
            _refuse(
                alone[0],
                f"cannot run inside the transaction of line {self.opened.line}",
                "move it before that BEGIN or behind its COMMIT",
            )
        self._send_alone(kind, alone)

    def _send_alone(self, kind: Kind, alone: Statements, how: SegmentKind = SegmentKind.ALONE) -> None:
        self._end_run()
        self._add(how, alone)
        self._remember(kind, alone)

    def _take_mode(self, kind: Kind, alone: Statements) -> None:
        """Let BEGIN say the mode: SET TRANSACTION fails behind a query and in a subtransaction, and so later."""
        if all(before in _WITHOUT_SNAPSHOT for before, _ in self.run):
            statement = alone[0]
            self.begin = f"{self.begin} {transaction_modes(statement.text)}".strip()
            self.blanks.append((statement.start, statement.end))
        else:
            self._gather(kind, alone)

    def _gather(self, kind: Kind, statements: Statements) -> None:
        outside = self.opened is None and self.transaction is Transaction.OFF
        if not outside or kind is Kind.SESSION_STATE:
            self.run.append((kind, statements))
            return
        for index, text in enumerate(statements.texts()):
            how = SegmentKind.ALONE if may_commit(text) else SegmentKind.SINGLE
            self._send_alone(kind, statements[index : index + 1], how)

    def _end_run(self) -> None:
        """Cut a block, unless all that was gathered is session state, which later segments carry with them."""
        if any(kind is not Kind.SESSION_STATE for kind, _ in self.run):
            self._add(SegmentKind.BLOCK, _joined([statements for _, statements in self.run]))
        for kind, statements in self.run:
            self._remember(kind, statements)
        self.run.clear()
        self.begin = ""

    def _add(self, kind: SegmentKind, statements: Statements) -> None:
        self.parts.append(_Part(kind, self.begin, self.session, self.objects, statements))

    def _remember(self, kind: Kind, statements: Statements) -> None:
        self.body.append(statements)
        if kind is Kind.SESSION_STATE:
            self.session += tuple(statements.texts())
        elif kind is Kind.SESSION_OBJECT:
            self.objects += tuple(statements)
        elif kind is Kind.DISCARD_ALL:
            self.session, self.objects = (), ()

    def script(self, sql: str) -> Script:
        if self.opened is not None:
            _refuse(self.opened, "begins a transaction that is still open at the end", "add COMMIT at the end")
        self._end_run()
        if not self.body:
            return Script(Mode.EMPTY, ())
        text = blanked(sql, self.blanks)
        if not self.parts or [part.kind for part in self.parts] == [SegmentKind.BLOCK]:
            begin = self.parts[0].begin if self.parts else ""
            whole = _Part(SegmentKind.BLOCK, begin, (), (), _joined(self.body))
            return Script(Mode.TRANSACTIONAL, (_segment(0, whole, text, 0),))
        return Script(Mode.JOURNALLED, tuple(_cut(index, part, text) for index, part in enumerate(self.parts)))


def _joined(stretches: Sequence[Statements]) -> Statements:
    first, *others = stretches
    return first.joined(others) if others else first


def _cut(index: int, part: _Part, text: str) -> Segment:
    start, end = part.statements.places[0], part.statements.places[-1]
    return _segment(index, part, text[start:end], start)


def _segment(index: int, part: _Part, text: str, offset: int) -> Segment:
    return Segment(index, part.kind, text, offset, part.begin, part.session, part.objects, part.statements)


# The journal of a migration that is under way tells the segments by their digests: these words must never change.
_DIGEST_WORDS: Mapping[SegmentKind, str] = {
    SegmentKind.BLOCK: "block",
    SegmentKind.ALONE: "alone",
    SegmentKind.SINGLE: "alone",
}
_HELD_BY_TRANSACTIONS = frozenset(
    {Kind.PLAIN, Kind.SAVEPOINT, Kind.SESSION_OBJECT, Kind.SESSION_STATE, Kind.TRANSACTION_STATE}
)
_WITHOUT_SNAPSHOT = frozenset({Kind.SESSION_STATE, Kind.TRANSACTION_STATE})
_REFUSALS: Mapping[Kind, tuple[str, str]] = {
    Kind.ROLLBACK: (
        "undoes what the file did, and yet the migration would be recorded",
        "take it out: a failed migration is rolled back anyway, and ROLLBACK TO a savepoint may stay",
    ),
    Kind.TWO_PHASE: (
        "leaves it to another session whether the file takes effect",
        "use BEGIN and COMMIT, or neither",
    ),
}


def _refuse(statement: Statement, why: str, hint: str) -> NoReturn:
    words = takewhile(str.isalpha, islice(tokens(statement.text), 3))
    raise RefusedError(f"line {statement.line}: {' '.join(words)} {why}", hint=hint, reason="script")
