"""Progress on a person's terminal: what a run is at, kept from its events and drawn below what is written meanwhile.

Nothing is drawn, and rich is not imported, before there is something to wait for. A line tells of each migration, and
of the log only the warnings are written. Who said which log lines are wanted gets those, and no picture.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from worker.cli.terminal import is_drawable
from worker.cli.under_way import UnderWay
from worker.core.events.event import Context, Event, Level
from worker.core.events.events import (
    GateOpened,
    GateWaiting,
    JobFailed,
    JobFinished,
    JobStarted,
    LockWaiting,
)
from worker.core.events.migration_events import (
    AppBlocked,
    MigrationFinished,
    MigrationRetried,
    MigrationWaiting,
)
from worker.core.status.sighting import Sighting
from worker.log import LogSink, Redactor, StatementText

if TYPE_CHECKING:
    from worker.cli.app import App


@dataclass(slots=True)
class _Drawn:
    """A picture of what is under way, below the lines that are written meanwhile."""

    stream: TextIO
    under_way: UnderWay
    mask: Callable[[str], str]
    live: Any = field(default=None)

    def sink(self, event: Event, _context: Context) -> None:
        """Take an event; the picture comes with the first thing to wait for, and goes with the job."""
        self.under_way.take(event)
        self.under_way.wait = self.mask(self.under_way.wait)
        # A terminal that is gone is no reason to stop a migration.
        with suppress(OSError, ValueError):
            self._draw(event)

    def _draw(self, event: Event) -> None:
        match event:
            case MigrationFinished():
                self._tell(event)
            case JobStarted(pending) if pending:
                self._open()
            case LockWaiting() | GateWaiting():
                self.under_way.began = self.under_way.began or self.under_way.clock()
                self._open()
            case JobFinished() | JobFailed() | GateOpened():
                self.close()
            case _:
                pass

    def sighted(self, sighting: Sighting) -> None:
        """Take what was seen of the migration that runs."""
        self.under_way.see(sighting)
        self.under_way.wait = self.mask(self.under_way.wait)

    def _open(self) -> None:
        if self.live is None:
            from worker.cli.progress_screen import live  # noqa: PLC0415  rich, only where it draws

            self.live = live(self.stream, self.under_way)
            self.live.start()

    def _tell(self, event: MigrationFinished) -> None:
        if self.live is not None:
            from worker.cli.progress_screen import finished  # noqa: PLC0415  rich is there already

            self.live.console.print(finished(event))

    def close(self) -> None:
        """Take the picture away."""
        if self.live is not None:
            shown, self.live = self.live, None
            with suppress(OSError, ValueError):
                shown.stop()


class _Warnings(LogSink):
    """The log, of which only warnings are written that are not drawn: the error is what the command ends with."""

    def __init__(self, log: LogSink) -> None:
        super().__init__(log.lines, Level.WARNING, StatementText.HIDE)

    def __call__(self, event: Event, context: Context) -> None:
        if event.level is Level.WARNING and not isinstance(event, (AppBlocked, MigrationRetried, MigrationWaiting)):
            super().__call__(event, context)


class _Above:
    """Standard error while something is drawn on it: what is written goes above the picture."""

    def __init__(self, stream: TextIO, drawn: _Drawn) -> None:
        self._stream = stream
        self._drawn = drawn

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a line."""
        if self._drawn.live is None:
            return self._stream.write(text)
        from worker.cli.progress_screen import print_above  # noqa: PLC0415  rich is there already

        print_above(self._drawn.live, text)
        return len(text)


def _says_log(app: "App") -> bool:
    """Whether the settings say how much is logged, or in which form."""
    return any(each.name in {"log_level", "log_format"} and each.origin != "default" for each in app.settings.in_force)


@contextmanager
def progressing(app: "App") -> Iterator[None]:
    """Draw on standard error, if it is a terminal, what the block's events tell; to be opened before the log is."""
    stream = sys.stderr
    if not is_drawable(stream) or _says_log(app):
        yield
        return
    drawn = _Drawn(stream, UnderWay(time.monotonic), mask=Redactor(app.secrets()).mask)
    app.extra_sinks, app.sighted = (*app.extra_sinks, drawn.sink), drawn.sighted
    sys.stderr = _Above(stream, drawn)
    app.log = _Warnings(app.log)
    try:
        yield
    finally:
        sys.stderr = stream
        drawn.close()
