"""A readiness row holds for the database that it was written in; in a copy it holds once the ledger was checked."""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import pytest

from tests.fixtures.command_line import call, files
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database, fresh_database
from tests.fixtures.workers import applied, start_worker
from worker.errors import ExitCode

EPOCH = "SELECT epoch FROM tidegate.fence WHERE target = 'public.schema_migrations'"
READY = "SELECT tidegate.ready(at_least => 1)"


class Copied(Enum):
    """How a database came to be a copy of another one."""

    RESTORED = "a restored dump"
    CLONED = "a clone of a template"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return files(tmp_path / "sql", _1_one="CREATE TABLE t1 (a int)")


@pytest.fixture(params=Copied)
def copy(request: pytest.FixtureRequest, database: Database, source: Path) -> Iterator[Database]:
    """A copy of a database that is ready for version 1."""
    assert call("up", "--source", source, DB_URL=database.dsn).code == ExitCode.OK
    with fresh_database(database.server) as made:
        if request.param is Copied.RESTORED:
            made.psql(database.server.dump(database.name))
        else:
            database.server.psql(f"DROP DATABASE {made.name}")
            database.server.psql(f"CREATE DATABASE {made.name} TEMPLATE {database.name}")
        yield made


def gate(database: Database) -> int:
    """How a gate for version 1 that looks once ends."""
    return call("wait", "--at-least", "1", "--timeout", "0", DB_URL=database.dsn).code


def test_a_copy_is_not_ready_and_looking_does_not_make_it_so(copy: Database, source: Path) -> None:
    for verb in (("plan", "--source", source), ("status",), ("version",)):
        assert call(*verb, DB_URL=copy.dsn).code == ExitCode.OK

    assert copy.psql(READY) == "f"
    assert gate(copy) == ExitCode.TIMED_OUT
    assert "another database" in call("wait", "--at-least", "1", "--timeout", "0", DB_URL=copy.dsn).err


def test_an_up_checks_the_ledger_stamps_the_copy_and_says_so(database: Database, copy: Database, source: Path) -> None:
    epoch = int(copy.psql(EPOCH))

    said = call("up", "--source", source, DB_URL=copy.dsn)

    assert (said.code, said.out) == (ExitCode.OK, "public.schema_migrations: nothing to do; it is at version 1\n")
    assert '"event": "readiness.foreign"' in said.err
    assert (copy.psql(READY), gate(copy)) == ("t", ExitCode.OK)
    assert int(copy.psql(EPOCH)) > epoch
    assert applied(copy) == ["1"]
    assert (database.psql(READY), gate(database)) == ("t", ExitCode.OK)


def test_a_worker_stamps_the_copy_and_goes_on_from_there(tidegate: StartTidegate, copy: Database, source: Path) -> None:
    worker = start_worker(tidegate, copy.dsn, "--source", files(source, _2_two="CREATE TABLE t2 (a int)"))

    worker.until("/readyz?at_least=2")
    worker.process.wait_for_event("readiness.foreign")
    assert applied(copy) == ["1", "2"]


def test_a_copy_whose_version_table_is_dirty_is_not_made_ready(copy: Database, source: Path) -> None:
    copy.psql("UPDATE schema_migrations SET dirty = true")

    said = call("up", "--source", source, DB_URL=copy.dsn)

    assert said.code == ExitCode.REFUSED
    assert (copy.psql(READY), gate(copy)) == ("f", ExitCode.TIMED_OUT)
