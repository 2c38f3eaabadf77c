"""Clients that mean harm: names of somebody else, smuggled requests, floods, and anything that is no HTTP at all."""

import gc
import re
import socket
from collections.abc import Iterator
from contextlib import suppress

import anyio
import httpx
import pytest
from anyio.abc import SocketStream
from anyio.from_thread import start_blocking_portal
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.http_face import Worker, client_of, exchange, serving
from tests.fixtures.network import HOST, http_get
from worker.http import server
from worker.http.guard import PUBLIC, names_this_machine

pytestmark = pytest.mark.anyio
LOCAL = ("localhost", "LOCALHOST", "localhost:8017", "127.0.0.1", "127.0.0.1:8017", "127.9.9.9", "[::1]", "[::1]:8017")
STRANGE = (
    "evil.example", "evil.example:8017", "localhost.evil.example", "127.0.0.1.evil.example", "10.1.2.3", "192.0.2.1",
    "[::1].evil.example", "[::2]", "localhost@evil.example", "evil.example:8017:80", "", "::1", "[", "2130706433",
)  # fmt: skip


@pytest.fixture
def worker() -> Worker:
    return Worker()


# DNS rebinding


@pytest.mark.parametrize("host", LOCAL)
async def test_a_host_of_this_machine_is_shown_the_page(worker: Worker, host: str) -> None:
    async with serving(worker.app()) as port:
        request = f"GET /status.json HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        assert (await exchange(port, request.encode())).startswith(b"HTTP/1.1 200 ")


async def test_a_browser_that_another_name_led_here_is_shown_the_probes_alone(worker: Worker) -> None:
    async with client_of(worker.app()) as client:
        for host in STRANGE:
            for path in ("/", "/status.json", "/events", "/nothing"):
                answer = await client.get(path, headers={"host": host})
                assert (answer.status_code, list(answer.json())) == (403, ["error"]), (host, path)
            assert (await client.get("/livez", headers={"host": host})).status_code == 200


@given(st.text(max_size=80))
def test_no_text_but_a_loopback_name_is_taken_for_this_machine(host: str) -> None:
    loopback = re.compile(r"(?i)(localhost|127\.\d+\.\d+\.\d+|\[[0-9a-f:.%]*\])(:\d{0,5})?", re.ASCII)
    assert not names_this_machine(host) or loopback.fullmatch(host)


# State


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
async def test_no_other_method_reaches_anything(worker: Worker, method: str) -> None:
    async with client_of(worker.app()) as client:
        for path in (*PUBLIC, "/", "/status.json"):
            answer = await client.request(method, path, content=b"x=1")
            assert answer.status_code == 405, (method, path)
            assert "set-cookie" not in answer.headers


# Smuggling and pipelining


SMUGGLED = {
    "two lengths": b"GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    "no number": b"GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: +5\r\n\r\nhello",
    "negative": b"GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    "unknown coding": b"GET /livez HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "hidden coding": b"GET /livez HTTP/1.1\r\nhost: x\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "folded": b"GET /livez HTTP/1.1\r\nhost: x\r\n folded\r\n\rx: y\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /livez HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n",
    "a NUL": b"GET /livez HTTP/1.1\r\nhost: x\r\nx: a\x00b\r\n\r\n",
    "a bare CR": b"GET /livez HTTP/1.1\r\nhost: x\r\nx: a\rGET / HTTP/1.1\r\n\r\n",
    "a blank in the target": b"GET /livez /status.json HTTP/1.1\r\nhost: x\r\n\r\n",
}


@pytest.mark.parametrize("shape", SMUGGLED)
async def test_a_request_that_two_servers_read_differently_is_refused_and_its_connection_closed(
    worker: Worker, shape: str
) -> None:
    async with serving(worker.app()) as port:
        answer = await exchange(port, SMUGGLED[shape] + b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_length_beside_a_coding_closes_the_connection_behind_the_answer_or_counts_as_chunked(
    worker: Worker,
) -> None:
    both = b"GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    async with serving(worker.app()) as port:
        answer = await exchange(port, both + b"GET /startupz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    statuses = re.findall(rb"HTTP/1\.1 (\d+) ", answer)
    assert statuses in ([b"200", b"200"], [b"400"]), answer


async def test_pipelined_requests_are_answered_one_after_the_other(worker: Worker) -> None:
    one, last = (
        b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /none HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    )
    async with serving(worker.app()) as port:
        answer = await exchange(port, one * 200 + last)
    assert re.findall(rb"HTTP/1\.1 (\d+) ", answer) == [b"200"] * 200 + [b"404"]


# Floods


async def test_a_body_without_end_is_not_kept(worker: Worker) -> None:
    """What nobody reads is held back in the client's socket, not in this process."""
    head = b"GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000000\r\n\r\n"
    async with serving(worker.app()) as port, await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(head)
        with anyio.move_on_after(2), suppress(anyio.BrokenResourceError):
            for _ in range(2_000):
                await stream.send(b"x" * 65536)
        gc.collect()
        held = sum(len(each) for each in gc.get_objects() if isinstance(each, bytearray))
        assert held < 20_000_000
        async with httpx.AsyncClient() as other:
            assert (await other.get(f"http://127.0.0.1:{port}/livez")).status_code == 200


async def test_many_connections_that_say_nothing_leave_room_for_a_probe_once_they_are_old(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECTION_SECONDS", 1.0)
    request = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    async with serving(worker.app()) as port, anyio.create_task_group() as crowd:

        async def silent(stream: SocketStream) -> None:
            async with stream:
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await stream.receive()

        # One after the other: where the queue of the listening socket runs over, a client that says nothing never hears
        # that the server does not know it.
        for _ in range(server.CONNECTIONS + 20):
            crowd.start_soon(silent, await anyio.connect_tcp("127.0.0.1", port))
        with anyio.fail_after(20):
            while not (await exchange(port, request)).startswith(b"HTTP/1.1 200 "):
                await anyio.lowlevel.checkpoint()


TOKENS = [
    b"GET ", b"POST ", b"/livez", b"/readyz?at_least=", b"/status.json", b"%2e%2e", b" HTTP/1.1\r\n", b"\r\n\r\n",
    b"host: localhost\r\n", b"content-length: ", b"transfer-encoding: chunked\r\n", b"expect: 100-continue\r\n",
    b"upgrade: h2c\r\nconnection: upgrade\r\n", b"range: bytes=0-\r\n", b"\x00", b"\xff" * 20, b"9" * 30, b"a" * 20_000,
]  # fmt: skip


@pytest.fixture
def served(worker: Worker) -> Iterator[int]:
    """The port of a server that runs in a thread, for clients that are no tasks."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serving(worker.app())) as port:
        yield port


def test_bytes_of_any_kind_are_answered_or_refused_and_never_break_the_server(served: int) -> None:
    @given(st.lists(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=200)), max_size=9).map(b"".join))
    def is_answered(request: bytes) -> None:
        answer = said_to(served, request)
        assert answer == b"" or re.match(rb"HTTP/1\.1 [1-4]\d\d ", answer), answer

    is_answered()
    assert http_get(served, "/livez").status == 200


def said_to(port: int, request: bytes) -> bytes:
    """Send bytes and end, and read until the server ends too."""
    answer = b""
    with socket.create_connection((HOST, port), timeout=10) as client, suppress(ConnectionError):
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        while part := client.recv(65536):
            answer += part
    return answer
