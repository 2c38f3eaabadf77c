"""The worker while its server is away: not there yet, or restarted behind its back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.cluster import Server, Shutdown, running_server
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.workers import applied, complaints, finish, migrations_in, start_worker, tables


@pytest.fixture
def own(server: Server) -> Iterator[Server]:
    """A server of this test's own, which others do not miss while it is stopped."""
    with running_server(server.version, server.binaries) as running:
        # As servers are by default. With wal_level=minimal a sequence forgets values in a crash, if they were taken
        # soon after the transaction that created and first used it.
        running.psql("ALTER SYSTEM SET wal_level = 'replica'")
        running.restart(Shutdown.FAST)
        yield running


def test_a_worker_waits_for_its_server_and_for_its_database(
    tidegate: StartTidegate, own: Server, tmp_path: Path
) -> None:
    database = Database("later", own)
    own.stop()
    worker = start_worker(tidegate, database.dsn, "--source", migrations_in(tmp_path / "sql", tables(1, 2)))
    worker.process.wait_for_event("database.unreachable")
    assert [worker.answers(path) for path in ("/livez", "/startupz", "/readyz?at_least=2")] == [200, 200, 503]
    assert worker.status()["database"] is not None

    own.start()
    worker.process.wait_for_line(lambda line: "database.unreachable" in line and "does not exist" in line)
    own.psql("CREATE DATABASE later")

    worker.until("/readyz?at_least=2")
    assert applied(database) == ["1", "2"]
    assert worker.status()["database"] is None
    assert complaints(worker.process) == []
    assert worker.stop() == 0


@pytest.mark.parametrize("shutdown", Shutdown)
def test_a_worker_reads_the_tables_again_after_a_restart_of_the_server(
    tidegate: StartTidegate, own: Server, tmp_path: Path, shutdown: Shutdown
) -> None:
    database = Database("postgres", own)
    source = migrations_in(tmp_path / "one", tables(1))
    worker = start_worker(tidegate, database.dsn, "--source", source, "--label", "1", "--poll-interval", "10m")
    worker.until("/readyz?bundle=1")
    worker.process.wait_for_event("listener.connected")

    own.restart(shutdown)
    worker.process.wait_for_event("listener.lost")
    second = migrations_in(tmp_path / "two", tables(1, 2))
    finish(tidegate("publish", second, "--label", "2", env={"DB_URL": database.dsn}))

    worker.until("/readyz?bundle=2")
    assert applied(database) == ["1", "2"]
    assert complaints(worker.process) == []
