"""A target's state as a person sees it on a terminal."""

import sys
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from worker.cli.screen import command, console, text
from worker.cli.show.looks import Look, rows
from worker.cli.sighting import wait_of
from worker.core.amounts import seconds_text
from worker.core.planning.job import JobState
from worker.core.status.sighting import Sighting
from worker.core.status.snapshot import TargetStatus

_BAR, _SMALL = 24, 16
_PENDING, _STEPS = 8, 3
_JOB = {
    JobState.SUCCEEDED: "green",
    JobState.RUNNING: "bold cyan",
    JobState.FAILED: "bold red",
    JobState.REFUSED: "bold red",
    JobState.IN_DOUBT: "bold red",
}
_ROW = {"failed": "bold red", "refused": "bold red", "left alone": "yellow"}


def draw(found: Look) -> None:
    """Print it once."""
    console(sys.stdout).print(picture(found))


def picture(found: Look) -> RenderableType:
    """All targets, and above them why what is shown may be old."""
    snapshot = found.snapshot
    parts: list[RenderableType] = []
    if snapshot.database is not None:
        parts += [text(f"the database is away: {snapshot.database}", "bold red"), Text()]
    for status in snapshot.targets:
        parts.append(_target(status, snapshot.at))
    if found.sighting is not None:
        parts += _sighted(found.sighting)
    return Group(*parts)


def _around(status: TargetStatus) -> list[tuple[str, Text]]:
    """Who holds the lock, and what was done last."""
    if status.panorama is None:
        return []
    lock, steps = status.panorama.lock, status.panorama.steps[:_STEPS]
    found = []
    if lock is not None:
        holder = f"{lock.application or 'an unnamed application'}, role {lock.role}, backend {lock.pid}"
        found.append(("lock", text(f"held by {holder}", "cyan")))
    if steps:
        last = (f"{step.action} {step.version} {step.name}, {seconds_text(step.duration_ms / 1000)}" for step in steps)
        found.append(("last", text("\n".join(last))))
    return found


def _sighted(sighting: Sighting) -> list[RenderableType]:
    parts: list[RenderableType] = [Text()] if sighting.progress or wait_of(sighting) else []
    if sighting.progress is not None:
        parts.append(command(sighting.progress, _SMALL))
    if wait_of(sighting):
        parts.append(text(wait_of(sighting), "yellow"))
    return parts


def _target(status: TargetStatus, at: datetime) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows(status):
        grid.add_row(name, _value(name, value, status, at))
    for name, said in _around(status):
        grid.add_row(name, said)
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
