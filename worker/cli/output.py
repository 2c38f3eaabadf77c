"""What a person or a machine reads on standard output, and the one or two lines of an error."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from worker.cli.terminal import is_drawable, visible, write
from worker.cli.termination_log import last_word, leave
from worker.errors import TidegateError


def print_json(document: Any) -> None:
    """Print one JSON document on one line, at once; times are RFC 3339."""
    print_line(json.dumps(document, default=str))


def print_line(text: str = "") -> None:
    """Print one line, at once; on a terminal it shows control characters and does not send them."""
    write(text + "\n")


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]], least: Sequence[str] = ()) -> None:
    """Print rows in columns as wide as what is in them; a terminal that is too narrow leaves out `least`, in order."""
    if is_drawable(sys.stdout):
        from worker.cli.screen import Column, console, table  # noqa: PLC0415  rich, only where it draws

        screen, ranks = console(sys.stdout), {name: len(least) - place for place, name in enumerate(least)}
        screen.print(table([Column(name, rank=ranks.get(name, 0)) for name in head], list(rows), screen.width))
        return
    cells = [tuple(head), *(tuple("" if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_error(error: TidegateError, mask: Callable[[str], str]) -> None:
    """Say what was wrong and what to do, on standard error and where Kubernetes looks for a last word.

    A note of the error is a drawing for the person at the terminal, and goes nowhere else.
    """
    notes = getattr(error, "__notes__", []) if is_drawable(sys.stderr) else []
    _say(mask(last_word(error.message, error.hint)), [mask(note) for note in notes])


def print_fault(error: Exception, mask: Callable[[str], str]) -> None:
    """Say that the program is at fault, with the traceback, in the same two places."""
    import traceback  # noqa: PLC0415  only for a fault of the program

    trace = "".join(traceback.format_exception(error))
    _say(mask(f"{trace}tidegate: internal error ({type(error).__name__}); please report it with the lines above\n"))


def _say(text: str, notes: Sequence[str] = ()) -> None:
    """Write a text, with notes behind its first line, and leave it without them."""
    head, line_end, rest = text.partition("\n")
    shown = visible if sys.stderr.isatty() else str
    # The exit code says the rest where nobody reads it.
    with suppress(OSError):
        sys.stderr.write("".join([shown(head), line_end, *(f"{note}\n" for note in notes), shown(rest)]))
    leave(text)
