"""A point-in-time recovery takes schema and readiness back together: no gate closes by itself, the worker notices."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.cluster import Server
from tests.fixtures.command_line import call
from tests.fixtures.processes import StartTidegate
from tests.fixtures.recovery import Archived, archived_server
from tests.fixtures.scenes import Manner, facts, source, up
from tests.fixtures.servers import Database
from tests.fixtures.workers import applied, finish, migrations_in, start_worker, tables
from worker.errors import ExitCode


@pytest.fixture
def archived(server: Server) -> Iterator[Archived]:
    with archived_server(server.version, server.binaries) as own:
        yield own


def gate(database: Database, version: int) -> int:
    """How a gate that looks once ends."""
    return call("wait", "--at-least", str(version), "--timeout", "0", DB_URL=database.dsn).code


def test_a_recovery_to_a_moment_before_a_migration_is_noticed_and_what_was_ready_then_is_ready(
    tidegate: StartTidegate, archived: Archived, tmp_path: Path
) -> None:
    database = Database("postgres", archived.server)
    up(database, migrations_in(tmp_path / "one", tables(1)))
    archived.back_up()
    archived.name_this_moment("before")
    worker = start_worker(tidegate, database.dsn, "--source", tmp_path / "one", "--poll-interval", "1s")
    worker.until("/readyz?at_least=1")
    two = source(tmp_path / "two", Manner.TRANSACTIONAL)
    finish(tidegate("publish", two, env={"DB_URL": database.dsn}))
    worker.until("/readyz?at_least=2")
    epoch = facts(database).epoch

    archived.go_back_to("before")

    # Nobody has stamped the row anew: what is there now is what was there then.
    assert (gate(database, 1), gate(database, 2)) == (ExitCode.OK, ExitCode.TIMED_OUT)
    assert (applied(database), facts(database).ready) == (["1"], [1])
    told = worker.process.wait_for_event("database.changed")
    assert (told["before"][-10:], told["now"][-10:]) == ("timeline 1", "timeline 2")
    assert told["before"][:-10] == told["now"][:-10]
    worker.until("/readyz?at_least=2", 503)
    worker.until("/readyz?at_least=1")
    assert worker.target()["version"] == 1
    assert facts(database).epoch < epoch

    # What was lost is published again, and applied once in this history.
    finish(tidegate("publish", two, env={"DB_URL": database.dsn}))
    worker.until("/readyz?at_least=2")
    facts(database).are_whole()


def test_a_recovery_to_a_moment_within_a_journalled_migration_is_taken_up_there(
    archived: Archived, tmp_path: Path
) -> None:
    database = Database("postgres", archived.server)
    up(database, migrations_in(tmp_path / "one", tables(1)))
    archived.back_up()
    two = source(tmp_path / "two", Manner.JOURNALLED)
    # The last part of three cannot run yet.
    database.psql("ALTER TABLE t1 RENAME TO hidden")
    assert call("up", "--source", two, DB_URL=database.dsn).code == ExitCode.FAILED
    database.psql("ALTER TABLE hidden RENAME TO t1")
    archived.name_this_moment("half way")
    up(database, two)
    facts(database).are_whole()

    archived.go_back_to("half way")

    facts(database).agree()
    assert (facts(database).done, gate(database, 1), gate(database, 2)) == ([0, 1], ExitCode.OK, ExitCode.TIMED_OUT)
    up(database, two)
    facts(database).are_whole()
