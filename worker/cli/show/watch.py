"""`tidegate status --watch` on a terminal: one picture that stays in place, and is left behind at the end."""

import sys
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from worker.cli.screen import console, text
from worker.cli.show.looks import Look, looks
from worker.cli.show.status_screen import picture
from worker.errors import ExitCode

if TYPE_CHECKING:
    from worker.cli.app import App

_REFRESHES = 4


async def watch(app: "App") -> ExitCode:
    """Look every second until interrupted; the picture fits itself to the terminal's size four times a second."""
    screen, shown = console(sys.stdout), _Shown(app)
    try:
        async with aclosing(looks(app)) as each_look:
            shown.found = await anext(each_look)
            with Live(
                console=screen, screen=True, get_renderable=shown.picture, refresh_per_second=_REFRESHES,
                redirect_stdout=False, redirect_stderr=False,
            ):  # fmt: skip
                async for found in each_look:
                    shown.found = found
    finally:
        if shown.found is not None:
            screen.print(picture(shown.found))
    return ExitCode.OK


class _Shown:
    """What the picture is drawn from; a thread draws it while the next look is under way."""

    def __init__(self, app: "App") -> None:
        database = app.settings.database
        self._place = "" if database is None else database.migrating.read().place()
        self.found: Look | None = None

    def picture(self) -> RenderableType:
        if self.found is None:
            return Text()
        age = (datetime.now(UTC) - self.found.snapshot.at).total_seconds()
        head = Text.assemble(("tidegate", "bold"), "  ", text(self._place, "dim"))
        foot = f"{datetime.now().astimezone():%H:%M:%S}, seen {max(0, int(age))} s ago; Ctrl-C ends"
        return Group(head, Text(), picture(self.found), Text(), text(foot, "dim"))
