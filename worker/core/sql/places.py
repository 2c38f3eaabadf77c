"""Where a file's statements are: two numbers for each of them; all else is read from the text when it is asked for."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from operator import methodcaller
from typing import overload

from worker.core.pattern import pattern
from worker.core.value import dataclass

_LINE_END = pattern(r"\r\n|\r|\n")


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


def line_ends(sql: str, start: int, end: int) -> int:
    """Return how many lines end in sql[start:end]: at LF, at CRLF as one, and at a lone CR as in PostgreSQL."""
    ends = sql.count("\n", start, end)
    returns = sql.count("\r", start, end)
    return ends + returns - sql.count("\r\n", start, end) if returns else ends


class Lines:
    """The line numbers of a text, whose line ends are looked for when the first one is asked for."""

    __slots__ = ("_ends", "sql")

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self._ends: array[int] | None = None

    def line(self, offset: int) -> int:
        """The line of a character that is no line end, counted from 1."""
        if self._ends is None:
            self._ends = array("I", map(methodcaller("start"), _LINE_END.finditer(self.sql)))
        return 1 + bisect_left(self._ends, offset)


class Statements(Sequence[Statement]):
    """Statements of one file, in its order; `places` holds the start and the end of each of them."""

    __slots__ = ("_lines", "places")

    def __init__(self, lines: Lines, places: "array[int]") -> None:
        self._lines = lines
        self.places = places

    def __len__(self) -> int:
        return len(self.places) // 2

    @overload
    def __getitem__(self, index: int) -> Statement: ...
    @overload
    def __getitem__(self, index: slice) -> "Statements": ...
    def __getitem__(self, index: int | slice) -> "Statement | Statements":
        if isinstance(index, slice):
            first, past, _ = index.indices(len(self))
            return Statements(self._lines, self.places[2 * first : 2 * past])
        at = range(len(self))[index]
        start, end = self.places[2 * at : 2 * at + 2]
        return Statement(start, end, self._lines.line(start), self._lines.sql[start:end])

    def __iter__(self) -> Iterator[Statement]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def texts(self) -> Iterator[str]:
        """Their texts, without the trouble of finding the lines."""
        sql, places = self._lines.sql, iter(self.places)
        return (sql[start:end] for start, end in zip(places, places, strict=True))

    def at(self, offset: int) -> Statement | None:
        """The statement that a character is in."""
        index = bisect_right(self.places, offset) - 1
        return None if index % 2 else self[index // 2]

    def joined(self, others: Iterable["Statements"]) -> "Statements":
        """These, and then the others, of the same file."""
        places = self.places[:]
        for each in others:
            places.extend(each.places)
        return Statements(self._lines, places)
