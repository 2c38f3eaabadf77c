"""What a worker's job failed at, as the last word of its container."""

from collections.abc import Callable

from worker.cli.termination_log import last_word, leave
from worker.core.events.event import Context, Event, Outcome
from worker.core.events.events import JobFailed, JobFinished


class LastWord:
    """Leaves what a job failed at, until a job succeeds: the worker goes on, and may be ended meanwhile."""

    def __init__(self, mask: Callable[[str], str]) -> None:
        self._mask = mask

    def sink(self, event: Event, _context: Context) -> None:
        """Take an event."""
        match event:
            case JobFailed(message=message, hint=hint):
                leave(self._mask(last_word(message, hint)))
            case JobFinished(outcome=Outcome.SUCCEEDED):
                leave("")
            case _:
                pass
