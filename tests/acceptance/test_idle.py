"""What a worker asks of its database while there is nothing to do, and while people look at it."""

from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.fixtures.cluster import Server, running_server
from tests.fixtures.network import HOST
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.workers import Worker, eventually, migrations_in, start_worker, tables

# A transaction begun, the fingerprint, what differs, and the end.
DRIFT_QUERIES = 4
PATHS = ("/", "/status.json", "/metrics", "/readyz", "/page.js")


@pytest.fixture
def own(server: Server) -> Iterator[Server]:
    """A server of this test's own, which logs every statement of the program with its application's name."""
    with running_server(server.version, server.binaries) as running:
        running.psql("ALTER SYSTEM SET log_min_duration_statement = 0")
        running.psql("ALTER SYSTEM SET log_line_prefix = '<%a> '")
        running.restart()
        yield running


def start(tidegate: StartTidegate, own: Server, folder: Path, poll: str) -> Worker:
    """A worker that has nothing to do any more."""
    database = Database("postgres", own)
    source = migrations_in(folder / "sql", tables(1, 2))
    worker = start_worker(tidegate, database.dsn, "--source", source, "--poll-interval", poll)
    worker.until("/readyz?at_least=2")
    worker.process.wait_for_event("listener.connected")
    return worker


def asked(own: Server) -> list[str]:
    """The statements of the program's so far, without the listener's probes."""
    lines = [line for line in own.log().splitlines() if line.startswith("<tidegate") and " ms  " in line]
    return [line for line in lines if "parse " not in line and "bind " not in line and "pg_notify" not in line]


def test_a_look_at_the_page_the_metrics_or_a_stream_costs_no_query(
    tidegate: StartTidegate, own: Server, tmp_path: Path
) -> None:
    worker = start(tidegate, own, tmp_path, "10m")
    with ExitStack() as stack:

        def costs_nothing() -> bool:
            before = asked(own)
            look_at_everything(worker, stack)
            return asked(own) == before != []

        # A hint that is still on its way has it look once more.
        eventually(costs_nothing, "ten viewers and fifty requests cost no query")


def look_at_everything(worker: Worker, stack: ExitStack) -> None:
    """Open ten streams more, which stay open, and ask for everything ten times."""
    for _ in range(10):
        viewer = HTTPConnection(HOST, worker.port, timeout=10)
        stack.callback(viewer.close)
        viewer.request("GET", "/events")
        assert viewer.getresponse().readline() == b"event: regions\n"
    assert {worker.answers(path) for path in PATHS * 10} == {200}


def test_idle_rounds_cost_four_queries_in_three_on_one_of_two_connections_and_a_worker_one_in_five_seconds(
    tidegate: StartTidegate, own: Server, tmp_path: Path
) -> None:
    worker = start(tidegate, own, tmp_path, "250ms")
    eventually(lambda: rounds(worker) >= 6, "what the start left to do is done")
    began, before = rounds(worker), len(asked(own))
    eventually(lambda: rounds(worker) >= began + 24, "24 rounds more")
    assert own.psql("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tidegate%'") == "2"
    queries, more = len(asked(own)) - before, rounds(worker) - began
    # A round may be under way at either end, and once a minute what is only shown is read too.
    assert queries <= 4 / 3 * more + 3
    # A poll of 15 s comes after 11.25 on average; the listener's probe, what is only shown, and a look for drift.
    assert (queries - 3) / more / 11.25 + 1 / 30 + 1 / 60 + DRIFT_QUERIES / 300 < 0.2


def test_between_jobs_every_session_of_a_worker_idles_outside_any_transaction(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    worker = start_worker(
        tidegate, database.dsn, "--source", migrations_in(tmp_path / "sql", tables(1)), "--poll-interval", "10m"
    )
    worker.until("/readyz?at_least=1")
    worker.process.wait_for_event("listener.connected")
    for version in (2, 3):
        publish(tidegate, database, migrations_in(tmp_path / "sql", tables(*range(1, version + 1))), str(version))
        worker.until(f"/readyz?at_least={version}")
        # The next poll is far: what is not idle now stays so.
        eventually(lambda: set(sessions(database)) == {"idle|t"}, "both sessions idle, without a snapshot")


def sessions(database: Database) -> list[str]:
    return database.server.psql(
        "SELECT state, backend_xmin IS NULL FROM pg_stat_activity "
        f"WHERE datname = '{database.name}' AND application_name LIKE 'tidegate %'"
    ).splitlines()


def publish(tidegate: StartTidegate, database: Database, source: Path, label: str) -> None:
    published = tidegate("publish", source, "--label", label, env={"DB_URL": database.dsn})
    assert published.wait(20) == 0, published.report()


def rounds(worker: Worker) -> int:
    return sum(event["event"] == "worker.woken" for event in worker.process.events)
