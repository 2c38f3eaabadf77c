"""What a person or a machine reads on standard output, and the one or two lines of an error."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from worker.errors import TidegateError

_TERMINATION_LOG = "/dev/termination-log"


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
    text = mask(f"tidegate: {error.message}\n" + (f"  hint: {error.hint}\n" if error.hint else ""))
    sys.stderr.write(text)
    try:
        # Without O_CREAT: it is there in a container, and nowhere else.
        with open(_TERMINATION_LOG, "r+", encoding="utf-8") as log:  # noqa: PTH123  Path cannot open without creating
            log.write(text)
    except OSError:
        return
