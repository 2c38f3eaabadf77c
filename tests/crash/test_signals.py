"""The worker is asked to stop: idle, in the middle of a migration, and a second time."""

import time
from pathlib import Path

import pytest

from tests.fixtures.held import HELD, holding
from tests.fixtures.network import free_port
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.workers import (
    Worker,
    applied,
    backends,
    complaints,
    eventually,
    finish,
    locks,
    migrations_in,
    sleeping,
    start_worker,
    tables,
)


def slow(seconds: float) -> dict[int, str]:
    """Three migrations, of which the second one sleeps."""
    return tables(1, 2, 3) | {2: f"CREATE TABLE t2 (a int);\nSELECT pg_sleep({seconds});\n"}


def in_the_middle(tidegate: StartTidegate, database: Database, source: Path, *arguments: str) -> Worker:
    """A worker whose second migration sleeps at this moment."""
    worker = start_worker(tidegate, database.dsn, "--source", source, *arguments)
    worker.process.wait_for_event("migration.started", version=2, migration="m2")
    eventually(lambda: len(sleeping(database)) == 1, "the migration sleeps")
    return worker


def up(tidegate: StartTidegate, database: Database, source: Path) -> None:
    finish(tidegate("up", "--source", source, env={"DB_URL": database.dsn}))


def nothing_is_left(database: Database) -> bool:
    return not backends(database) and locks(database) == 0


@pytest.mark.parametrize("name", ["terminate", "interrupt"])
def test_an_idle_worker_ends_at_once_and_leaves_nothing(
    tidegate: StartTidegate, database: Database, tmp_path: Path, name: str
) -> None:
    worker = start_worker(tidegate, database.dsn, "--source", migrations_in(tmp_path / "sql", tables(1)))
    worker.until("/readyz?at_least=1")
    worker.process.wait_for_event("listener.connected")
    began = time.monotonic()

    getattr(worker.process, name)()

    assert worker.process.wait(10) == 0
    assert time.monotonic() - began < 3
    assert worker.process.events[-1]["event"] == "worker.stopped"
    assert complaints(worker.process) == []
    eventually(lambda: nothing_is_left(database), "no backend and no lock is left", 5)


def test_a_migration_that_outlasts_the_drain_is_cancelled_and_applied_by_the_next_run(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    source = migrations_in(tmp_path / "sql", slow(60))
    worker = in_the_middle(tidegate, database, source, "--drain-timeout", "500ms")
    began = time.monotonic()

    worker.process.terminate()

    assert worker.process.wait(15) == 0, worker.process.report()
    assert 0.4 < time.monotonic() - began < 8
    eventually(lambda: nothing_is_left(database), "no backend and no lock is left", 5)
    assert applied(database) == ["1"]
    assert database.psql("SELECT to_regclass('t2') IS NULL") == "t"
    assert complaints(worker.process) == []
    up(tidegate, database, migrations_in(tmp_path / "quick", tables(1, 2, 3)))
    assert applied(database) == ["1", "2", "3"]


def test_a_long_drain_lets_the_running_migration_finish_and_starts_no_other(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    source = migrations_in(tmp_path / "sql", slow(2))
    worker = in_the_middle(tidegate, database, source, "--drain-timeout", "60s")

    worker.process.terminate()

    assert worker.process.wait(15) == 0, worker.process.report()
    assert applied(database) == ["1", "2"]
    assert database.psql("SELECT versions, lowest_pending FROM tidegate.readiness") == "{1,2}|3"
    assert worker.process.wait_for_event("job.finished")["outcome"] == "interrupted"
    eventually(lambda: nothing_is_left(database), "no backend and no lock is left", 5)
    up(tidegate, database, source)
    assert applied(database) == ["1", "2", "3"]


def test_a_second_signal_cancels_at_once(tidegate: StartTidegate, database: Database, tmp_path: Path) -> None:
    worker = in_the_middle(tidegate, database, migrations_in(tmp_path / "sql", slow(60)), "--drain-timeout", "60s")
    worker.process.terminate()
    worker.process.wait_for_event("worker.draining")

    worker.process.terminate()

    assert worker.process.wait(8) == 0, worker.process.report()
    assert applied(database) == ["1"]
    eventually(lambda: nothing_is_left(database), "no backend and no lock is left", 5)


@pytest.mark.parametrize("event", ["http.serving", "worker.woken", "listener.connected", "control.upgraded"])
def test_a_signal_while_the_worker_begins_is_heeded_in_silence(
    tidegate: StartTidegate, database: Database, tmp_path: Path, event: str
) -> None:
    source = migrations_in(tmp_path / "sql", tables(1))
    command = ("run", "--log-level", "debug", "--http-port", str(free_port()), "--source", source)
    process = tidegate(*command, env={"DB_URL": database.dsn})
    process.wait_for_event(event)

    process.interrupt()

    assert process.wait(10) == 0, process.report()
    assert complaints(process) == []
    eventually(lambda: nothing_is_left(database), "no backend and no lock is left", 5)


@pytest.mark.parametrize(
    "sql", [HELD, "CREATE TABLE t1 (a int); COMMIT; VACUUM FULL held"], ids=["whole", "by segments"]
)
async def test_a_worker_that_is_told_to_end_between_two_attempts_begins_no_other_and_the_next_run_goes_on(
    tidegate: StartTidegate, database: Database, tmp_path: Path, sql: str
) -> None:
    folder = migrations_in(tmp_path, {1: sql})
    async with holding(database):
        worker = start_worker(tidegate, database.dsn, "--source", folder)
        worker.process.wait_for_event("migration.retried")
        began = time.monotonic()

        assert worker.stop() == 0

        # It would have gone on for the 20 s of the drain, and would then have been cancelled.
        assert time.monotonic() - began < 10
        assert complaints(worker.process) == []
        assert applied(database) == []
        eventually(lambda: nothing_is_left(database), "no backend and no lock is left", 5)
    up(tidegate, database, folder)
    assert applied(database) == ["1"]
