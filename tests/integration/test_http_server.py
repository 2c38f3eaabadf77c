"""The HTTP server: its limits, the settings that it refuses, and its end."""

import json
import logging
import signal
import socket

import anyio
import httpx
import pytest
from starlette.types import Receive, Scope, Send

from tests.fixtures.http_face import Worker, client_of, exchange, serving
from tests.fixtures.tools import missing
from worker.core.status.snapshot import Snapshot
from worker.errors import SettingError
from worker.http import server
from worker.http.app import build_app
from worker.http.server import serve

pytestmark = pytest.mark.anyio


@pytest.fixture
def worker() -> Worker:
    return Worker()


# Limits


async def test_a_huge_head_is_refused_and_its_connection_closed(worker: Worker) -> None:
    async with serving(worker.app()) as port:
        request = b"GET /livez HTTP/1.1\r\nhost: x\r\nx: " + b"a" * server.HEAD_BYTES
        assert (await exchange(port, request)).startswith(b"HTTP/1.1 400 ")


async def test_nonsense_is_refused_and_not_logged(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with serving(worker.app()) as port:
            assert (await exchange(port, b"\x16\x03\x01nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    assert caplog.records == []


async def test_a_websocket_upgrade_is_answered_as_a_plain_request(worker: Worker) -> None:
    request = b"GET /livez HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade, close\r\n\r\n"
    async with serving(worker.app()) as port:
        assert (await exchange(port, request)).startswith(b"HTTP/1.1 200 ")


async def test_slow_clients_hinder_nobody_and_are_closed_in_time(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECTION_SECONDS", 0.5)
    async with client_of(worker.app()) as client:
        port = client.base_url.port
        assert port is not None
        slow = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(20)]
        for stream in slow:
            await stream.send(b"GET /livez HTTP/1.1\r\nhost:")
        assert (await client.get("/livez")).status_code == 200
        with anyio.fail_after(10):
            for stream in slow:
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await stream.receive()
                await stream.aclose()


async def test_a_connection_beyond_the_limit_is_told_so_and_the_others_go_on(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    request = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    async with serving(worker.app()) as port:
        async with await anyio.connect_tcp("127.0.0.1", port), await anyio.connect_tcp("127.0.0.1", port):
            assert (await exchange(port, request)).startswith(b"HTTP/1.1 503 ")
        with anyio.fail_after(10):
            while not (await exchange(port, request)).startswith(b"HTTP/1.1 200 "):
                await anyio.lowlevel.checkpoint()


# The server


async def test_a_fault_of_the_program_is_told_without_its_text(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Snapshot:
        raise RuntimeError("inner words")

    app = build_app(broken, None, worker.metrics_text, worker.now)
    async with client_of(app) as client:
        answer = await client.get("/status.json")
        alive = await client.get("/livez")
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error"})
    assert alive.status_code == 200
    assert [record.name for record in caplog.records] == ["uvicorn.error"]


async def test_a_port_in_use_is_refused_by_the_settings_name(worker: Worker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingError, match=f"TIDEGATE_HTTP_PORT is {port}.*in use") as refusal:
            await serve(worker.app(), "127.0.0.1", port, started=lambda _port: None)
    assert refusal.value.hint


@pytest.mark.parametrize("host", ["203.0.113.9", "no such host", "a" * 70])
async def test_a_host_that_is_not_of_this_machine_is_refused_by_the_settings_name(worker: Worker, host: str) -> None:
    with pytest.raises(SettingError, match="TIDEGATE_HTTP_HOST is ") as refusal:
        await serve(worker.app(), host, 0, started=lambda _port: None)
    assert refusal.value.hint


@pytest.mark.parametrize("port", [-1, 65536])
async def test_a_port_out_of_range_is_refused(worker: Worker, port: int) -> None:
    with pytest.raises(SettingError, match="TIDEGATE_HTTP_PORT is "):
        await serve(worker.app(), "127.0.0.1", port, started=lambda _port: None)


async def test_the_port_is_free_at_once_after_the_end(worker: Worker) -> None:
    async with serving(worker.app()) as port, httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{port}/livez")).status_code == 200
    with socket.create_server(("127.0.0.1", port)):
        pass


async def test_the_programs_signal_handlers_stay(worker: Worker) -> None:
    before = signal.getsignal(signal.SIGTERM)
    async with serving(worker.app()):
        assert signal.getsignal(signal.SIGTERM) == before
    assert signal.getsignal(signal.SIGTERM) == before


async def test_open_connections_do_not_hold_the_end_up(worker: Worker) -> None:
    with anyio.fail_after(5):
        async with serving(worker.app()) as port, await anyio.connect_tcp("127.0.0.1", port) as half:
            await half.send(b"GET /livez HTTP/1.1\r\n")


async def test_a_response_under_way_ends_and_one_that_hangs_is_cut() -> None:
    reached, go_on = anyio.Event(), anyio.Event()

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        reached.set()
        if scope["path"] == "/hangs":
            await anyio.sleep_forever()
        await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps({}).encode()})

    answers: dict[str, bytes] = {}

    async def ask(port: int, path: str) -> None:
        answers[path] = await exchange(port, f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())

    with anyio.fail_after(10):
        async with anyio.create_task_group() as clients, serving(app) as port:
            for path in ("/ends", "/hangs"):
                clients.start_soon(ask, port, path)
                await reached.wait()
                reached = anyio.Event()
            go_on.set()
    assert answers["/ends"].startswith(b"HTTP/1.1 200 ")
    assert answers["/hangs"] == b""


async def test_ipv6_and_ipv4_peers_are_both_served_on_all_addresses(worker: Worker) -> None:
    if not socket.has_ipv6:
        missing("no IPv6 here")
    async with serving(worker.app(), "::") as port, httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{port}/status.json")).status_code == 200
