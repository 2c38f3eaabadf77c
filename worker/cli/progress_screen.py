"""How progress is drawn: a bar of migrations, the one that runs, and what it waits for."""

from typing import TextIO

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from worker.cli.screen import barred, command, console, cropped, text
from worker.cli.under_way import UnderWay
from worker.core.amounts import seconds_text
from worker.core.bundles.migration import Direction
from worker.core.events.event import Outcome
from worker.core.events.migration_events import MigrationFinished
from worker.core.sql.script import Mode

_REFRESHES = 8
_BAR, _SMALL = 32, 16


def live(stream: TextIO, under_way: UnderWay) -> Live:
    """A picture that is drawn anew while it is open, and leaves nothing behind."""
    screen = console(stream)

    def draw() -> RenderableType:
        return picture(under_way, screen.width)

    return Live(
        console=screen, get_renderable=draw, refresh_per_second=_REFRESHES, transient=True,
        redirect_stdout=False, redirect_stderr=False, vertical_overflow="crop",
    )  # fmt: skip


def print_above(shown: Live, written: str) -> None:
    """Write lines above the picture, with the colours that they bring."""
    shown.console.print(Text.from_ansi(written.rstrip("\n")), soft_wrap=True)


def finished(event: MigrationFinished) -> Text:
    """The line of a migration that has ended."""
    done = "applied" if event.direction == Direction.UP.value else "undone"
    word, style = (done, "green") if event.outcome is Outcome.SUCCEEDED else (event.outcome.value, "bold red")
    notes = [seconds_text(event.duration_seconds)]
    notes += [f"{event.retries} attempts before"] if event.retries else []
    notes += [f"{seconds_text(event.lock_wait_seconds)} of it for locks"] if event.lock_wait_seconds else []
    notes += [f"the application waited {seconds_text(event.app_blocked_seconds)}"] if event.app_blocked_seconds else []
    named = f" {event.version} {event.migration}  "
    return Text.assemble(text(f"{word:8}", style), text(named, "bold"), text(", ".join(notes), "dim"))


def picture(under_way: UnderWay, width: int) -> RenderableType:
    """Draw what is under way on a terminal of that width."""
    parts: list[RenderableType] = []
    if under_way.total:
        parts.append(_bar(under_way, min(_BAR, width // 3)))
    if under_way.migration is not None or under_way.together:
        parts.append(_migration(under_way))
    if under_way.progress is not None:
        parts.append(command(under_way.progress, min(_SMALL, width // 6)))
    if under_way.wait:
        parts.append(cropped(text(under_way.wait, "yellow")))
    if not under_way.total:
        parts.append(cropped(text(f"waiting for {_since(under_way, under_way.began)}", "dim")))
    return Group(*parts)


def _bar(under_way: UnderWay, width: int) -> RenderableType:
    count = f"{under_way.done} of {under_way.total} migrations"
    since = cropped(text(_since(under_way, under_way.began), "dim"))
    return barred(under_way.done, under_way.total, width, cropped(text(count)), since)


def _migration(under_way: UnderWay) -> Text:
    started, since = under_way.migration, text(_since(under_way, under_way.migration_began), "dim")
    if started is None or under_way.together:
        return cropped(Text.assemble(text(f"{under_way.together} ", "bold"), "together  ", since))
    way = "" if started.direction == Direction.UP.value else " down"
    segment = f"  segment {under_way.segment} of {started.segments}" if started.mode == Mode.JOURNALLED.value else ""
    return cropped(
        Text.assemble(
            text(f"{started.version}{way} ", "bold"), text(started.migration, "bold"), segment, "  ", since,
        )
    )  # fmt: skip


def _since(under_way: UnderWay, began: float) -> str:
    whole = int(under_way.clock() - began)
    return f"{whole} s" if whole < 60 else seconds_text(whole)  # noqa: PLR2004  a minute
