"""The holder of the lock freezes, dies or is cut off: another worker takes over, and the first one writes nothing."""

import time
from pathlib import Path

import pytest

from tests.fixtures.halts import generated, halted
from tests.fixtures.network import free_port
from tests.fixtures.processes import Process, StartTidegate
from tests.fixtures.relay import Relay, beside
from tests.fixtures.scenes import Manner, facts, source, up
from tests.fixtures.servers import Database
from tests.fixtures.workers import Worker, applied, eventually, finish, migrations_in, sleeping, start_worker, tables

# Ends at once where the database is marked, so that the same file can be tried again.
WAITING = "CREATE TABLE t2 (a int);\nSELECT pg_sleep(40) WHERE to_regclass('mark') IS NULL;\n"
RECORDS = "SELECT * FROM tidegate.{0} AS t ORDER BY t::text"


def frozen(tidegate: StartTidegate, database: Database, folder: Path, name: str, times: int) -> Worker:
    """A worker that stands still at a checkpoint behind the lock."""
    port = free_port()
    process = halted(tidegate, database.dsn, folder, name, times, "run", "--http-port", str(port))
    return Worker(process, port)


def end_backends_of(process: Process, database: Database) -> None:
    """What the process is connected by is gone on the server, and the process does not know."""
    database.psql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        f" WHERE application_name LIKE 'tidegate%-{process.pid}'"
    )


def records(database: Database) -> list[str]:
    """What a worker could write: every row of every table of the control schema."""
    names = ("fence", "ledger", "history", "journal", "readiness", "bundle", "job", "job_event")
    return [database.psql(RECORDS.format(name)) for name in names]


def takes_part_again(first: Worker, second: Worker, tidegate: StartTidegate, database: Database, folder: Path) -> None:
    """With the second one gone, the first one applies what is published next."""
    assert second.stop() == 0
    finish(tidegate("publish", migrations_in(folder, tables(3)), env={"DB_URL": database.dsn}))
    first.until("/readyz?at_least=3")
    worker = database.psql("SELECT worker FROM tidegate.ledger WHERE version = 3 AND target LIKE 'public.%'")
    assert worker.endswith(f"-{first.process.pid}")
    assert applied(database) == ["1", "2", "3"]


BEHIND_THE_LOCK = (("locked", 1), ("fenced", 1), ("sending", 1), ("sent", 1), ("committing", 2))


@pytest.mark.parametrize(
    ("manner", "name", "times"), generated([(manner, *at) for manner in Manner for at in BEHIND_THE_LOCK], 3)
)
def test_a_holder_that_froze_and_lost_its_lock_writes_nothing_when_it_thaws(
    tidegate: StartTidegate, database: Database, tmp_path: Path, manner: Manner, name: str, times: int
) -> None:
    up(database, migrations_in(tmp_path, tables(1)))
    first = frozen(tidegate, database, source(tmp_path, manner), name, times)
    second = start_worker(tidegate, database.dsn, "--source", tmp_path)
    second.process.wait_for_event("lock.waiting", ours=True)
    facts(database).agree()

    end_backends_of(first.process, database)

    second.until("/readyz?at_least=2")
    eventually(lambda: facts(database).job == "succeeded", "the job is recorded")
    facts(database).are_whole()
    before = records(database)
    first.process.thaw()
    first.process.wait_for_event("database.unreachable")
    first.until("/readyz?at_least=2")
    assert records(database) == before
    takes_part_again(first, second, tidegate, database, tmp_path)


def test_a_holder_that_froze_in_a_body_has_it_committed_by_its_backend_and_finds_it_done(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    folder = migrations_in(tmp_path, tables(1) | {2: "CREATE TABLE t2 (a int);\nSELECT pg_sleep(1);\n"})
    first = start_worker(tidegate, database.dsn, "--source", folder)
    eventually(lambda: len(sleeping(database)) == 1, "the migration sleeps")
    first.process.freeze()
    second = start_worker(tidegate, database.dsn, "--source", folder)
    second.process.wait_for_event("lock.waiting", ours=True)
    eventually(lambda: applied(database) == ["1", "2"], "the backend has committed")
    assert database.psql("SELECT versions FROM tidegate.readiness") == ""

    end_backends_of(first.process, database)

    second.until("/readyz?at_least=2")
    first.process.thaw()
    first.until("/readyz?at_least=2")
    assert applied(database) == ["1", "2"]
    takes_part_again(first, second, tidegate, database, folder)


def test_a_lock_backend_that_is_ended_in_a_body_hands_over_and_nothing_of_the_body_is_there(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    folder = migrations_in(tmp_path, tables(1) | {2: WAITING})
    first = start_worker(tidegate, database.dsn, "--source", folder)
    eventually(lambda: len(sleeping(database)) == 1, "the migration sleeps")
    first.process.freeze()
    end_backends_of(first.process, database)
    assert database.psql("SELECT to_regclass('t2') IS NULL") == "t"
    database.psql("CREATE TABLE mark ()")

    second = start_worker(tidegate, database.dsn, "--source", folder)

    second.until("/readyz?at_least=2")
    first.process.thaw()
    first.until("/readyz?at_least=2")
    takes_part_again(first, second, tidegate, database, folder)


def in_the_middle(tidegate: StartTidegate, database: Database, dsn: str, folder: Path) -> tuple[Worker, Worker]:
    """A worker whose migration sleeps at this moment, and one that waits for its lock."""
    first = start_worker(tidegate, dsn, "--source", folder)
    eventually(lambda: len(sleeping(database)) == 1, "the migration sleeps")
    second = start_worker(tidegate, database.dsn, "--source", folder)
    second.process.wait_for_event("lock.waiting", ours=True)
    database.psql("CREATE TABLE mark ()")
    return first, second


def test_a_holder_that_is_killed_in_a_statement_is_replaced_within_a_second(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    folder = migrations_in(tmp_path, tables(1) | {2: WAITING})
    first, second = in_the_middle(tidegate, database, database.dsn, folder)

    first.process.kill()
    began = time.monotonic()

    second.process.wait_for_event("lock.acquired")
    assert time.monotonic() - began < 1
    second.until("/readyz?at_least=2")
    assert applied(database) == ["1", "2"]


@pytest.mark.slow
def test_a_holder_whose_packets_vanish_is_replaced_within_fifteen_seconds_and_comes_back(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    folder = migrations_in(tmp_path, tables(1) | {2: WAITING})
    relay = Relay(database.server.port)
    with beside(relay):
        first, second = in_the_middle(tidegate, database, relay.leading_to(database), folder)

        relay.black_out()
        began = time.monotonic()

        second.process.wait_for_event("lock.acquired")
        assert time.monotonic() - began < 15
        second.until("/readyz?at_least=2")
        first.process.wait_for_event("database.unreachable", 15)
        relay.speak()
        first.until("/readyz?at_least=2")
        takes_part_again(first, second, tidegate, database, folder)
