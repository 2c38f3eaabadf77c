"""The worker as a service of `Type=notify`: what systemd hears, from the real program on a real server."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from tests.fixtures.held import HELD, holding
from tests.fixtures.network import free_port
from tests.fixtures.processes import Process, StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.service_manager import ServiceManager, service_manager
from tests.fixtures.workers import Worker, eventually, finish, migrations_in, tables


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[ServiceManager]:
    with service_manager(str(tmp_path / "notify")) as manager:
        yield manager


def start(tidegate: StartTidegate, database: Database, systemd: ServiceManager, *arguments: str | Path) -> Process:
    environment = {"DB_URL": database.dsn, "NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "100000"}
    return tidegate("run", "--http-port", str(free_port()), *arguments, env=environment)


async def test_ready_comes_after_the_readiness_row_and_stopping_with_the_signal(
    tidegate: StartTidegate, database: Database, systemd: ServiceManager, tmp_path: Path
) -> None:
    async with holding(database) as holder:
        sql = migrations_in(tmp_path / "sql", {**tables(1), 2: HELD})

        worker = start(tidegate, database, systemd, "--source", sql)
        systemd.wait_for("STATUS=migration 2 m2 runs up")
        worker.wait_for_event("migration.retried", version=2)
        assert await database.fetchval("SELECT count(*) FROM tidegate.readiness WHERE 2 = ANY (versions)") == 0
        assert "READY=1" not in systemd.said

        await holder.close()
        systemd.wait_for("READY=1")
        assert await database.fetchval("SELECT count(*) FROM tidegate.readiness WHERE 2 = ANY (versions)") == 1
        systemd.wait_for("WATCHDOG=1")
        assert "STOPPING=1" not in systemd.said

        worker.terminate()
        systemd.wait_for("STOPPING=1")
        assert await worker.ended() == 0, worker.report()


def test_ready_comes_at_the_first_look_where_nothing_is_to_be_done(
    tidegate: StartTidegate, database: Database, systemd: ServiceManager, tmp_path: Path
) -> None:
    sql = migrations_in(tmp_path / "sql", tables(1))
    finish(tidegate("up", "--source", sql, env={"DB_URL": database.dsn}))
    worker = start(tidegate, database, systemd, "--source", sql, "--poll-interval", "1h")
    systemd.wait_for("READY=1")
    systemd.wait_for("STATUS=ready for the migrations of")
    assert "readiness.set" not in {event["event"] for event in worker.events}


def test_a_failed_migration_is_on_show_and_ready_never_comes(
    tidegate: StartTidegate, database: Database, systemd: ServiceManager, tmp_path: Path
) -> None:
    sql = migrations_in(tmp_path / "sql", {1: "SELECT 1/0"})
    process = start(tidegate, database, systemd, "--source", sql)
    systemd.wait_for("STATUS=failed: ")
    worker = Worker(process, process.wait_for_event("http.serving")["port"])
    eventually(lambda: bool(worker.status()["targets"]), "the worker has looked after the failure")
    assert worker.answers("/readyz") == 503
    assert "READY=1" not in systemd.said


def test_an_api_that_is_become_by_exec_speaks_to_systemd_itself(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    sql = migrations_in(tmp_path / "sql", tables(1))
    address = f"@tidegate-test-{uuid4().hex}"
    environment = {"DB_URL": database.dsn, "DB_AUTO_MIGRATE": "true", "NOTIFY_SOCKET": address}
    with closing(ServiceManager(address)) as systemd:
        api = tidegate("exec", "--source", sql, "--", "sh", "-c", "echo $NOTIFY_SOCKET", env=environment)
        assert finish(api) == address
        assert systemd.said == []
