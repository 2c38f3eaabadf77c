"""What the log looks like on a real terminal, and off it."""

import json
import os
import pty
import sys
from pathlib import Path

import pytest

from tests.fixtures.processes import ROOT, Process, StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.workers import finish, migrations_in, tables

COLOUR = "\x1b["


def on_a_terminal(database: Database, source: Path, **extra: str) -> str:
    """What `up` writes to a terminal as its standard error."""
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    env = {"DB_URL": database.dsn, "PYTHONPATH": str(ROOT), "TERM": "xterm", "PATH": os.environ["PATH"], **extra}
    program = f"exec {sys.executable} -m worker up --log-level info --source {source} 2>{name}"
    process = Process(["/bin/sh", "-c", program], env, ROOT)
    try:
        assert process.wait() == 0, process.report()
        os.close(theirs)
        return _drained(ours)
    finally:
        process.close()
        os.close(ours)


def _drained(terminal: int) -> str:
    """Everything that was written; a terminal that nobody holds open any more gives an error at its end."""
    said = b""
    while True:
        try:
            said += os.read(terminal, 65536)
        except OSError:
            return said.decode()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return migrations_in(tmp_path / "sql", tables(1))


def test_a_terminal_gets_coloured_lines(database: Database, source: Path) -> None:
    said = on_a_terminal(database, source)
    assert COLOUR in said
    assert "migration.finished" in said
    assert not [line for line in said.splitlines() if line.startswith("{")]


def test_no_color_takes_the_colour_away_and_nothing_else(database: Database, source: Path) -> None:
    said = on_a_terminal(database, source, NO_COLOR="1")
    assert COLOUR not in said
    assert "migration.finished" in said


def test_off_a_terminal_each_line_of_the_log_is_json(tidegate: StartTidegate, database: Database, source: Path) -> None:
    up = tidegate("up", "--log-level", "info", "--source", source, env={"DB_URL": database.dsn})
    finish(up)
    assert "migration.finished" in [json.loads(line)["event"] for line in up.stderr.splitlines()]
