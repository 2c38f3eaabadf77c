"""What a person sees on a terminal. Only this package's modules that draw import rich, and only once they draw."""

from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from worker.cli.terminal import visible
from worker.core.status.sighting import Progress
from worker.core.value import dataclass

_GAP = 2
_NARROWEST = 20


@dataclass(frozen=True, slots=True)
class Column:
    """A column; those with a `rank` above 0 are left out where the terminal is too narrow, the highest first."""

    head: str
    rank: int = 0
    is_number: bool = False
    style: str = ""


def console(stream: TextIO) -> Console:
    """A console on a stream that is a terminal; NO_COLOR and the size are the environment's and the terminal's."""
    return Console(file=stream, highlight=False, markup=False, emoji=False)


def text(value: object, style: str = "") -> Text:
    """A value that can neither move the cursor nor change a colour."""
    return Text("" if value is None else visible(str(value)), style=style)


def table(columns: Sequence[Column], rows: Iterable[Sequence[object]], width: int) -> Table:
    """A table that is no wider than `width`, of texts and plain values."""
    cells = [[cell if isinstance(cell, Text) else text(cell) for cell in row] for row in rows]
    kept = _fitting(columns, cells, width)
    left_out = [column.head for number, column in enumerate(columns) if number not in kept]
    drawn = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold", caption_justify="left")
    drawn.caption = Text(f"left out, for want of room: {', '.join(left_out)}", "dim") if left_out else None
    for number in kept:
        column = columns[number]
        drawn.add_column(
            column.head, justify="right" if column.is_number else "left", style=column.style, overflow="fold",
            no_wrap=column.is_number,
        )  # fmt: skip
    for row in cells:
        drawn.add_row(*[row[number] for number in kept])
    return drawn


def _fitting(columns: Sequence[Column], cells: Sequence[Sequence[Text]], width: int) -> list[int]:
    widths = [
        max(len(column.head), *(line.cell_len for row in cells for line in row[number].split() or [Text()]), 0) + _GAP
        for number, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))
    while sum(widths[number] for number in kept) - _GAP > max(width, _NARROWEST):
        number = max(kept, key=lambda each: columns[each].rank)
        if columns[number].rank == 0:
            break
        kept.remove(number)
    return kept


def barred(done: int, total: int, width: int, *beside: Text) -> Table:
    """A bar with texts beside it."""
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_row(ProgressBar(total=max(total, 1), completed=done, width=width), *beside)
    return grid


def command(progress: Progress, width: int) -> Table:
    """How far the server says that a long command has come; each phase counts anew."""
    share = "" if progress.ratio is None else f"{progress.ratio:.0%}  "
    counted = f"{progress.done} of {progress.total} {progress.unit}" if progress.total else ""
    named = Text.assemble(text(f"{progress.command}: {progress.phase}  "), text(f"{share}{counted}", "dim"))
    return barred(progress.done, progress.total, width, cropped(named))


def cropped(line: Text) -> Text:
    """A text that stays on one line."""
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def indented(drawn: Table | Text, left: int) -> Padding:
    """Moved to the right."""
    return Padding(drawn, (0, 0, 0, left))
