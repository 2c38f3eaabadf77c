"""The image at work: an init container, the gate, and the worker, each on a root that nobody can write to."""

import os
from pathlib import Path

import pytest

from tests.fixtures.containers import Container, StartContainer
from tests.fixtures.held import HELD, holding
from tests.fixtures.images import Image
from tests.fixtures.network import HOST, free_port, http_get
from tests.fixtures.servers import Database
from tests.fixtures.workers import eventually, migrations_in, tables

# The first test waits for the image to be built.
pytestmark = pytest.mark.timeout(600)

BUNDLE = "/migrations"


def settings(database: Database, port: int = 8017) -> dict[str, str]:
    return {"DB_URL": database.dsn, "DB_SCHEMA_DIR": BUNDLE, "TIDEGATE_HTTP_PORT": str(port)}


def ended(container: Container, code: int = 0) -> None:
    assert container.process.wait() == code, container.process.report()


def files(root: Path) -> set[tuple[str, int, int]]:
    """Every file of an image, with its size and the time of its last change."""
    found = (Path(folder, name) for folder, _, names in os.walk(root) for name in names)
    return {(str(path), path.lstat().st_size, path.lstat().st_mtime_ns) for path in found}


def test_up_applies_a_bundle_exits_and_writes_nothing_to_its_root(
    worker_image: Image, container: StartContainer, database: Database, tmp_path: Path
) -> None:
    bundle = migrations_in(tmp_path / "sql", tables(1, 2))
    before = files(worker_image.root)
    first = container(worker_image, "up", env=settings(database), binds={BUNDLE: bundle})
    ended(first)
    assert database.psql("SELECT version FROM schema_migrations") == "2"
    again = container(worker_image, "up", env=settings(database), binds={BUNDLE: bundle})
    ended(again)
    assert "nothing to do" in again.process.stdout
    assert files(worker_image.root) == before


def test_a_migration_that_fails_fails_the_init_container(
    worker_image: Image, container: StartContainer, database: Database, tmp_path: Path
) -> None:
    bundle = migrations_in(tmp_path / "sql", {**tables(1), 2: "SELECT 1/0"})
    ended(container(worker_image, "up", env=settings(database), binds={BUNDLE: bundle}), 1)
    ended(container(worker_image, "up", env=settings(database)), 2)


def test_the_gate_opens_when_the_schema_is_there(
    worker_image: Image, container: StartContainer, database: Database, tmp_path: Path
) -> None:
    bundle = migrations_in(tmp_path / "sql", tables(1))
    gate = container(worker_image, "wait", "--at-least", "1", "--timeout", "none", env={"DB_URL": database.dsn})
    gate.process.wait_for_event("gate.waiting")
    ended(container(worker_image, "up", env=settings(database), binds={BUNDLE: bundle}))
    ended(gate)


def test_the_gate_ends_at_sigterm_though_it_is_the_first_process(
    worker_image: Image, container: StartContainer, database: Database
) -> None:
    gate = container(worker_image, "wait", "--at-least", "1", "--timeout", "none", env={"DB_URL": database.dsn})
    gate.process.wait_for_event("gate.waiting")
    assert gate.stop(10) == 143


async def test_it_is_healthy_once_it_is_ready_and_ends_at_sigterm(
    worker_image: Image, container: StartContainer, database: Database, tmp_path: Path
) -> None:
    async with holding(database) as holder:
        bundle, port = migrations_in(tmp_path / "sql", {1: HELD}), free_port()

        worker = container(worker_image, env=settings(database, port), binds={BUNDLE: bundle})
        worker.process.wait_for_event("migration.retried")
        assert http_get(port, "/readyz").status == 503
        assert not worker.is_healthy()

        await holder.close()
        worker.process.wait_for_event("readiness.set")
        eventually(worker.is_healthy, "the worker is healthy")
        assert http_get(port, "/readyz?at_least=1").status == 200

        assert worker.stop(20) == 0, worker.process.report()
        assert worker.process.events[-1]["event"] == "worker.stopped"


def test_health_is_asked_where_the_worker_listens(
    worker_image: Image, container: StartContainer, database: Database, tmp_path: Path
) -> None:
    bundle, address = migrations_in(tmp_path / "sql", tables(1)), "127.0.0.8"
    env = {**settings(database, free_port()), "TIDEGATE_HTTP_HOST": address}
    worker = container(worker_image, env=env, binds={BUNDLE: bundle})
    assert worker.process.wait_for_event("http.serving")["host"] == address != HOST
    worker.process.wait_for_event("readiness.set")
    eventually(worker.is_healthy, "the worker is healthy")
