"""The HTTP server: uvicorn on a socket of ours, inside anyio, with limits, and without its signal handlers."""

import errno
import socket
from asyncio import BaseTransport, TimerHandle, Transport
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import anyio
from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from worker.errors import SettingError
from worker.http.stream import PATH as STREAM

CONNECTION_SECONDS = 30.0
"""A connection without a response under way is closed at this age, however slowly its client sends."""

CONNECTIONS = 256
"""With this many connections open, a further request is answered with 503."""

READER_SECONDS = 10.0
"""A peer that does not read what is sent for so long is cut."""

HEAD_BYTES = 16 * 1024
"""A longer request head is answered with 400."""

_KEEP_ALIVE_SECONDS = 5
_SHUTDOWN_SECONDS = 2
_TICK_SECONDS = 1.0
_BACKLOG = 128
_PORTS = range(65536)


async def serve(app: ASGIApp, host: str, port: int, *, started: Callable[[int], None]) -> None:
    """Serve until cancelled; `started` is called with the bound port when connections are accepted.

    Responses under way get two seconds at the end. A `port` of 0 takes a free one.

    Raises:
        SettingError: The host is none of this machine's, or the port is in use or may not be bound.
    """
    with await _listener(host, port) as listener:
        server = _Server(app, lambda: started(listener.getsockname()[1]))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_run, server, listener)
            try:
                await anyio.sleep_forever()
            finally:
                server.end()


async def _run(server: "_Server", listener: socket.socket) -> None:
    # uvicorn ends by its own flag; a cancellation in the middle of it would leave its transports open.
    with anyio.CancelScope(shield=True):
        await server.serve(sockets=[listener])
        for connection in tuple(server.server_state.connections):
            connection.transport.abort()


class _Connection(H11Protocol):
    """A connection of limited age and patience: uvicorn alone would wait for ever for a head, or for its reader."""

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(cast("Transport", transport))
        self._deadline = self.loop.call_later(CONNECTION_SECONDS, self._expire)
        self._unread: TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        self._heed_reader()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(READER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._heed_reader()
        super().resume_writing()

    def _heed_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()

    def end(self) -> None:
        """At the server's end: a stream would go on for ever, and its viewer connects again by itself."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is not None and not cycle.response_complete and cycle.scope["path"] == STREAM:
            self.transport.abort()

    def _expire(self) -> None:
        # uvicorn's type hides that there is none before the first request.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is None or cycle.response_complete:
            self.transport.abort()
        else:
            cycle.keep_alive = False


class _Server(Server):
    """uvicorn's server: signals stay the program's own, and it tells when it accepts connections."""

    def __init__(self, app: ASGIApp, started: Callable[[], None]) -> None:
        super().__init__(_config(app))
        self._started = started
        self._over = anyio.Event()

    def end(self) -> None:
        """Have it end soon."""
        self.should_exit = True
        self._over.set()

    async def main_loop(self) -> None:
        # uvicorn's own wakes ten times a second, to look whether it is to end. All else that it does is for the header
        # with the date, whose clock ticks once a second.
        while not await self.on_tick(0):
            with anyio.move_on_after(_TICK_SECONDS):
                await self._over.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in tuple(self.server_state.connections):
            cast("_Connection", connection).end()
        await super().shutdown(sockets)


def _config(app: ASGIApp) -> Config:
    return Config(
        app,
        http=_Connection,
        ws="none",
        loop="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        # What a peer sends wrongly is a warning to uvicorn; nobody from elsewhere fills the log with it.
        log_level="error",
        access_log=False,
        workers=1,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        h11_max_incomplete_event_size=HEAD_BYTES,
    )


async def _listener(host: str, port: int) -> socket.socket:
    if port not in _PORTS:
        raise SettingError(f"TIDEGATE_HTTP_PORT is {port}", hint="a port is a number from 0 to 65535, 0 for any")
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise _bad_host(host) from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        _listen(listener, address)
    except OSError as error:
        listener.close()
        raise _unusable(host, port, error) from error
    return listener


def _listen(listener: socket.socket, address: tuple[object, ...]) -> None:
    listener.settimeout(0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if listener.family is socket.AF_INET6:
        # Without it, "::" would leave IPv4 probes without an answer.
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(address)
    listener.listen(_BACKLOG)


def _unusable(host: str, port: int, error: OSError) -> SettingError:
    match error.errno:
        case errno.EADDRINUSE:
            return SettingError(
                f"TIDEGATE_HTTP_PORT is {port}, and {host}:{port} is in use",
                hint="stop the other program or set another port; 0 takes a free one",
            )
        case errno.EACCES:
            return SettingError(
                f"TIDEGATE_HTTP_PORT is {port}, which this user may not bind", hint="take a port from 1024 on"
            )
        case _:
            return _bad_host(host)


def _bad_host(host: str) -> SettingError:
    return SettingError(
        f"TIDEGATE_HTTP_HOST is {host!r}, which is no address of this machine",
        hint="127.0.0.1 listens for this machine only, 0.0.0.0 or :: on all addresses",
    )
