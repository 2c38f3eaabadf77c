"""A command that is no worker is asked to stop: what it began is undone, and a shell is told of the signal."""

import os
import signal
import sys
from contextlib import closing
from pathlib import Path

from tests.fixtures.processes import ROOT, Process, StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.workers import backends, eventually, locks, migrations_in, sleeping, tables


def test_up_in_the_middle_of_a_migration_rolls_back_and_lets_go(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    sql = migrations_in(tmp_path / "sql", {**tables(1), 2: "CREATE TABLE t2 (a int); SELECT pg_sleep(60)"})
    up = tidegate("up", "--source", sql, env={"DB_URL": database.dsn})
    eventually(lambda: len(sleeping(database)) == 1, "the migration sleeps")
    up.terminate()
    assert up.wait(20) == 143, up.report()
    eventually(lambda: not backends(database) and locks(database) == 0, "nothing is left")
    assert database.psql("SELECT version, dirty FROM schema_migrations") == "1|f"
    assert database.psql("SELECT to_regclass('t1') IS NOT NULL, to_regclass('t2') IS NULL") == "t|t"
    assert "Traceback" not in up.stderr


def test_a_gate_tells_of_the_signal(tidegate: StartTidegate, database: Database) -> None:
    gate = tidegate("wait", "--at-least", "1", env={"DB_URL": database.dsn})
    gate.wait_for_event("gate.waiting")
    gate.terminate()
    assert gate.wait(20) == 143, gate.report()
    assert "Traceback" not in gate.stderr


def in_the_background(database: Database, *words: str) -> Process:
    """The command as a shell starts it in the background: it ignores SIGINT."""
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-m", "worker", *words]
    return Process(command, {"DB_URL": database.dsn, "PATH": os.environ["PATH"]}, ROOT)


def test_a_gate_that_a_shell_started_in_the_background_tells_of_it_too(database: Database) -> None:
    with closing(in_the_background(database, "wait", "--at-least", "1")) as gate:
        gate.wait_for_event("gate.waiting")
        os.kill(gate.pid, signal.SIGINT)
        gate.terminate()
        assert gate.wait(20) == 143, gate.report()
        assert "Traceback" not in gate.stderr


def test_what_follows_a_gate_in_the_background_ignores_ctrl_c_as_it_would_have(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    sql = migrations_in(tmp_path / "sql", tables(1))
    assert tidegate("up", "--source", sql, env={"DB_URL": database.dsn}).wait(30) == 0
    command = ("sh", "-c", "kill -INT $$; echo it goes on")
    with closing(in_the_background(database, "exec", "--at-least", "1", "--", *command)) as following:
        assert following.wait(30) == 0, following.report()
        assert "it goes on" in following.stdout
