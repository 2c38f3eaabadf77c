"""Cutting a file into statements by psql's rules: what ends a statement, and what lies between two.

A semicolon ends a statement outside quotes, comments, parentheses and the `BEGIN ATOMIC … END` body of a routine.
An unquoted backslash begins a psql command, which reaches to the end of its line. The work grows with the length
of the file and with nothing else, whatever the file holds.
"""

import re
from collections.abc import Iterator
from enum import Enum

from worker.core.sql.tokens import GAP, INNER_RUN, ROUTINE, ROUTINE_RUN, RUN, SPACE, keywords, run_end, token_end
from worker.core.value import dataclass

BOM = "\ufeff"

_LINE = re.compile(r"[^\r\n]*")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement's place in the file: [start, end) in characters, and its first line, counted from 1.

    The text begins with its first token and ends with its semicolon. Only the last one of a file may lack that;
    it then reaches to the last character that is no white space.
    """

    start: int
    end: int
    line: int
    text: str


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
    """A file taken apart: its statements, the places [start, end) of psql commands, and a token that never ends."""

    statements: tuple[Statement, ...]
    commands: tuple[tuple[int, int], ...]
    unterminated: Unterminated | None


def split(sql: str) -> tuple[Statement, ...]:
    """Return the statements, empty ones (`;`) among them; between them lie white space, comments, psql commands."""
    return scan(sql).statements


def scan(sql: str) -> Scan:
    """Take a file apart. Never raises: what has no end reaches to the end of the file."""
    scanner = _Scanner(sql)
    statements = tuple(scanner.statements())
    return Scan(statements, tuple(scanner.commands), scanner.unterminated)


def line_ends(sql: str, start: int, end: int) -> int:
    """Return how many lines end in sql[start:end]: at LF, at CRLF as one, and at a lone CR as in PostgreSQL."""
    ends = sql.count("\n", start, end)
    returns = sql.count("\r", start, end)
    return ends + returns - sql.count("\r\n", start, end) if returns else ends


class _Scanner:
    """Walks through one file once, from the left to the right."""

    __slots__ = ("commands", "sql", "unterminated")

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.commands: list[tuple[int, int]] = []
        self.unterminated: Unterminated | None = None

    def statements(self) -> Iterator[Statement]:
        sql = self.sql
        line, counted = 1, 0
        start = self._gap_end(int(sql.startswith(BOM)))
        while start < len(sql):
            line += line_ends(sql, counted, start)
            counted = start
            end = self._statement_end(start)
            text = sql[start:end]
            if end == len(sql):
                text = text.rstrip(SPACE)
            yield Statement(start, start + len(text), line, text)
            start = self._gap_end(end)

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
