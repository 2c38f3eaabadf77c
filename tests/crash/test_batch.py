"""A worker is killed while migrations share a transaction: all of them are there afterwards, or none."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fixtures.halts import halted
from tests.fixtures.processes import StartTidegate
from tests.fixtures.scenes import nothing_is_left
from tests.fixtures.servers import Database
from tests.fixtures.workers import applied, eventually, finish, migrations_in, sleeping, tables

BATCH = ("--batch", "10")
# Sleeps only where nobody has marked the database.
SLEEPING = "CREATE TABLE t3 (a int); SELECT pg_sleep(60) WHERE to_regclass('mark') IS NULL"
STATE = "SELECT array_agg(version ORDER BY version) FROM tidegate.ledger WHERE target LIKE 'public.%'"
TABLES = "SELECT count(*) FROM pg_class WHERE relname ~ '^t[1-4]$'"
TRANSACTIONS = "SELECT count(DISTINCT xmin::text) FROM tidegate.ledger WHERE target LIKE 'public.%'"


def up(tidegate: StartTidegate, database: Database, source: Path, *flags: str) -> None:
    finish(tidegate("up", "--source", source, *flags, env={"DB_URL": database.dsn}))


def has(database: Database, versions: Sequence[int]) -> None:
    """Ledger, history, version table and schema say that these are applied, and nothing else."""
    rows = "{" + ",".join(map(str, versions)) + "}" if versions else ""
    assert database.psql(STATE) == rows
    assert database.psql(STATE.replace("ledger", "history")) == rows
    assert database.psql("SELECT version, dirty FROM schema_migrations") == (f"{versions[-1]}|f" if versions else "")
    assert database.psql(TABLES) == str(len(versions))


def test_a_kill_in_the_middle_of_a_batch_leaves_none_of_it_and_the_next_up_applies_all(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    source = migrations_in(tmp_path / "sql", tables(1, 2, 3, 4) | {3: SLEEPING})
    process = tidegate("up", "--source", source, *BATCH, env={"DB_URL": database.dsn})
    eventually(lambda: len(sleeping(database)) == 1, "the third one sleeps")

    process.kill()
    assert process.wait() == -9

    nothing_is_left(database)
    has(database, ())
    database.psql("CREATE TABLE mark ()")
    up(tidegate, database, source, *BATCH)
    has(database, (1, 2, 3, 4))
    assert database.psql(TRANSACTIONS) == "1"


# The control schema is made by the first message of a first run.
@pytest.mark.parametrize(("name", "left"), [("sending", ()), ("sent", (1, 2, 3, 4))])
def test_a_kill_around_the_message_of_a_batch_leaves_all_of_it_or_none(
    tidegate: StartTidegate, database: Database, tmp_path: Path, name: str, left: tuple[int, ...]
) -> None:
    source = migrations_in(tmp_path / "sql", tables(1, 2, 3, 4))
    process = halted(tidegate, database.dsn, source, name, 2, "up", *BATCH)

    process.kill()
    process.wait()

    nothing_is_left(database)
    has(database, left)
    up(tidegate, database, source, *BATCH)
    has(database, (1, 2, 3, 4))
    assert applied(database) == ["1", "2", "3", "4"]


def test_a_server_that_restarts_in_the_middle_of_a_batch_leaves_none_of_it_and_the_run_goes_on(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    source = migrations_in(tmp_path / "sql", tables(1, 2, 3, 4) | {3: SLEEPING})
    up(tidegate, database, migrations_in(tmp_path / "first", tables(1)))
    process = tidegate("up", "--source", source, *BATCH, env={"DB_URL": database.dsn})
    eventually(lambda: len(sleeping(database)) == 1, "the third one sleeps")

    database.psql("CREATE TABLE mark ()")
    database.server.restart()

    finish(process)
    has(database, (1, 2, 3, 4))
