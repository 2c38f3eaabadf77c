"""Through PgBouncer nothing is migrated, whatever its mode, since session locks do not hold there; the gate works."""

from pathlib import Path

import pytest

from tests.fixtures.command_line import call, content, files
from tests.fixtures.pgbouncer import Mode, Parameters, pooled
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.workers import finish, start_worker
from worker.errors import ExitCode


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return files(tmp_path / "sql", _1_one="CREATE TABLE t1 (a int)")


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("parameters", Parameters)
def test_migrating_is_refused_and_nothing_is_changed(
    database: Database, source: Path, mode: Mode, parameters: Parameters
) -> None:
    before = content(database)
    with pooled(database, mode, parameters) as dsn:
        said = call("up", "--source", source, DB_URL=dsn)

    said.is_error(ExitCode.REFUSED, "a pooler stands before the server")
    assert content(database) == before


@pytest.mark.parametrize("mode", Mode)
def test_the_gate_holds_until_the_schema_is_ready_and_then_opens(
    tidegate: StartTidegate, database: Database, source: Path, mode: Mode
) -> None:
    with pooled(database, mode) as dsn:
        gate = tidegate("wait", "--at-least", "1", "--timeout", "20s", env={"DB_URL": dsn})
        gate.wait_for_event("gate.waiting")
        assert call("wait", "--at-least", "1", "--timeout", "0", DB_URL=dsn).code == ExitCode.TIMED_OUT

        assert call("up", "--source", source, DB_URL=database.dsn).code == ExitCode.OK

        finish(gate)
        assert call("wait", "--at-least", "1", "--timeout", "0", DB_URL=dsn).code == ExitCode.OK


def test_a_worker_says_why_it_does_nothing_and_goes_on_asking(
    tidegate: StartTidegate, database: Database, source: Path
) -> None:
    before = content(database)
    with pooled(database, Mode.TRANSACTION, Parameters.DROPPED) as dsn:
        worker = start_worker(tidegate, dsn, "--source", source)
        refused = worker.process.wait_for_event("job.failed")
        unheard = worker.process.wait_for_event("listener.lost")

        assert (refused["reason"], unheard["cause"]) == ("pooler", "pooler")
        assert worker.answers("/readyz?at_least=1") == 503
        assert worker.stop() == 0
    assert content(database) == before
