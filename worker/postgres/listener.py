"""LISTEN: a notification is a hint to read the tables again, and a line that only looks alive is found out by probes.

`subscribe` is the bare LISTEN on a connection of the caller's; `listen` keeps a connection of its own, for ever.
Through a pooler that hands out server processes LISTEN succeeds and receives nothing, and a standby refuses it:
there the owner's poll does the work.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
import asyncpg

from worker.core.backoff import Backoff
from worker.core.events.event import Emitter
from worker.core.events.events import ListenerConnected, ListenerLost
from worker.errors import TidegateError
from worker.postgres.connection import closing

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

MAX_CHANNEL_BYTES = 63
"""A longer name is accepted by LISTEN, cut, and receives nothing."""

ANSWER_SECONDS = 5.0
"""A statement or a probe without an answer for so long means that the line is dead."""

UNSUPPORTED_SECONDS = 60.0
"""Seconds between looks whether a pooler or a standby has given way to a primary."""

_BACKOFF = Backoff(first=0.25, ceiling=10.0)
_STABLE_SECONDS = 5.0
_SURROUNDINGS = "SELECT pg_catalog.pg_backend_pid() AS pid, pg_catalog.pg_is_in_recovery() AS standby"
_NOTIFY = "SELECT pg_catalog.pg_notify($1, '')"


class Bell:
    """Rings any number of times, and `heard` answers all of them at once."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def ring(self) -> None:
        """Ring; neither raises nor blocks."""
        self._event.set()

    async def heard(self) -> None:
        """Wait until it rings, or has rung since the last answer."""
        await self._event.wait()
        self._event = anyio.Event()


class _LostError(Exception):
    """The line is lost; `cause` is one short word."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class _UnsupportedError(_LostError):
    """What answers is no server that LISTEN works on."""


async def subscribe(
    conn: "Connection[Record]", channel: str, heard: Callable[[], None], ended: Callable[[], None]
) -> None:
    """LISTEN on a connection that is in no transaction; both callbacks must neither raise nor block.

    Args:
        conn: the connection; nothing is heard while it is in a transaction.
        channel: at most 63 bytes.
        heard: called at each notification.
        ended: called when the connection ends, also when its owner closes it.

    Raises:
        ValueError: the channel's name is too long.
    """
    if len(channel.encode()) > MAX_CHANNEL_BYTES:
        raise ValueError(f"the channel {channel!r} is longer than {MAX_CHANNEL_BYTES} bytes")
    conn.add_termination_listener(lambda *_: ended())
    await conn.add_listener(channel, lambda *_: heard())


async def listen(  # noqa: PLR0913 - the line, what hangs on it, and what the core may not have of itself
    connect: "Callable[[], Awaitable[Connection[Record]]]",
    channel: str,
    wake: Callable[[str], None],
    emit: Emitter,
    *,
    clock: Callable[[], float],
    jitter: Callable[[], float],
    probe_interval: float,
) -> None:
    """Listen until cancelled, and connect again after every loss.

    Args:
        connect: opens a connection that becomes the listener's own.
        channel: at most 63 bytes.
        wake: must not raise or block: called with "connect" or "reconnect" once LISTEN is in place, so that the owner
            reads the tables after it, and with "notify" at each notification; the owner keeps one wake at most.
        emit: receives `ListenerConnected` and `ListenerLost`; the latter once for as long as LISTEN cannot work there.
        clock: monotonic seconds.
        jitter: numbers in [0, 1).
        probe_interval: seconds between two round trips that prove the line alive.
    """
    line = _Line(channel, wake, emit, probe_interval)
    failures, unsupported = 0, ""
    while True:
        began = clock()
        lost = await _until_lost(connect, line)
        failures = 1 if clock() - began >= _STABLE_SECONDS else failures + 1
        if isinstance(lost, _UnsupportedError):
            delay, known = UNSUPPORTED_SECONDS, lost.cause == unsupported
            unsupported = lost.cause
        else:
            delay, known, unsupported = _BACKOFF.delay(failures, jitter()), False, ""
        if not known:
            emit(ListenerLost(lost.cause, delay))
        await anyio.sleep(delay)


async def _until_lost(connect: "Callable[[], Awaitable[Connection[Record]]]", line: "_Line") -> _LostError:
    try:
        async with closing(await connect()) as conn:
            await line.hold(conn)
    except _LostError as lost:
        return lost
    except TidegateError as error:
        standing = error.reason in {"pooler", "standby"}
        return _UnsupportedError(error.reason) if standing else _LostError(error.reason)
    except TimeoutError:
        return _LostError("silent")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return _LostError("terminated")
    raise AssertionError("a line is held until it is lost")


class _Line:
    """The work on one connection after another; remembers whether there was one before."""

    def __init__(self, channel: str, wake: Callable[[str], None], emit: Emitter, probe_interval: float) -> None:
        self._channel = channel
        self._wake = wake
        self._emit = emit
        self._probe_interval = probe_interval
        self._source = "connect"

    async def hold(self, conn: "Connection[Record]") -> None:
        """Listen and probe until the line is lost, which it raises."""
        ended, answered = anyio.Event(), Bell()
        with anyio.fail_after(ANSWER_SECONDS):
            probe = await _probe_channel(conn)
            await subscribe(conn, self._channel, lambda: self._wake("notify"), ended.set)
            await conn.add_listener(probe, lambda *_: answered.ring())
        await _probe(conn, probe, answered)
        self._emit(ListenerConnected())
        # Only now: what was committed before LISTEN was in place has to be read, and what comes later is heard.
        self._wake(self._source)
        self._source = "reconnect"
        while not ended.is_set():
            with anyio.move_on_after(self._probe_interval):
                await ended.wait()
            if not ended.is_set():
                await _probe(conn, probe, answered)
        raise _LostError("terminated")


async def _probe_channel(conn: "Connection[Record]") -> str:
    """Name a channel that is this server process's own, so that probes wake nobody else."""
    row = await conn.fetchrow(_SURROUNDINGS)
    if row is None or row["pid"] != conn.get_server_pid():
        raise _UnsupportedError("pooler")
    if row["standby"]:
        raise _UnsupportedError("standby")
    return f"tidegate_probe_{row['pid']}"


async def _probe(conn: "Connection[Record]", channel: str, answered: Bell) -> None:
    """Send a notification to oneself and have it back in time; TimeoutError says that it did not come."""
    with anyio.fail_after(ANSWER_SECONDS):
        await conn.execute(_NOTIFY, channel)
        await answered.heard()
