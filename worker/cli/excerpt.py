"""Points into a person's own file, on their own terminal.

A migration's text is never logged, and is not shown off a terminal. On one it is shown where the directory was given
with the command: who gives the files may read them. What comes from a published bundle is not shown.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from worker.bundles.directory import local_path
from worker.cli.terminal import is_drawable
from worker.core.sql.excerpt import Excerpt, excerpt
from worker.errors import MigrationFailedError, TidegateError

if TYPE_CHECKING:
    from rich.text import Text

_PLACE = re.compile(r"(?P<file>[^/\0]+?)(?:,|:) line (?P<line>[0-9]{1,9})\b")
_LARGEST = 8 * 1024 * 1024
_MARGIN = 12


@contextmanager
def pointing(source: str | None) -> Iterator[None]:
    """Let an error of the block that names a line of a file in the directory that was given show that line."""
    try:
        yield
    except TidegateError as error:
        if is_drawable(sys.stderr):
            _point(source, error)
        raise


def _point(source: str | None, error: TidegateError) -> None:
    from worker.cli.screen import console  # noqa: PLC0415  rich, only where it draws

    screen = console(sys.stderr)
    file, line, column = _place(error)
    sql = None if file is None else _given_text(source, file)
    found = None if sql is None else excerpt(sql, line, column, None, max(screen.width - _MARGIN, 20))
    if found is not None:
        with screen.capture() as drawn:
            screen.print(drawing(found), soft_wrap=True)
        error.add_note(drawn.get().rstrip("\n"))


def _place(error: TidegateError) -> tuple[str | None, int, int | None]:
    if isinstance(error, MigrationFailedError):
        failure = error.failure
        return (None, 0, None) if failure.line is None else (failure.file, failure.line, failure.column)
    found = _PLACE.match(error.message.rpartition("/")[2]) or _PLACE.search(error.message)
    return (None, 0, None) if found is None else (found["file"].rpartition(": ")[2], int(found["line"]), None)


def _given_text(source: str | None, file: str) -> str | None:
    """The text of a file in the directory; None where there is none, or it is not to be had."""
    if source is None or "/" in file:
        return None
    with suppress(OSError, ValueError, TidegateError), (local_path(source) / Path(file)).open("rb") as opened:
        return opened.read(_LARGEST).decode("utf-8-sig", errors="replace")
    return None


def drawing(found: Excerpt) -> "Text":
    """The line with its number, and what it is about marked below."""
    from rich.text import Text  # noqa: PLC0415  only where it draws

    number = f"{found.number:>6} "
    before, marked = Text(found.line[: found.start]), Text(found.line[found.start : found.end])
    line = Text(found.line)
    line.stylize("bold red", found.start, found.end)
    gap = Text(number, "dim") + Text("│ ", "dim") + line
    below = Text(f"{'':{len(number)}}") + Text("│ ", "dim") + Text(" " * before.cell_len)
    return gap + "\n" + below + Text("^" + "~" * max(0, marked.cell_len - 1), "bold red")
