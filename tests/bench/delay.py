"""A proxy on loopback that hands everything on later: what a network between the tool and its server costs.

Threads that sleep: an event loop's timers are as coarse as the shorter of the delays.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue

from tests.fixtures.network import HOST

_CHUNK = 1 << 16


@contextmanager
def delaying(port: int, round_trip_ms: float) -> Iterator[int]:
    """The port of a proxy to `port`, for as long as the block runs; each direction takes half of a round trip."""
    with socket.create_server((HOST, 0), backlog=64) as listener:
        proxy = _Proxy(listener, port, round_trip_ms / 2000)
        thread = threading.Thread(target=proxy.serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            # Closing alone would not wake the thread.
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


class _Proxy:
    def __init__(self, listener: socket.socket, port: int, seconds: float) -> None:
        self._listener = listener
        self._port = port
        self._seconds = seconds

    def serve(self) -> None:
        """Take connections until the listener is shut down; each ends when both its ends have."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((HOST, self._port))
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for source, sink in ((client, server), (server, client)):
                    self._pass(source, sink)

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        pieces: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
        for work in (lambda: self._take(source, pieces), lambda: _hand_on(pieces, sink)):
            threading.Thread(target=work, daemon=True).start()

    def _take(self, source: socket.socket, pieces: "SimpleQueue[tuple[float, bytes]]") -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(_CHUNK)
            except OSError:
                data = b""
            pieces.put((time.perf_counter() + self._seconds, data))


def _hand_on(pieces: "SimpleQueue[tuple[float, bytes]]", sink: socket.socket) -> None:
    """Hand on each piece when its time has come; pieces overtake neither each other nor the end."""
    with suppress(OSError):
        while True:
            due, data = pieces.get()
            time.sleep(max(0.0, due - time.perf_counter()))
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)
