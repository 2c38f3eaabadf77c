"""Server-sent events: what changed on the page, for any number of viewers at the cost of one.

Everybody is shown the same edition, which is made at most every quarter of a second, only where something changed and
somebody looks. A viewer is sent what differs from what it has; one that reads slowly gets the newest when it reads
again, never what it missed, and the server cuts one that does not read at all.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from worker.core.status.snapshot import Snapshot
from worker.core.value import dataclass
from worker.http.words import iso

PATH = "/events"

STREAMS = 128
"""So many viewers are served at once; the others are told to come again."""

PERIOD_SECONDS = 0.25
"""Between two editions."""

BEAT_SECONDS = 5.0
"""After so long without a change a viewer hears that the worker is there."""

_NEVER = datetime.min.replace(tzinfo=UTC)
_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"}
_FULL = {
    "error": "too many event streams are open",
    "hint": f"at most {STREAMS} are served; close a page, or look at /status.json",
}


@dataclass(frozen=True, slots=True)
class Edition:
    """The page's parts as of one snapshot; `known` is that snapshot without its time."""

    known: Snapshot
    parts: Mapping[str, str]


class Press:
    """Makes editions, for as long as somebody asks for them."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        render: Callable[[Snapshot], Mapping[str, str]],
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._snapshot = snapshot
        self._render = render
        self._clock = clock
        self._edition: Edition | None = None
        self._looked_at = float("-inf")

    def edition(self) -> Edition:
        """The newest one, at most `PERIOD_SECONDS` old."""
        now = self._clock()
        if self._edition is not None and now - self._looked_at < PERIOD_SECONDS:
            return self._edition
        self._looked_at = now
        snapshot = self._snapshot()
        known = replace(snapshot, at=_NEVER)
        if self._edition is None or self._edition.known != known:
            self._edition = Edition(known, self._render(snapshot))
        return self._edition


class Streams:
    """The open event streams; `now` tells the time with its zone."""

    def __init__(self, press: Press, now: Callable[[], datetime]) -> None:
        self._press = press
        self._now = now
        self.open = 0

    def answer(self, request: Request) -> Response:
        """A stream, or a refusal where too many are open; HEAD gets the headers alone."""
        if request.method == "HEAD":
            return Response(headers=_HEADERS)
        if self.open >= STREAMS:
            return JSONResponse(_FULL, status_code=503, headers={"retry-after": "5"})
        return _Stream(self)

    async def serve(self, receive: Receive, send: Send) -> None:
        """Serve one viewer until it is gone."""
        self.open += 1
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
                await self._tell(send)
        finally:
            self.open -= 1

    async def _tell(self, send: Send) -> None:
        head = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        sent: Mapping[str, str] = {}
        told_at = float("-inf")
        while True:
            parts = self._press.edition().parts
            changed = {name: part for name, part in parts.items() if sent.get(name) != part}
            if changed or anyio.current_time() - told_at >= BEAT_SECONDS:
                await send({"type": "http.response.body", "body": self._message(changed), "more_body": True})
                sent, told_at = parts, anyio.current_time()
            await anyio.sleep(PERIOD_SECONDS)

    def _message(self, changed: Mapping[str, str]) -> bytes:
        regions = dict(changed)
        body = {"at": iso(self._now()), "title": regions.pop("title", None), "regions": regions}
        return f"event: {'regions' if changed else 'beat'}\ndata: {json.dumps(body)}\n\n".encode()


class _Stream(Response):
    """A response that goes on until its viewer or the worker is gone."""

    def __init__(self, streams: Streams) -> None:
        super().__init__()
        self._streams = streams

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await self._streams.serve(receive, send)


async def _until_gone(receive: Receive, viewer: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    viewer.cancel()
