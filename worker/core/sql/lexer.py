"""Cutting a file into statements by psql's rules: what ends a statement, and what lies between two.

A semicolon ends a statement outside quotes, comments, parentheses and the `BEGIN ATOMIC … END` body of a routine.
An unquoted backslash begins a psql command, which reaches to the end of its line. The work grows with the length
of the file and with nothing else, whatever the file holds.
"""

from array import array
from enum import Enum
from itertools import chain, takewhile
from operator import attrgetter, methodcaller

from worker.core.pattern import pattern
from worker.core.sql.places import Lines, Statement, Statements
from worker.core.sql.tokens import GAP, INNER_RUN, PLAIN, ROUTINE, ROUTINE_RUN, RUN, SPACE, keywords, run_end, token_end
from worker.core.value import dataclass

BOM = "\ufeff"

_LINE = pattern(r"[^\r\n]*")
_GROUP = attrgetter("lastindex")
_PLACE = methodcaller("span", 1)


class OpenToken(Enum):
    """What a file may leave without its end."""

    STRING = "quoted string"
    IDENTIFIER = "quoted identifier"
    DOLLAR = "dollar-quoted string"
    COMMENT = "comment"


@dataclass(frozen=True, slots=True)
class Unterminated:
    """A token that runs to the end of the file because its closing mark is missing."""

    offset: int
    token: OpenToken


@dataclass(frozen=True, slots=True)
class Scan:
    """A file taken apart: its statements, the places [start, end) of psql commands, and a token that never ends.

    `plain` are the ranges of statements that are of a plain kind by their first word.
    """

    statements: Statements
    plain: tuple[range, ...]
    commands: tuple[tuple[int, int], ...]
    unterminated: Unterminated | None


def split(sql: str) -> tuple[Statement, ...]:
    """Return the statements, empty ones (`;`) among them; between them lie white space, comments, psql commands."""
    return tuple(scan(sql).statements)


def scan(sql: str) -> Scan:
    """Take a file apart. Never raises: what has no end reaches to the end of the file."""
    scanner = _Scanner(sql)
    scanner.run()
    statements = Statements(Lines(sql), scanner.places)
    return Scan(statements, tuple(scanner.plain), tuple(scanner.commands), scanner.unterminated)


class _Scanner:
    """Walks through one file once, from the left to the right."""

    __slots__ = ("commands", "places", "plain", "sql", "unterminated")

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.places = array("I")
        self.plain: list[range] = []
        self.commands: list[tuple[int, int]] = []
        self.unterminated: Unterminated | None = None

    def run(self) -> None:
        sql = self.sql
        start = self._gap_end(int(sql.startswith(BOM)))
        while start < len(sql):
            if (past := self._plain_end(start)) == start:
                past = self._statement_end(start)
                end = past if past < len(sql) else start + len(sql[start:].rstrip(SPACE))
                self.places.extend((start, end))
            start = self._gap_end(past)

    def _plain_end(self, at: int) -> int:
        """Take all plain statements that follow each other from `at` on, without a step of Python's for each."""
        first = len(self.places) // 2
        found = takewhile(_GROUP, PLAIN.finditer(self.sql, at))
        self.places.extend(chain.from_iterable(map(_PLACE, found)))
        past = len(self.places) // 2
        if past == first:
            return at
        self.plain.append(range(first, past))
        return self.places[-1]

    def _gap_end(self, at: int) -> int:
        while at < len(self.sql):
            end = run_end(GAP, self.sql, at)
            if end == at:
                if self.sql[at] != "\\" and not self.sql.startswith("/*", at):
                    return at
                end = self._token_end(at)
            at = end
        return at

    def _statement_end(self, at: int) -> int:
        outer = ROUTINE_RUN if ROUTINE.match(self.sql, at) else RUN
        depth = bodies = 0
        while at < len(self.sql):
            began = at
            at = run_end(INNER_RUN if depth else outer, self.sql, at)
            char = self.sql[at : at + 1]
            if char == ";" and not depth:
                at += 1
                if not bodies:
                    break
            elif char == "(":
                depth, at = depth + 1, at + 1
            elif char == ")":
                depth, at = max(0, depth - 1), at + 1
            elif at == began:
                at = self._token_end(at)
                bodies += self._nesting(began, at, bodies) if outer is ROUTINE_RUN and not depth else 0
        return at

    def _nesting(self, start: int, end: int, bodies: int) -> int:
        """Return what a routine's word outside parentheses adds to the depth of bodies and CASEs in them."""
        match self.sql[start : min(end, start + 6)].upper():
            case "BEGIN":
                return int(keywords(self.sql, 1, end) == ("ATOMIC",))
            case "CASE":
                return int(bodies > 0)
            case "END":
                return -int(bodies > 0)
            case _:
                return 0

    def _token_end(self, at: int) -> int:
        if self.sql[at] == "\\":
            end = run_end(_LINE, self.sql, at)
            self.commands.append((at, end))
            return end
        end = token_end(self.sql, at)
        if end == 0:
            self.unterminated = Unterminated(at, _open_token(self.sql[at]))
        return end or len(self.sql)


def _open_token(mark: str) -> OpenToken:
    match mark:
        case '"':
            return OpenToken.IDENTIFIER
        case "$":
            return OpenToken.DOLLAR
        case "/":
            return OpenToken.COMMENT
        case _:
            return OpenToken.STRING
