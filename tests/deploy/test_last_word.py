"""What Kubernetes shows of a container that has ended: its last word, in a file that the kubelet mounts into it."""

from pathlib import Path

import pytest

from tests.fixtures.containers import StartContainer
from tests.fixtures.images import Image
from tests.fixtures.network import HOST, free_port
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.workers import eventually, finish, migrations_in, tables
from worker.cli.termination_log import LIMIT_BYTES

# The first test waits for the image to be built.
pytestmark = pytest.mark.timeout(600)

BUNDLE = "/migrations"
LONG = "SELECT repeat('ä', 5000)::int;\n"


@pytest.fixture
def last_word(tmp_path: Path) -> Path:
    """A file as a kubelet makes it: anybody may write to it, and an earlier container has done so."""
    path = tmp_path / "termination-log"
    path.write_text("what an earlier container said\n" * 200)
    path.chmod(0o666)
    return path


def settings(database: Database) -> dict[str, str]:
    return {"DB_URL": database.dsn, "DB_SCHEMA_DIR": BUNDLE, "TIDEGATE_HTTP_PORT": str(free_port())}


def test_a_command_that_fails_leaves_file_line_and_message_and_nothing_of_what_was_there(
    worker_image: Image, container: StartContainer, database: Database, last_word: Path, tmp_path: Path
) -> None:
    bundle = migrations_in(tmp_path / "sql", {**tables(1), 2: "SELECT 1/0;\n"})
    failed = container(worker_image, "up", env=settings(database), binds={BUNDLE: bundle}, last_word=last_word)
    assert failed.process.wait() == 1, failed.process.report()
    first, second = last_word.read_text().splitlines()
    assert first.startswith("tidegate: 0002_m2.up.sql:1: division by zero")
    assert second.startswith("  hint: ")


def test_a_long_message_is_cut_to_what_kubernetes_keeps_and_stays_text(
    worker_image: Image, container: StartContainer, database: Database, last_word: Path, tmp_path: Path
) -> None:
    bundle = migrations_in(tmp_path / "sql", {1: LONG})
    failed = container(worker_image, "up", env=settings(database), binds={BUNDLE: bundle}, last_word=last_word)
    assert failed.process.wait() == 1, failed.process.report()
    assert LIMIT_BYTES - 1 <= last_word.stat().st_size <= LIMIT_BYTES
    assert "hint: " in last_word.read_text()


def test_a_worker_leaves_what_its_job_failed_at_and_takes_it_back_when_a_job_succeeds(
    worker_image: Image,
    container: StartContainer,
    tidegate: StartTidegate,
    database: Database,
    last_word: Path,
    tmp_path: Path,
) -> None:
    bundle = migrations_in(tmp_path / "sql", {**tables(1), 2: "SELECT 1/0;\n"})
    worker = container(worker_image, "run", env=settings(database), binds={BUNDLE: bundle}, last_word=last_word)
    worker.process.wait_for_event("job.failed", 60)
    eventually(lambda: "division by zero" in last_word.read_text(), "the failure is left behind")
    mended = migrations_in(tmp_path / "mended", tables(1, 2))
    finish(tidegate("publish", mended, "--label", "2", "--wait", env={"DB_URL": database.dsn}))
    eventually(lambda: not last_word.read_text(), "nothing is left of it")
    assert worker.stop() == 0


def test_a_worker_that_cannot_listen_says_so_in_its_log_and_in_its_last_word(
    worker_image: Image, container: StartContainer, database: Database, last_word: Path
) -> None:
    env = {"DB_URL": database.dsn, "TIDEGATE_HTTP_HOST": HOST, "TIDEGATE_HTTP_PORT": str(database.server.port)}
    worker = container(worker_image, "run", env=env, last_word=last_word)
    assert worker.process.wait() == 2, worker.process.report()
    failed = worker.process.wait_for_event("worker.failed", level="error")
    assert str(database.server.port) in failed["message"]
    assert failed["message"] in last_word.read_text()
