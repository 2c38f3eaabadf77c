"""Levels mean something: what a person must mend is an error, and what heals by itself is none."""

from pathlib import Path

from tests.fixtures.held import HELD, holding
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.workers import complaints, eventually, migrations_in, start_worker, tables


def test_a_password_that_stays_wrong_becomes_an_error_and_the_worker_goes_on_trying(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    source = migrations_in(tmp_path / "sql", tables(1))
    worker = start_worker(tidegate, database.dsn_as(password="wrong"), "--source", source)  # noqa: S106 - on purpose
    refused = worker.process.wait_for_event("database.refused", 60)
    (first, *_) = [event for event in worker.process.events if event["event"].startswith("database.")]
    assert (refused["level"], refused["attempts"]) == ("error", 6)
    assert (first["event"], first["level"]) == ("database.unreachable", "warning")
    assert "check user and password" in refused["hint"]
    assert refused["delay_seconds"] > 0
    assert worker.process.exit_code is None
    assert worker.metric("tidegate_database_reachable") == 0
    assert worker.stop() == 0


def test_a_server_that_is_away_is_no_error_and_is_found_again(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    worker = start_worker(tidegate, database.dsn, "--source", migrations_in(tmp_path / "sql", tables(1)))
    worker.until("/readyz")
    database.server.stop()
    worker.process.wait_for_event("database.unreachable", 60, level="warning")
    eventually(lambda: worker.metric("tidegate_database_reachable") == 0, "the gauge says so")
    database.server.start()
    worker.until("/readyz")
    eventually(lambda: worker.metric("tidegate_database_reachable") == 1, "and says that it is back")
    assert complaints(worker.process) == []


async def test_a_lock_that_is_not_free_in_time_is_tried_again_and_no_error(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    source = migrations_in(tmp_path / "sql", {1: HELD})
    async with holding(database):
        busy = tidegate("up", "--source", source, "--log-level", "info", env={"DB_URL": database.dsn})
        await busy.line(lambda line: "migration.retried" in line, 60)
        worker = start_worker(tidegate, database.dsn, "--source", source, "--advisory-timeout", "500ms")
        worker.process.wait_for_event("lock.timed_out", 60, level="warning")
    worker.until("/readyz")
    assert complaints(worker.process) == []
    assert not [event for event in worker.process.events if event["event"] == "database.unreachable"]
    assert worker.metric('tidegate_lock_attempts_total{outcome="timed_out"}') >= 1


def test_a_target_that_is_refused_or_paused_is_named(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    worker = start_worker(tidegate, database.dsn, "--source", migrations_in(tmp_path / "sql", tables(1)))
    worker.until("/readyz")
    worker.process.wait_for_event("listener.connected")
    assert tidegate("pause", env={"DB_URL": database.dsn}).wait() == 0
    database.psql("NOTIFY tidegate_wake")
    paused = worker.process.wait_for_event("target.paused")
    assert paused["target"] == "public.schema_migrations"
    eventually(lambda: worker.metric('tidegate_target_paused{target="public.schema_migrations"}') == 1, "it is told")
