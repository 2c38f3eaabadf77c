"""What an operator sees of a migration that is in the application's way: events, metrics, settings."""

import subprocess
from pathlib import Path

from tests.fixtures.command_line import call
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.workers import applied, eventually, migrations_in, sleeping, start_worker, tables

HELD = "LOCK TABLE t1;\nSELECT pg_sleep(CASE WHEN to_regclass('calm') IS NULL THEN 60 ELSE 0 END);\n"


def test_a_worker_lets_the_application_through_and_tells_whom_it_had_blocked(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    source = migrations_in(tmp_path / "sql", tables(1) | {2: HELD})
    worker = start_worker(tidegate, database.dsn, "--source", source, "--block-budget", "500ms")
    eventually(lambda: len(sleeping(database)) == 1, "the migration sleeps")

    command = [str(database.server.binaries / "psql"), "-XAtqc", "SELECT count(*) FROM t1"]
    env = {"PGAPPNAME": "web", "PGCONNECT_TIMEOUT": "10"}
    read = subprocess.run(
        [*command, "-d", database.dsn], check=False, capture_output=True, text=True, timeout=30, env=env
    )
    assert (read.returncode, read.stdout) == (0, "0\n"), read.stderr
    blocked = worker.process.wait_for_event("app.blocked")
    retried = worker.process.wait_for_event("migration.retried")
    database.psql("CREATE TABLE calm ()")
    worker.until("/readyz?at_least=2")

    assert (blocked["application"], blocked["role"], blocked["version"]) == ("web", "postgres", 2)
    assert retried["cause"] == "app_blocked"
    assert worker.metric('tidegate_retries_total{reason="app_blocked"}') == 1
    assert worker.metric("tidegate_app_blocked_seconds_count") == 2
    assert 0.5 < worker.metric("tidegate_app_blocked_seconds_sum") < 20
    assert "count(*)" not in worker.process.stderr
    assert applied(database) == ["1", "2"]
    assert worker.stop() == 0


def test_the_budget_is_in_force_from_its_variable(database: Database) -> None:
    said = call("admin", "config", "--json", "--database", database.dsn, TIDEGATE_BLOCK_BUDGET="3s")
    (row,) = [row for row in said.document if row["name"] == "block_budget"]
    assert (row["value"], row["origin"]) == ("3s", "TIDEGATE_BLOCK_BUDGET")
