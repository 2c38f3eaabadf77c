"""A target's state as a person sees it on a terminal."""

import sys
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from worker.cli.screen import console, text
from worker.cli.show.status import rows
from worker.core.amounts import seconds_text
from worker.core.job import JobState
from worker.core.snapshot import Snapshot, TargetStatus

_BAR = 24
_PENDING = 8
_JOB = {
    JobState.SUCCEEDED: "green",
    JobState.RUNNING: "bold cyan",
    JobState.FAILED: "bold red",
    JobState.REFUSED: "bold red",
    JobState.IN_DOUBT: "bold red",
}
_ROW = {"failed": "bold red", "refused": "bold red", "left alone": "yellow"}


def draw(snapshot: Snapshot) -> None:
    """Print it once."""
    console(sys.stdout).print(picture(snapshot))


def picture(snapshot: Snapshot) -> RenderableType:
    """All targets, and above them why what is shown may be old."""
    parts: list[RenderableType] = []
    if snapshot.database is not None:
        parts += [text(f"the database is away: {snapshot.database}", "bold red"), Text()]
    for status in snapshot.targets:
        parts.append(_target(status, snapshot.at))
    return Group(*parts)


def _target(status: TargetStatus, at: datetime) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows(status):
        grid.add_row(name, _value(name, value, status, at))
    return grid


def _value(name: str, value: str, status: TargetStatus, at: datetime) -> Text:
    match name:
        case "version":
            return text(value, "bold red" if status.dirty else "bold")
        case "applied":
            return _bar(status)
        case "pending":
            return _pending(status)
        case "job":
            return _job(value, status, at)
        case "ready for":
            return text(value, "yellow" if status.readiness is None else "green")
        case _:
            return text(value, _ROW.get(name, ""))


def _bar(status: TargetStatus) -> Text:
    total = status.applied + len(status.pending)
    if not total:
        return text("0")
    full = _BAR * status.applied // total
    return Text.assemble(
        ("━" * full, "green"), ("━" * (_BAR - full), "dim"), f"  {status.applied} of {total}"
    )  # fmt: skip


def _pending(status: TargetStatus) -> Text:
    if not status.pending:
        return text("none", "dim")
    more = len(status.pending) - _PENDING
    shown = ", ".join(map(str, status.pending[:_PENDING]))
    return text(f"{shown} and {more} more" if more > 0 else shown, "yellow")


def _job(value: str, status: TargetStatus, at: datetime) -> Text:
    style = "dim" if status.state is None else _JOB.get(status.state, "")
    since = status.job_started_at
    lasted = "" if since is None else f" for {seconds_text(max(0.0, (at - since).total_seconds()))}"
    return text(f"{value}{lasted}", style)
