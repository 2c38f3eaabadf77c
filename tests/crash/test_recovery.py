"""The server crashes in the middle of what no transaction can hold, or soon after the control schema was made."""

from pathlib import Path

import pytest

from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.workers import applied, eventually, finish, migrations_in, start_worker, tables

SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1"
READER = "BEGIN; SELECT FROM t1"
PARTITIONED = """
CREATE TABLE t1 (a int) PARTITION BY LIST (a);
CREATE TABLE t1_1 PARTITION OF t1 FOR VALUES IN (1);
CREATE INDEX t1_1_i ON t1_1 (a);
"""
LEFT_OVER = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"


def up(tidegate: StartTidegate, database: Database, source: Path) -> str:
    return finish(tidegate("up", "--source", source, env={"DB_URL": database.dsn}))


@pytest.mark.parametrize(
    ("statement", "behind", "half_done", "result"),
    [
        (
            "CREATE INDEX CONCURRENTLY i ON t1_1 (a)",
            SNAPSHOT,
            "SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass('i')",
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass",
        ),
        (
            "REINDEX INDEX CONCURRENTLY t1_1_i",
            SNAPSHOT,
            "SELECT to_regclass('t1_1_i_ccnew') IS NOT NULL",
            "SELECT to_regclass('t1_1_i_ccnew') IS NULL",
        ),
        (
            "DROP INDEX CONCURRENTLY t1_1_i",
            "BEGIN; SELECT FROM t1_1",
            "SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass('t1_1_i')",
            "SELECT to_regclass('t1_1_i') IS NULL",
        ),
        (
            "ALTER TABLE t1 DETACH PARTITION t1_1 CONCURRENTLY",
            READER,
            "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = 't1_1'::regclass",
            "SELECT NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = 't1_1'::regclass)",
        ),
    ],
    ids=["build", "rebuild", "drop", "detach"],
)
async def test_a_worker_finishes_what_a_crash_of_the_server_cut(
    tidegate: StartTidegate,
    database: Database,
    tmp_path: Path,
    statement: str,
    behind: str,
    half_done: str,
    result: str,
) -> None:
    up(tidegate, database, migrations_in(tmp_path / "first", {1: PARTITIONED}))
    other = await database.connect()
    await other.execute(behind)
    source = migrations_in(tmp_path / "sql", {1: PARTITIONED, 2: f"{statement};\n"} | tables(3))
    worker = start_worker(tidegate, database.dsn, "--source", source)
    eventually(lambda: database.psql(half_done) == "t", "the statement is half done")

    database.server.restart()
    other.terminate()

    worker.until("/readyz?at_least=3")
    worker.process.wait_for_event("segment.recovered", version=2, index=1)
    assert applied(database) == ["1", "2", "3"]
    assert database.psql(result) == "t"
    assert database.psql(LEFT_OVER) == "0"
    assert database.psql("SELECT count(*) FROM tidegate.journal") == "0"
    assert worker.stop() == 0


def test_a_crash_soon_after_bootstrap_sets_no_number_of_the_history_back(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    finish(tidegate("admin", "upgrade", env={"DB_URL": database.dsn}))
    up(tidegate, database, migrations_in(tmp_path / "sql", tables(1, 2, 3)))
    before = database.psql("SELECT id, target, version FROM tidegate.history ORDER BY 1")

    database.server.restart()

    up(tidegate, database, migrations_in(tmp_path / "sql", tables(1, 2, 3, 4, 5)))
    assert applied(database) == ["1", "2", "3", "4", "5"]
    assert database.psql("SELECT id, target, version FROM tidegate.history ORDER BY 1").startswith(before)
