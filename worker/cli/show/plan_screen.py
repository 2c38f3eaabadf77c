"""A plan as a person sees it on a terminal."""

import sys
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from worker.cli.excerpt import drawing
from worker.cli.screen import Column, console, indented, table, text
from worker.cli.show.findings import size_of, unknown_text
from worker.core.amounts import size_text
from worker.core.bundles.migration import Direction, Gate
from worker.core.checks.findings import Severity
from worker.core.checks.lint import Remark, counted
from worker.core.sql.excerpt import excerpt
from worker.core.sql.script import Mode

if TYPE_CHECKING:
    from worker.cli.show.findings import Findings
    from worker.core.sql.table_locks import LockMode
    from worker.jobs.foresee import Foreseen, SizedLock

_MARGIN = 14
_WIDE, _NARROW = 100, 80
_STYLE = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.OK: ""}


def draw(found: "Findings") -> None:
    """Draw the migrations, what they lock, and what the linter says."""
    screen = console(sys.stdout)
    if found.steps:
        screen.print(_steps(found, screen.width))
        screen.print(_sum(found))
    if found.remarks is not None:
        _draw_remarks(screen, found)


def _steps(found: "Findings", width: int) -> object:
    columns = (
        Column("version", is_number=True), Column("name", style="bold"), Column("direction", rank=1),
        Column("mode", rank=2), Column("statements", is_number=True, rank=3), Column("bundle", rank=5),
        Column("gate", rank=4), Column("locks"),
    )  # fmt: skip
    return table(columns, [_row(step, found, width) for step in found.steps], width)


def _row(step: "Foreseen", found: "Findings", width: int) -> list[object]:
    run, side = step.run, step.side
    up = run.direction is Direction.UP
    modes = {Mode.TRANSACTIONAL: "one transaction", Mode.JOURNALLED: f"{len(step.script.segments)} segments"}
    statements = sum(len(segment.statements) for segment in step.script.segments)
    gate = "" if side is None or side.directives.gate is Gate.ON else "off"
    return [
        run.migration.version, run.migration.name, text("up", "green") if up else text("down", "bold yellow"),
        text(modes.get(step.script.mode, "empty") + (", resumes" if run.resume else "")), statements,
        run.lender or found.seen.bundle.label, gate, _locks(step, width),
    ]  # fmt: skip


def _locks(step: "Foreseen", width: int) -> Text:
    lines = [_lock(held, width) for held in step.locks]
    if step.unknown:
        lines.append(text(unknown_text(step), "magenta"))
    return Text("\n").join(lines) if lines else text("none that others wait for", "dim")


def _lock(held: "SizedLock", width: int) -> Text:
    style = {"reads and writes": "bold red", "writes": "yellow"}.get(held.lock.mode.holds_up, "green")
    size = size_of(held) if width >= _WIDE else _short(held)
    gap = " " if width >= _NARROW else "\n  "
    return Text.assemble(text(held.lock.mode.value, style), gap, text(held.table), " ", text(size, "dim"))


def _short(held: "SizedLock") -> str:
    return "" if held.size is None else size_text(held.size.size_bytes)


def _sum(found: "Findings") -> Text:
    modes: list[LockMode] = [held.lock.mode for step in found.steps for held in step.locks]
    worst = max(modes, key=lambda mode: mode.strength, default=None)
    count = f"{len(found.steps)} migration{'' if len(found.steps) == 1 else 's'}"
    held = "" if worst is None or worst.holds_up == "nothing" else f"; {worst.holds_up} wait behind the strongest lock"
    return text(f"\n{found.target}: {count} to run{held}", "dim")


def _draw_remarks(screen: Console, found: "Findings") -> None:
    remarks = found.remarks or ()
    screen.print(text(f"\nthe linter found {counted(remarks)}" if remarks else "\nthe linter found nothing", "bold"))
    own = (step.side for step in found.steps if step.side is not None and step.run.lender is None)
    texts = {side.file: side.sql for side in own} if found.shows_text else {}
    for place, same in groupby(remarks, key=lambda remark: (remark.file, remark.line, remark.column)):
        group = list(same)
        screen.print()
        screen.print(text(":".join(map(str, place)), "bold"))
        if group[0].file in texts:
            _draw_line(screen, group[0], texts[group[0].file])
        for remark in group:
            _draw_remark(screen, remark)


def _draw_line(screen: Console, remark: Remark, sql: str) -> None:
    cut = excerpt(sql, remark.line, remark.column, remark.end, max(screen.width - _MARGIN, 20))
    if cut is not None:
        screen.print(drawing(cut))


def _draw_remark(screen: Console, remark: Remark) -> None:
    severity = text(remark.severity.value, _STYLE[remark.severity])
    screen.print(indented(Text.assemble(severity, text(f" {remark.message} "), text(f"[{remark.rule}]", "dim")), 2))
    if remark.advice:
        screen.print(indented(text(remark.advice, "dim"), 4))
