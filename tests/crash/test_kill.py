"""The worker, or its connection, is killed in the middle: what was not committed is not there, what was is kept."""

from pathlib import Path

from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.workers import (
    Worker,
    applied,
    complaints,
    eventually,
    finish,
    migrations_in,
    sleeping,
    start_worker,
    tables,
)

# Sleeps only where nobody has marked the database, so that the same file ends at once when it is tried again.
WAITING = """
CREATE TABLE t2 (a int);
INSERT INTO t2 VALUES (2);
SELECT pg_sleep(60) WHERE to_regclass('mark') IS NULL;
"""
SCHEMA = "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"


def held_up(tmp_path: Path) -> Path:
    """Three migrations, of which the second one sleeps until the database is marked."""
    return migrations_in(tmp_path / "sql", tables(1, 2, 3) | {2: WAITING})


def in_the_middle(tidegate: StartTidegate, database: Database, source: Path) -> Worker:
    """A worker whose second migration sleeps at this moment."""
    worker = start_worker(tidegate, database.dsn, "--source", source)
    eventually(lambda: len(sleeping(database)) == 1, "the migration sleeps")
    return worker


def mark(database: Database) -> None:
    database.psql("CREATE TABLE mark ()")


def up(tidegate: StartTidegate, database: Database, source: Path) -> None:
    finish(tidegate("up", "--source", source, env={"DB_URL": database.dsn}))


def is_whole(database: Database) -> None:
    """As after a clean run: every version once, nothing half done, the two records agree."""
    assert applied(database) == ["1", "2", "3"]
    assert database.psql("SELECT version FROM tidegate.ledger WHERE target LIKE 'public.%' ORDER BY 1") == "1\n2\n3"
    assert database.psql("SELECT version, dirty FROM schema_migrations") == "3|f"
    assert database.psql("SELECT count(*) FROM tidegate.journal") == "0"
    assert database.psql("SELECT state FROM tidegate.job") == "succeeded"
    tables_there = ["mark|r", "schema_migrations|r", "schema_migrations_pkey|i", "t1|r", "t2|r", "t3|r"]
    assert database.psql(SCHEMA).split() == tables_there


def test_after_a_kill_in_a_transaction_the_next_up_applies_the_rest(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    source = held_up(tmp_path)
    worker = in_the_middle(tidegate, database, source)

    worker.process.kill()
    assert worker.process.wait() == -9
    mark(database)
    up(tidegate, database, source)

    is_whole(database)
    assert database.psql("SELECT a FROM t2") == "2"


def test_after_a_kill_another_worker_that_waits_takes_over(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    source = held_up(tmp_path)
    first = in_the_middle(tidegate, database, source)
    second = start_worker(tidegate, database.dsn, "--source", source)
    second.process.wait_for_event("lock.waiting", ours=True)
    mark(database)

    first.process.kill()

    second.until("/readyz?at_least=3")
    is_whole(database)
    assert complaints(second.process) == []
    acquired = [event["epoch"] for event in second.process.events if event["event"] == "lock.acquired"]
    assert acquired > [event["epoch"] for event in first.process.events if event["event"] == "lock.acquired"]


async def test_after_a_kill_in_a_concurrent_index_build_the_next_run_leaves_a_valid_index(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    source = migrations_in(
        tmp_path / "sql", tables(1, 3) | {2: "CREATE INDEX CONCURRENTLY t1_a ON t1 (a);\n", 4: "CREATE TABLE t4 ();\n"}
    )
    up(tidegate, database, migrations_in(tmp_path / "first", tables(1)))
    old = await database.connect()
    # An older snapshot holds the build up in its last phase, when the index is there and not valid yet.
    await old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
    worker = start_worker(tidegate, database.dsn, "--source", source)
    invalid = "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('t1_a') AND NOT indisvalid"
    eventually(lambda: database.psql(invalid) == "1", "the index is half built")

    worker.process.kill()
    worker.process.wait()
    await old.close()
    up(tidegate, database, source)

    assert applied(database) == ["1", "2", "3", "4"]
    assert database.psql("SELECT indisvalid FROM pg_index WHERE indexrelid = 't1_a'::regclass") == "t"
    assert database.psql("SELECT count(*) FROM pg_index WHERE indrelid = 't1'::regclass") == "1"
    assert database.psql("SELECT count(*) FROM tidegate.journal") == "0"


def test_when_the_backend_is_terminated_nothing_is_committed_and_it_is_tried_again(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    worker = in_the_middle(tidegate, database, held_up(tmp_path))
    mark(database)
    assert applied(database) == ["1"]

    database.psql(f"SELECT pg_terminate_backend({sleeping(database)[0]})")

    worker.until("/readyz?at_least=3")
    is_whole(database)
    assert database.psql("SELECT a FROM t2") == "2"
    worker.process.wait_for_event("database.unreachable")
    assert complaints(worker.process) == []
