"""The HTTP face on a real socket of the loopback: its routes, readiness, and what peers may ask for."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.fixtures.http_face import Worker, client_of
from tests.fixtures.statuses import a_row, a_snapshot, a_status
from worker.core.events.failure import Failure
from worker.core.planning.job import JobState
from worker.core.planning.readiness import AtLeast
from worker.core.status.snapshot import Snapshot

PATHS = ("/livez", "/startupz", "/readyz", "/metrics", "/status.json", "/", "/page.css", "/page.js", "/mark.svg")
pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[tuple[Worker, httpx.AsyncClient]]:
    """One server for the file: an end takes uvicorn a fifth of a second."""
    worker = Worker()
    async with client_of(worker.app()) as client:
        yield worker, client


@pytest.fixture
def worker(served: tuple[Worker, httpx.AsyncClient]) -> Worker:
    served[0].snapshot = a_snapshot()
    return served[0]


@pytest.fixture
def client(worker: Worker, served: tuple[Worker, httpx.AsyncClient]) -> httpx.AsyncClient:
    assert worker is served[0]
    return served[1]


def elsewhere(app: ASGIApp, client: tuple[str, int] = ("10.1.2.3", 4000)) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=client), base_url="http://localhost:8017")


# Routes


async def test_the_worker_is_alive_and_started_without_a_database(client: httpx.AsyncClient, worker: Worker) -> None:
    worker.snapshot = a_snapshot(database="refused", targets=())
    assert [(await client.get(path)).status_code for path in ("/livez", "/startupz", "/readyz")] == [200, 200, 503]


@pytest.mark.parametrize("path", PATHS)
async def test_head_answers_as_get_does_without_a_body(client: httpx.AsyncClient, path: str) -> None:
    got, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.content))
    assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
async def test_no_other_method_is_allowed(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path, content=b"x")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert answer.json() == {"error": "method not allowed"}


@pytest.mark.parametrize("path", ["/nothing", "/livez/", "/LIVEZ", "/status.json/x", "/%2e%2e/etc/passwd"])
async def test_an_unknown_path_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"error": "not found"}


@pytest.mark.parametrize("path", [*PATHS, "/nothing", "/readyz?at_least=x"])
async def test_every_answer_has_the_security_headers_and_the_date_and_names_no_server(
    client: httpx.AsyncClient, path: str
) -> None:
    headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "date" in headers
    assert "server" not in headers


async def test_metrics_are_in_the_text_format_and_follow_the_snapshot(
    client: httpx.AsyncClient, worker: Worker
) -> None:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'tidegate_ready{target="public.schema_migrations"} 1.0\n' in answer.text
    worker.snapshot = a_snapshot(a_status(target="b.m", readiness=None))
    text = (await client.get("/metrics")).text
    assert 'tidegate_ready{target="b.m"} 0.0\n' in text
    assert "public.schema_migrations" not in text


async def test_the_status_document_has_no_statement(client: httpx.AsyncClient, worker: Worker) -> None:
    failure = Failure("3_a.up.sql", "42P07", "relation exists", statement="CREATE TABLE secret_plan ()")
    worker.snapshot = a_snapshot(a_status(state=JobState.FAILED, failure=failure))
    answer = await client.get("/status.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["targets"][0]["failure"]["message"] == "relation exists"
    assert "secret_plan" not in answer.text


async def test_the_page_tells_the_snapshot_and_allows_itself_no_more_than_its_own_files(
    client: httpx.AsyncClient, worker: Worker
) -> None:
    worker.snapshot = a_snapshot(database="connection refused")
    answer = await client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "No database" in answer.text
    assert "connection refused" in answer.text
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert policy.pop("default-src") == policy.pop("base-uri") == policy.pop("form-action") == "'none'"
    assert policy.pop("frame-ancestors") == "'none'"
    assert policy == dict.fromkeys(("script-src", "style-src", "img-src", "connect-src"), "'self'")


async def test_the_files_of_the_page_have_their_types(client: httpx.AsyncClient) -> None:
    types = [(await client.get(path)).headers["content-type"] for path in ("/page.css", "/page.js", "/mark.svg")]
    assert types == ["text/css; charset=utf-8", "text/javascript; charset=utf-8", "image/svg+xml"]


# Readiness


@pytest.mark.parametrize(
    ("snapshot", "query", "status", "why"),
    [
        (a_snapshot(), "", 200, None),
        (a_snapshot(), "?at_least=3", 200, None),
        (a_snapshot(), "?at_least=4", 503, "not_applied"),
        (a_snapshot(), "?bundle=1.3.0&target=public.schema_migrations", 200, None),
        (a_snapshot(), "?bundle=2.0.0", 503, "not_applied"),
        (a_snapshot(), "?target=other.m", 503, "no_target"),
        (a_snapshot(targets=()), "", 503, "no_target"),
        (a_snapshot(draining=True), "?at_least=3", 503, "draining"),
        (a_snapshot(database="refused"), "?at_least=3", 503, "database"),
        (a_snapshot(a_status(readiness=None)), "?at_least=3", 503, "no_row"),
        (a_snapshot(a_status(readiness=a_row(serves=3))), "?at_least=2", 503, "not_served"),
        (a_snapshot(a_status(readiness=a_row(lowest_pending=2))), "?at_least=3", 503, "pending"),
    ],
)
async def test_readiness_is_answered_with_its_reason(
    client: httpx.AsyncClient, worker: Worker, snapshot: Snapshot, query: str, status: int, why: str | None
) -> None:
    worker.snapshot = snapshot
    answer = await client.get("/readyz" + query)
    assert answer.status_code == status
    body = answer.json()
    assert set(body) == {"ready", "requirement", "why", "message"}
    assert (body["ready"], body["why"]) == (status == 200, why)


async def test_the_workers_own_requirement_holds_where_the_question_names_none() -> None:
    async with client_of(Worker(requirement=AtLeast(4)).app()) as client:
        assert (await client.get("/readyz")).json()["requirement"] == "version 4"
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/readyz?at_least=3")).status_code == 200


@pytest.mark.parametrize("query", ["at_least=x", "at_least=", "atleast=3", "at_least=1&bundle=x", "bundle=a&bundle=b"])
async def test_a_wrong_question_is_refused_in_words(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get("/readyz?" + query)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert answer.json()["hint"]


# Peers


@pytest.mark.parametrize("peer", ["10.1.2.3", "::ffff:10.1.2.3", "fe80::1%eth0", "2001:db8::1"])
async def test_a_peer_from_elsewhere_gets_the_probes_and_the_metrics_only(worker: Worker, peer: str) -> None:
    async with elsewhere(worker.app(), (peer, 4000)) as client:
        allowed = {path: (await client.get(path)).status_code for path in (*PATHS, "/nothing")}
        refusal = await client.get("/status.json")
    assert allowed == dict.fromkeys(PATHS[:4], 200) | dict.fromkeys((*PATHS[4:], "/nothing"), 403)
    assert "error" in refusal.json()
    assert refusal.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
async def test_a_peer_on_the_loopback_gets_everything(worker: Worker, peer: str) -> None:
    async with elsewhere(worker.app(), (peer, 4000)) as client:
        assert (await client.get("/status.json")).status_code == 200


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
async def test_a_proxy_on_the_loopback_speaks_for_elsewhere(client: httpx.AsyncClient, header: str) -> None:
    assert (await client.get("/status.json", headers={header: "127.0.0.1"})).status_code == 403
    assert (await client.get("/livez", headers={header: "10.1.2.3"})).status_code == 200


@pytest.mark.parametrize(
    ("address", "status"),
    [(("127.0.0.1", 8017), 200), (("10.1.2.3", 8017), 403), (("/run/tidegate.sock", None), 403), (None, 403)],
)
async def test_without_a_peers_address_the_servers_own_decides(
    worker: Worker, address: tuple[str, int | None] | None, status: int
) -> None:
    app = worker.app()

    async def nameless(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "client": None, "server": address}, receive, send)

    async with elsewhere(nameless) as client:
        assert (await client.get("/status.json")).status_code == status


async def test_a_changed_snapshot_is_seen_by_the_next_request(client: httpx.AsyncClient, worker: Worker) -> None:
    assert (await client.get("/readyz")).status_code == 200
    worker.snapshot = replace(worker.snapshot, draining=True)
    assert (await client.get("/readyz")).status_code == 503
