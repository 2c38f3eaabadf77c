"""Anybody may NOTIFY: a flood of forged notifications costs few queries and does nothing, and a true one is heard."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.command_line import call, content
from tests.fixtures.processes import StartTidegate
from tests.fixtures.relay import Sender, beside
from tests.fixtures.servers import Database
from tests.fixtures.wire import Wire
from tests.fixtures.workers import applied, finish, migrations_in, start_worker, tables
from worker.errors import ExitCode

FLOOD = 3000
# A look is four queries at most, and a query five messages.
A_LOOK = 20
A_JOB = 150


@pytest.fixture
def stranger(database: Database) -> Iterator[str]:
    """The URL of a role that has no right at all but to log in."""
    role = f"stranger_{database.name}"
    database.psql(f"CREATE ROLE {role} LOGIN PASSWORD 'stranger'")
    yield database.dsn_as(role, "stranger")
    database.psql(f"DROP ROLE {role}")


def flood(database: Database, dsn: str, channel: str) -> None:
    """Thousands of notifications, each in a transaction of its own."""
    command = [str(database.server.clients / "psql"), "-XAtqv", "ON_ERROR_STOP=1", "-d", dsn, "-f", "-"]
    script = "".join(f"NOTIFY {channel}, 'forged {number}';\n" for number in range(FLOOD))
    subprocess.run(command, input=script, check=True, text=True)


def test_a_flooded_worker_looks_a_few_times_writes_nothing_and_hears_a_publish(
    tidegate: StartTidegate, database: Database, tmp_path: Path, stranger: str
) -> None:
    wire = Wire(database.server.port)
    with beside(wire):
        worker = start_worker(tidegate, wire.leading_to(database), "--source", migrations_in(tmp_path, tables(1)))
        worker.until("/readyz?at_least=1")
        worker.process.wait_for_event("listener.connected")
        before, passed = content(database), wire.passed[Sender.CLIENT]

        flood(database, stranger, "tidegate_wake")

        assert content(database) == before
        finish(tidegate("publish", migrations_in(tmp_path, tables(2)), env={"DB_URL": database.dsn}))
        # It was sent behind the flood, which is all over by then.
        worker.until("/readyz?at_least=2")
    assert wire.passed[Sender.CLIENT] - passed < 15 * A_LOOK + A_JOB
    assert applied(database) == ["1", "2"]


def test_a_flooded_gate_looks_a_few_times_and_opens_when_the_schema_is_ready(
    tidegate: StartTidegate, database: Database, tmp_path: Path, stranger: str
) -> None:
    folder = migrations_in(tmp_path, tables(1))
    assert call("up", "--source", folder, DB_URL=database.dsn).code == ExitCode.OK
    wire = Wire(database.server.port)
    with beside(wire):
        gate = tidegate("wait", "--at-least", "2", "--timeout", "60s", env={"DB_URL": wire.leading_to(database)})
        gate.wait_for_event("gate.waiting")
        passed = wire.passed[Sender.CLIENT]

        flood(database, stranger, "tidegate_ready")

        assert gate.exit_code is None
        assert call("up", "--source", migrations_in(folder, tables(2)), DB_URL=database.dsn).code == ExitCode.OK
        finish(gate)
    assert wire.passed[Sender.CLIENT] - passed < 15 * A_LOOK
