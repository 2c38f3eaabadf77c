"""A proxy on loopback that hands everything on later: what a network between the tool and its server costs."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.fixtures.network import HOST

_CHUNK = 1 << 16


@contextmanager
def delaying(port: int, round_trip_ms: float) -> Iterator[int]:
    """The port of a proxy to `port`, for as long as the block runs; each direction takes half of a round trip."""
    loop = asyncio.new_event_loop()
    proxy = _Proxy(port, round_trip_ms / 2000)
    listener = loop.run_until_complete(asyncio.start_server(proxy.serve, HOST, 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(loop.shutdown_asyncgens())
        listener.close()
        loop.close()


class _Proxy:
    def __init__(self, port: int, seconds: float) -> None:
        self._port = port
        self._seconds = seconds

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(HOST, self._port)
        await asyncio.gather(self._pass(reader, to_server), self._pass(from_server, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand on each piece when its time has come; pieces overtake neither each other nor the end."""
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                loop.call_later(self._seconds, writer.write, data)
        loop.call_later(self._seconds, writer.close)
