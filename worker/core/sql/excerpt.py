"""The line of a file that a message is about, and the place in it."""

import re

from worker.core.sql.tokens import token_end
from worker.core.value import dataclass

_LINE_END = re.compile(r"\r\n|\r|\n")
# A control character would move the cursor; each becomes one that is as wide as what it stands for in the column.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BEFORE = 3


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A line, counted from 1, as much of it as there is room for; [start, end) are the characters that it is about."""

    number: int
    line: str
    start: int
    end: int


def excerpt(sql: str, line: int, column: int | None, end: int | None, width: int) -> Excerpt | None:
    """Cut out a line that is at most `width` characters wide.

    Args:
        sql: the file's text.
        line: counted from 1.
        column: counted from 1; None points at the whole line.
        end: the column behind the last character; None points at the token that begins at `column`.
        width: in characters, at least 20.

    Returns:
        None where the file has no such line.
    """
    lines = _LINE_END.split(sql)
    if not 0 < line <= len(lines) or not lines[line - 1].strip():
        return None
    shown = lines[line - 1]
    start, stop = _place(shown, column, end)
    return _cropped(Excerpt(line, _CONTROL.sub(" ", shown).rstrip(), start, stop), width)


def _place(line: str, column: int | None, end: int | None) -> tuple[int, int]:
    if column is None:
        return len(line) - len(line.lstrip()), len(line.rstrip())
    start = min(column - 1, len(line))
    if end is not None:
        return start, max(start + 1, end - 1)
    return start, max(start + 1, (token_end(line, start) or len(line)) if start < len(line) else start + 1)


def _cropped(whole: Excerpt, width: int) -> Excerpt:
    first = 0 if whole.end <= width else max(0, min(whole.start - width // _BEFORE, len(whole.line) - width))
    line = whole.line[first : first + width]
    if first:
        line = "…" + line[1:]
    if first + width < len(whole.line):
        line = line[:-1] + "…"
    return Excerpt(
        whole.number, line, whole.start - first, min(whole.end - first, max(len(line), whole.start - first + 1))
    )
