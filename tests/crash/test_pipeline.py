"""A worker is killed while several migrations are in one message: the first ones are there afterwards, and no half."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.cluster import Server, Shutdown, running_server
from tests.fixtures.fleets import TENANTS, Fleet, names
from tests.fixtures.halts import halted
from tests.fixtures.processes import Process, StartTidegate
from tests.fixtures.scenes import nothing_is_left
from tests.fixtures.servers import Database, fresh_database
from tests.fixtures.workers import applied, eventually, finish, migrations_in, sleeping, tables

COUNT = 12
# Sleeps only where nobody has marked the database.
SLEEPING = "CREATE TABLE t3 (a int); SELECT pg_sleep(60) WHERE to_regclass('mark') IS NULL"
STATE = "SELECT array_agg(version ORDER BY version) FROM tidegate.ledger WHERE target LIKE 'public.%'"
NUMBERS = "SELECT substr(relname, 2)::int AS v FROM pg_class WHERE relname ~ '^t[0-9]+$'"
TABLES = f"SELECT array_agg(v ORDER BY v) FROM ({NUMBERS}) AS x"
STANDBY = "SELECT query FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
READY = f"SELECT tidegate.ready(at_least => {COUNT})"


def source_in(folder: Path, count: int = COUNT) -> Path:
    return migrations_in(folder, tables(*range(1, count + 1)))


def highest(database: Database) -> int:
    """The version up to which everything is applied, as ledger, history, version table and schema say alike."""
    rows = database.psql(STATE)
    last = len(rows.split(",")) if rows else 0
    assert rows == ("{" + ",".join(map(str, range(1, last + 1))) + "}" if last else "")
    assert database.psql(STATE.replace("ledger", "history")) == rows
    assert database.psql("SELECT version, dirty FROM schema_migrations") == (f"{last}|f" if last else "")
    assert database.psql(TABLES) == rows
    return last


def up(tidegate: StartTidegate, database: Database, source: Path) -> None:
    finish(tidegate("up", "--source", source, env={"DB_URL": database.dsn}))


def asleep_in_the_third(tidegate: StartTidegate, database: Database, folder: Path) -> tuple[Process, Path]:
    """A run behind the first migration that stands still in the third, in a message, and its source."""
    source = migrations_in(folder / "sql", tables(*range(1, COUNT + 1)) | {3: SLEEPING})
    up(tidegate, database, source_in(folder / "first", 1))
    process = tidegate("up", "--source", source, env={"DB_URL": database.dsn})
    eventually(lambda: len(sleeping(database)) == 1, "the third one sleeps")
    return process, source


def test_a_kill_in_the_middle_of_a_message_leaves_those_before_it_and_the_next_up_applies_the_rest(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    source = migrations_in(tmp_path / "sql", tables(*range(1, COUNT + 1)) | {3: SLEEPING})
    process = tidegate("up", "--source", source, env={"DB_URL": database.dsn})
    eventually(lambda: len(sleeping(database)) == 1, "the third one sleeps")

    process.kill()
    assert process.wait() == -9

    nothing_is_left(database)
    assert highest(database) == 2
    assert database.psql(READY) == "f"
    database.psql("CREATE TABLE mark ()")
    up(tidegate, database, source)
    assert highest(database) == COUNT


# The control schema is made by the first message of a first run, and the first migration runs by itself.
@pytest.mark.parametrize("times", [3, 4, 5])
@pytest.mark.parametrize("name", ["sending", "sent"])
def test_a_kill_around_each_message_leaves_the_first_ones_and_the_next_up_applies_the_rest(
    tidegate: StartTidegate, database: Database, tmp_path: Path, name: str, times: int
) -> None:
    source = source_in(tmp_path / "sql")
    process = halted(tidegate, database.dsn, source, name, times)

    process.kill()
    process.wait()

    nothing_is_left(database)
    left = highest(database)
    assert left >= 1
    assert database.psql(READY) == "f"
    up(tidegate, database, source)
    assert highest(database) == COUNT
    assert applied(database) == [str(version) for version in range(1, COUNT + 1)]


def test_a_server_that_crashes_in_the_middle_of_a_message_keeps_a_beginning_and_the_run_goes_on(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    process, _ = asleep_in_the_third(tidegate, database, tmp_path)

    # What is marked waits for the disk, and with it all that was committed before.
    database.psql("CREATE TABLE mark ()")
    database.server.restart()

    finish(process)
    assert highest(database) == COUNT


def test_a_server_that_crashes_with_commits_that_are_not_on_disk_keeps_a_beginning(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    process, source = asleep_in_the_third(tidegate, database, tmp_path)

    process.kill()
    process.wait()
    database.server.restart()

    assert highest(database) in {1, 2}
    database.psql("CREATE TABLE mark ()")
    up(tidegate, database, source)
    assert highest(database) == COUNT


@pytest.fixture
def logged(server: Server) -> Iterator[Database]:
    """A database on a server of its own, whose commits wait for the disk, and for standbys where some are named."""
    with running_server(server.version, server.binaries) as own:
        own.configure("wal_level = replica", "max_wal_senders = 2", "synchronous_commit = on")
        own.restart(Shutdown.FAST)
        with fresh_database(own) as database:
            yield database


def wait_for_nobody(database: Database) -> None:
    """Have each commit wait for a standby that does not come; a session knows once its server process idles."""
    database.psql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'; SELECT pg_reload_conf()")
    eventually(lambda: database.psql("SHOW synchronous_standby_names") == "nobody", "new sessions know of it")


def test_the_gate_stays_shut_while_no_standby_has_what_a_cut_message_committed(
    tidegate: StartTidegate, logged: Database, tmp_path: Path
) -> None:
    # The third message holds two migrations.
    process = halted(tidegate, logged.dsn, source_in(tmp_path / "sql", 3), "sending", 3)
    wait_for_nobody(logged)
    try:
        process.thaw()

        # The message's own wait was ended by its limit, and what it committed is recorded.
        process.wait_for_event("migration.finished", version=3)
        eventually(lambda: "set_config" in logged.psql(STANDBY), "the readiness row waits for a standby")
        assert highest(logged) == 3
        assert logged.psql("SELECT tidegate.ready(at_least => 1)") == "f"
    finally:
        logged.psql("ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()")
    finish(process)
    assert logged.psql("SELECT tidegate.ready(at_least => 3)") == "t"


def test_no_gate_of_a_fleet_opens_while_no_standby_has_what_opens_it(
    tidegate: StartTidegate, logged: Database, tmp_path: Path
) -> None:
    fleet = Fleet(tidegate, logged, tmp_path)
    fleet.schemas(names(1))
    fleet.declare(TENANTS)
    fleet.up()
    fleet.migrations({"0003_c.up.sql": "CREATE TABLE c ()"})
    process = halted(tidegate, logged.dsn, fleet.source, "sending", 1, "up", "--fleet", str(fleet.file))
    wait_for_nobody(logged)
    gate = "SELECT tidegate.ready(at_least => 3, target => 'tenant_0.schema_migrations')"
    try:
        process.thaw()

        # Behind a message that was cut something else waits.
        eventually(lambda: (asked := logged.psql(STANDBY)) and "readiness" not in asked, "a commit waits for a standby")
        assert logged.psql(gate) == "f"
    finally:
        logged.psql("ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()")
    finish(process)
    assert logged.psql(gate) == "t"
