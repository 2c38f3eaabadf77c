"""What a person or a machine reads on standard output, and the one or two lines of an error."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from worker.cli.termination_log import last_word, leave
from worker.errors import TidegateError


def print_json(document: Any) -> None:
    """Print one JSON document on one line; times are RFC 3339."""
    sys.stdout.write(json.dumps(document, default=str) + "\n")


def print_line(text: str = "") -> None:
    """Print one line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns as wide as what is in them."""
    cells = [tuple(head), *(tuple("" if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_error(error: TidegateError, mask: Callable[[str], str]) -> None:
    """Say what was wrong and what to do, on standard error and where Kubernetes looks for a last word."""
    _say(mask(last_word(error.message, error.hint)))


def print_fault(error: Exception, mask: Callable[[str], str]) -> None:
    """Say that the program is at fault, with the traceback, in the same two places."""
    import traceback  # noqa: PLC0415  only for a fault of the program

    trace = "".join(traceback.format_exception(error))
    _say(mask(f"{trace}tidegate: internal error ({type(error).__name__}); please report it with the lines above\n"))


def _say(text: str) -> None:
    sys.stderr.write(text)
    leave(text)
