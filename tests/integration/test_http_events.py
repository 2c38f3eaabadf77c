"""Event streams on a real socket: what is sent and when, a hundred at once, slow readers, and the end."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import SocketStream
from starlette.types import Receive, Send

from tests.fixtures.http_face import Worker, serving
from tests.fixtures.statuses import a_snapshot, a_status
from worker.core.status.snapshot import Snapshot
from worker.http import server, stream
from worker.http.page import REGIONS
from worker.http.stream import Press

REQUEST = b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n"
pytestmark = pytest.mark.anyio


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Editions come quickly, and no beat comes between what a test waits for."""
    monkeypatch.setattr(stream, "PERIOD_SECONDS", 0.02)
    monkeypatch.setattr(stream, "BEAT_SECONDS", 300.0)


class Viewer:
    """An open stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def message(self) -> tuple[str, dict[str, Any]]:
        """The next message: its event and its data."""
        with anyio.fail_after(10):
            event, data, end = [await anext(self._lines) for _ in range(3)]
        assert end == ""
        return event.removeprefix("event: "), json.loads(data.removeprefix("data: "))


@asynccontextmanager
async def viewing(port: int) -> AsyncIterator[Viewer]:
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10, limits=limits) as client,
        client.stream("GET", "/events") as response,
    ):
        yield Viewer(response)


async def test_a_viewer_is_sent_every_region_first_and_then_what_changed(worker: Worker) -> None:
    async with serving(worker.app()) as port, viewing(port) as viewer:
        assert viewer.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert viewer.response.headers["cache-control"] == "no-store"
        event, first = await viewer.message()
        assert (event, set(first["regions"])) == ("regions", set(REGIONS))
        assert first["title"].startswith("✓ Ready")
        worker.snapshot = replace(worker.snapshot, listening=False)
        event, second = await viewer.message()
    assert (event, set(second["regions"]), second["title"]) == ("regions", {"foot"}, None)
    assert "looks by its poll alone" in second["regions"]["foot"]


async def test_time_alone_is_no_change_and_a_viewer_hears_a_beat_instead(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BEAT_SECONDS", 0.1)
    async with serving(worker.app()) as port, viewing(port) as viewer:
        await viewer.message()
        worker.snapshot = replace(worker.snapshot, at=worker.now())
        assert await viewer.message() == ("beat", {"at": "2026-03-04T15:00:02.000Z", "title": None, "regions": {}})


async def test_a_lost_database_is_told_and_so_is_its_return(worker: Worker) -> None:
    async with serving(worker.app()) as port, viewing(port) as viewer:
        await viewer.message()
        for database, title in (("refused", "… No database"), (None, "✓ Ready")):
            worker.snapshot = a_snapshot(database=database)
            _, message = await viewer.message()
            assert message["title"].startswith(title)


async def test_a_hundred_viewers_are_served_at_the_rendering_cost_of_one_and_probes_go_on(worker: Worker) -> None:
    async with serving(worker.app()) as port, AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(viewing(port)) for _ in range(100)]
        for viewer in viewers:
            await viewer.message()
        worker.snapshot = a_snapshot(a_status(wanted="2.0.0"))
        for viewer in viewers:
            _, message = await viewer.message()
            assert "2.0.0" in message["regions"]["gate"]
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{port}/livez")).status_code == 200


async def test_an_edition_is_made_once_for_all_and_only_where_something_changed(worker: Worker) -> None:
    made, now = [], [0.0]

    def render(snapshot: Snapshot) -> dict[str, str]:
        made.append(snapshot)
        return {}

    press = Press(lambda: worker.snapshot, render, lambda: now[0])
    for moment in (0.0, 1.0, 2.0):
        now[0] = moment
        press.edition()
        worker.snapshot = replace(worker.snapshot, at=worker.now())
    assert len(made) == 1
    worker.snapshot = replace(worker.snapshot, draining=True)
    now[0] = 2.0 + stream.PERIOD_SECONDS / 2
    assert press.edition().known.draining is False
    now[0] = 3.0
    assert press.edition().known.draining is True


async def test_a_stream_beyond_the_limit_is_refused_until_another_one_ends(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STREAMS", 2)
    async with serving(worker.app()) as port, viewing(port) as one:
        await one.message()
        async with viewing(port) as two, viewing(port) as three:
            await two.message()
            assert three.response.status_code == 503
            assert three.response.headers["retry-after"] == "5"
            assert "too many" in json.loads(await three.response.aread())["error"]
        with anyio.fail_after(10):
            while True:
                async with viewing(port) as again:
                    if again.response.status_code == 200:
                        break


async def test_a_browser_that_disconnects_in_the_middle_leaves_its_place(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stream, "STREAMS", 1)
    async with serving(worker.app()) as port:
        for _ in range(5):
            async with await anyio.connect_tcp("127.0.0.1", port) as connection:
                await answered(connection, b"HTTP/1.1 200 ")
    assert caplog.records == []


async def answered(connection: SocketStream, status: bytes) -> None:
    """Ask for a stream until there is room for it."""
    with anyio.fail_after(10):
        while True:
            await connection.send(REQUEST)
            if (await connection.receive()).startswith(status):
                return


async def test_a_peer_that_does_not_read_hinders_nobody_and_is_cut(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "READER_SECONDS", 2.0)
    ended = telling_of_the_first_end(monkeypatch)
    label = "x" * 200_000
    async with (
        serving(worker.app()) as port,
        await anyio.connect_tcp("127.0.0.1", port) as silent,
        viewing(port) as viewer,
    ):
        await silent.send(REQUEST)
        await viewer.message()
        for number in range(60):
            worker.snapshot = a_snapshot(a_status(wanted=f"{number}{label}"))
            assert f">{number}x" in (await viewer.message())[1]["regions"]["gate"]
        with anyio.fail_after(20):
            await ended.wait()
        # What it reads before it is cut would make it a reader again.
        assert await is_cut(silent)
    assert caplog.records == []


def telling_of_the_first_end(monkeypatch: pytest.MonkeyPatch) -> anyio.Event:
    """An event that is set once the server is done with a stream."""
    ended, serve = anyio.Event(), stream.Streams.serve

    async def told(streams: stream.Streams, receive: Receive, send: Send) -> None:
        try:
            await serve(streams, receive, send)
        finally:
            ended.set()

    monkeypatch.setattr(stream.Streams, "serve", told)
    return ended


async def is_cut(connection: SocketStream) -> bool:
    """Read what is there, to the end or to the break."""
    with anyio.fail_after(10):
        try:
            while True:
                await connection.receive()
        except (anyio.BrokenResourceError, anyio.EndOfStream):
            return True


async def test_a_slow_reader_is_sent_the_newest_and_not_what_it_missed(worker: Worker) -> None:
    label = "x" * 400_000
    async with serving(worker.app()) as port, viewing(port) as quick, viewing(port) as slow:
        await quick.message()
        for number in range(40):
            worker.snapshot = a_snapshot(a_status(wanted=f"{number}{label}"))
            await quick.message()
        seen = []
        while not seen or ">39x" not in seen[-1]:
            seen.append((await slow.message())[1]["regions"]["gate"])
    assert len(seen) < 40


async def test_open_streams_do_not_hold_the_end_up_and_nothing_is_logged(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    with anyio.fail_after(10):
        async with serving(worker.app()) as port, await anyio.connect_tcp("127.0.0.1", port) as one:
            await answered(one, b"HTTP/1.1 200 ")
    assert caplog.records == []


async def test_head_gets_the_headers_and_no_stream_and_other_methods_are_refused(worker: Worker) -> None:
    async with serving(worker.app()) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        head = await client.head("/events")
        assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert (await client.post("/events", content=b"x" * 100_000)).status_code == 405


async def test_a_peer_from_elsewhere_gets_neither_the_page_nor_its_events(worker: Worker) -> None:
    transport = httpx.ASGITransport(worker.app(), client=("10.1.2.3", 4000))
    async with httpx.AsyncClient(transport=transport, base_url="http://pod:8017") as client:
        for path in ("/", "/events", "/page.js", "/page.css"):
            assert (await client.get(path)).status_code == 403
