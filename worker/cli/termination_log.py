"""The last word of a container: what Kubernetes shows of it once it has ended (`kubectl describe pod`)."""

from collections.abc import Callable

from worker.core.event import Context, Event, Outcome
from worker.core.events import JobFailed, JobFinished

_PATH = "/dev/termination-log"
LIMIT_BYTES = 4096
"""Kubernetes keeps so much, and drops the beginning of what is longer."""


def last_word(message: str, hint: str) -> str:
    """An error in one or two lines."""
    return f"tidegate: {message}\n" + (f"  hint: {hint}\n" if hint else "")


def leave(text: str) -> None:
    """Make `text` the last word, in place of what was there; its end is kept where it is too long."""
    # Without O_CREAT: the file is there in a container, and nowhere else.
    try:
        with open(_PATH, "r+b") as log:  # noqa: PTH123  Path cannot open without creating
            log.write(_bounded(text))
            log.truncate()
    except OSError:
        return


class LastWord:
    """Leaves what a worker's job failed at, until a job succeeds: the worker goes on, and may be ended meanwhile."""

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


def _bounded(text: str) -> bytes:
    whole = text.encode(errors="replace")
    if len(whole) <= LIMIT_BYTES:
        return whole
    # Half of a character at the cut is dropped.
    return whole[-LIMIT_BYTES:].decode(errors="ignore").encode()
