"""Every fault at every checkpoint of a run: nothing is lost, nothing is done twice, nothing is left behind."""

from enum import Enum
from itertools import product
from pathlib import Path

import pytest

from tests.fixtures.halts import FIRST_RUN, NEVER, PASSED, generated, halted, numbered, passed, started
from tests.fixtures.processes import Process, StartTidegate
from tests.fixtures.relay import Relay, beside
from tests.fixtures.scenes import Manner, facts, has_facts, nothing_is_left, source, up
from tests.fixtures.servers import Database
from tests.fixtures.workers import complaints, finish, migrations_in, tables
from worker.core.sql.script import PART


class Fault(Enum):
    """What befalls a run while it stands still."""

    KILL = "kill"
    RESTART = "restart"
    CUT = "cut"
    TERMINATE = "terminate"


def befall(fault: Fault, process: Process, database: Database, relay: Relay) -> None:
    match fault:
        case Fault.KILL:
            process.kill()
            process.wait()
        case Fault.RESTART:
            database.server.restart()
        case Fault.CUT:
            relay.cut()
        case Fault.TERMINATE:
            database.psql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name LIKE 'tidegate%'"
            )


@pytest.mark.parametrize("manner", Manner)
def test_the_checkpoints_of_a_run_are_those_that_are_tried(
    tidegate: StartTidegate, database: Database, tmp_path: Path, manner: Manner
) -> None:
    up(database, migrations_in(tmp_path, tables(1)))

    process = started(tidegate, database.dsn, source(tmp_path, manner), *NEVER)

    finish(process)
    assert passed(process) == PASSED[manner]


def test_the_checkpoints_of_a_first_run_are_those_that_are_tried(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    process = started(tidegate, database.dsn, source(tmp_path, Manner.TRANSACTIONAL), *NEVER)

    finish(process)
    assert passed(process) == FIRST_RUN


# The stride and the number of faults have no common factor, so that the short set meets each of them.
@pytest.mark.parametrize(
    ("manner", "name", "times", "fault"),
    generated([(m, *at, fault) for m in Manner for at, fault in product(numbered(PASSED[m]), Fault)], 13),
)
def test_a_run_that_meets_a_fault_leaves_a_whole_state_and_the_next_one_finishes_it(
    tidegate: StartTidegate, database: Database, tmp_path: Path, manner: Manner, name: str, times: int, fault: Fault
) -> None:
    up(database, migrations_in(tmp_path, tables(1)))
    epoch = facts(database).epoch
    relay = Relay(database.server.port)
    with beside(relay):
        process = halted(tidegate, relay.leading_to(database), source(tmp_path, manner), name, times)

        befall(fault, process, database, relay)

        nothing_is_left(database)
        facts(database).agree()
        if fault is not Fault.KILL:
            # It finds by itself what became of its work.
            process.thaw()
            finish(process)
            assert complaints(process) == []
            facts(database).are_whole()
    up(database, tmp_path)
    facts(database).are_whole()
    assert facts(database).epoch > epoch
    nothing_is_left(database)


@pytest.mark.parametrize(
    ("name", "times", "fault"),
    generated([(*at, fault) for at, fault in product(numbered(FIRST_RUN), (Fault.KILL, Fault.RESTART))], 9),
)
def test_a_first_run_that_meets_a_fault_leaves_a_whole_state_and_the_next_one_finishes_it(
    tidegate: StartTidegate, database: Database, tmp_path: Path, name: str, times: int, fault: Fault
) -> None:
    folder = source(tmp_path, Manner.TRANSACTIONAL)
    process = halted(tidegate, database.dsn, folder, name, times)

    befall(fault, process, database, Relay(0))

    nothing_is_left(database)
    if has_facts(database):
        facts(database).agree()
    if fault is not Fault.KILL:
        process.thaw()
        finish(process)
    up(database, folder)
    facts(database).are_whole()
    nothing_is_left(database)


# It freezes with the transaction open, half of a large file run.
@pytest.mark.parametrize("fault", [Fault.KILL, pytest.param(Fault.TERMINATE, marks=pytest.mark.one_version)])
def test_a_fault_between_the_portions_of_a_large_file_leaves_nothing_of_it(
    tidegate: StartTidegate, database: Database, tmp_path: Path, fault: Fault
) -> None:
    up(database, migrations_in(tmp_path, tables(1)))
    file = source(tmp_path, Manner.TRANSACTIONAL) / "0002_m2.up.sql"
    first, last = file.read_text().split("INSERT")
    filling = "SELECT '" + "x;" * PART + "';\n"
    file.write_text(f"{first}{filling * 2}INSERT{last}")
    process = halted(tidegate, database.dsn, tmp_path, "portion", 2)
    open_ones = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = "
    assert database.psql(f"{open_ones} 'idle in transaction'") == "1"

    befall(fault, process, database, Relay(0))

    nothing_is_left(database)
    assert database.psql("SELECT to_regclass('t2') IS NULL") == "t"
    facts(database).agree()
    if fault is not Fault.KILL:
        process.thaw()
        finish(process)
        assert complaints(process) == []
    up(database, tmp_path)
    facts(database).are_whole()
    nothing_is_left(database)
