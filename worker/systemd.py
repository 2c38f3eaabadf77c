"""Tells systemd, where it started the worker as `Type=notify`, what the worker does and when it is ready.

READY=1 means what `/readyz` means: it is sent at the first look that finds the worker's requirement met, whoever met
it. The protocol is one datagram a message, so a socket of the standard library is all that it takes.
"""

import os
import socket
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import NoReturn

import anyio

from worker.core.events.event import Context, Event
from worker.core.events.events import (
    BundleOffered,
    DatabaseRefused,
    DatabaseUnreachable,
    JobFailed,
    LockWaiting,
    TargetPaused,
    WorkerDraining,
)
from worker.core.events.migration_events import BatchStarted, MigrationStarted, PipelineStarted, SegmentFinished
from worker.core.planning.job import JobState
from worker.core.planning.readiness import Requirement
from worker.core.status.probe import probe
from worker.core.status.snapshot import Snapshot

_ABSTRACT = "@"
_TEXT_LIMIT = 500
_BEATS_PER_LIMIT = 2
_FOR_A_PERSON = frozenset({JobState.FAILED, JobState.REFUSED, JobState.IN_DOUBT})


class Manager:
    """The service manager's socket; a message that it does not take at once is dropped."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Take the address and the watchdog's limit, so that no child of this process finds them."""
        address = environ.pop("NOTIFY_SOCKET", "")
        self.watchdog_seconds = _watchdog_seconds(environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", ""))
        self._address = f"\0{address[1:]}" if address.startswith(_ABSTRACT) else address

    def __bool__(self) -> bool:
        """Whether anybody listens."""
        return bool(self._address)

    def send(self, message: str) -> bool:
        """Send one message, and tell whether it was taken."""
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.settimeout(0)
            door.sendto(message.encode(errors="replace"), self._address)
            return True
        return False

    async def beat(self) -> NoReturn:
        """Tell the watchdog, for as long as the event loop turns; without a watchdog, do nothing."""
        pause = float("inf") if self.watchdog_seconds is None else self.watchdog_seconds / _BEATS_PER_LIMIT
        while True:
            await anyio.sleep(pause)
            self.send("WATCHDOG=1")


class Notifier:
    """Takes a worker's events and looks; `mask` takes secrets out of what anybody on the machine can read."""

    def __init__(
        self,
        manager: Manager,
        snapshot: Callable[[], Snapshot],
        requirement: Requirement | None,
        mask: Callable[[str], str],
    ) -> None:
        self._manager = manager
        self._snapshot = snapshot
        self._requirement = requirement
        self._mask = mask
        self._ready = False

    def sink(self, event: Event, _context: Context) -> None:
        """Take an event."""
        if isinstance(event, WorkerDraining):
            self._manager.send("STOPPING=1")
        if (status := status_of(event)) is not None:
            self._manager.send(self._line(status))

    def looked(self) -> None:
        """The target was looked at: say whether it is ready, and begin to be ready once."""
        snapshot = self._snapshot()
        answer = probe(snapshot, self._requirement, None)
        if answer.ready and not self._ready:
            self._ready = self._manager.send("READY=1")
        # What a person is needed for was told by its event, and stays.
        if not any(target.state in _FOR_A_PERSON for target in snapshot.targets):
            status = f"ready for {answer.requirement}" if answer.ready else f"not ready: {answer.message}"
            self._manager.send(self._line(status))

    def _line(self, text: str) -> str:
        """A status; a line's end would begin another field."""
        return f"STATUS={' '.join(self._mask(text).split())[:_TEXT_LIMIT]}"


def status_of(event: Event) -> str | None:
    """What `systemctl status` shows from this event on; None where it changes nothing."""
    status = None
    match event:
        case DatabaseUnreachable(message) | DatabaseRefused(message):
            status = f"no database: {message}"
        case BundleOffered(label=label):
            status = f"looking at bundle {label}"
        case LockWaiting():
            status = f"waiting for the lock: {event.holder_application} of {event.holder_role} holds it"
        case MigrationStarted():
            status = f"migration {event.version} {event.migration} runs {event.direction}"
        case BatchStarted(first, last) | PipelineStarted(first, last):
            status = f"migrations {first} to {last} run up together"
        case SegmentFinished(version, index, segments):
            status = f"migration {version}: {index} of {segments} segments done"
        case JobFailed(outcome=outcome, message=message):
            status = f"{outcome.value}: {message}"
        case TargetPaused(why):
            status = f"left alone: {why}"
        case WorkerDraining(drain_timeout_seconds=seconds):
            status = f"stopping, within {seconds:g} s"
        case _:
            pass
    return status


def _watchdog_seconds(microseconds: str, pid: str) -> float | None:
    if not microseconds.isdecimal() or int(microseconds) == 0 or pid not in {"", str(os.getpid())}:
        return None
    return int(microseconds) / 1_000_000
