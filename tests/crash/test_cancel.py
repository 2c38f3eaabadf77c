"""A run is told to end at each checkpoint: two seconds later nothing idles in a transaction, and nothing is lost."""

from enum import Enum
from itertools import product
from pathlib import Path

import pytest

from tests.fixtures.halts import PASSED, generated, halted, numbered
from tests.fixtures.network import free_port
from tests.fixtures.processes import Process, StartTidegate
from tests.fixtures.scenes import Manner, facts, no_transaction_idles, nothing_is_left, source, up
from tests.fixtures.servers import Database
from tests.fixtures.workers import complaints, migrations_in, tables


class End(Enum):
    """How a run is told to end: a worker by one signal or by two, or once its drain is over; a command by either."""

    DRAINED = "20s"
    CANCELLED = "1ms"
    TWICE = "30s"
    INTERRUPTED = "Ctrl-C"
    TERMINATED = "SIGTERM"

    @property
    def codes(self) -> set[int]:
        """The exit codes that it may come to: a command that is told too late has done its work."""
        return {End.INTERRUPTED: {0, 130}, End.TERMINATED: {0, 143}}.get(self, {0})

    @property
    def verb(self) -> tuple[str, ...]:
        if self in {End.INTERRUPTED, End.TERMINATED}:
            return ("up",)
        return ("run", "--drain-timeout", self.value, "--http-port", str(free_port()))

    def tell(self, process: Process) -> None:
        """Tell a run that stands still, and let it go on."""
        if self is End.INTERRUPTED:
            process.interrupt()
        else:
            process.terminate()
        process.thaw()
        if self is End.TWICE:
            process.wait_for_event("worker.draining")
            process.terminate()


@pytest.mark.parametrize(
    ("manner", "name", "times", "end"),
    generated([(m, *at, end) for m in Manner for at, end in product(numbered(PASSED[m]), End)], 17),
)
def test_a_run_that_is_told_to_end_leaves_no_transaction_and_the_next_one_finishes_it(
    tidegate: StartTidegate, database: Database, tmp_path: Path, manner: Manner, name: str, times: int, end: End
) -> None:
    up(database, migrations_in(tmp_path, tables(1)))
    process = halted(tidegate, database.dsn, source(tmp_path, manner), name, times, *end.verb)

    end.tell(process)

    no_transaction_idles(database)
    assert process.wait(10) in end.codes, process.report()
    assert complaints(process) == []
    nothing_is_left(database)
    facts(database).agree()
    up(database, tmp_path)
    facts(database).are_whole()
