"""The line is cut behind every message of a run, in both directions: the ledger decides what became of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.cluster import Server
from tests.fixtures.command_line import Said, call
from tests.fixtures.processes import StartTidegate
from tests.fixtures.relay import Sender, beside
from tests.fixtures.scenes import Facts, Manner, facts, nothing_is_left, source, up
from tests.fixtures.servers import Database, fresh_database
from tests.fixtures.wire import Cut, Wire
from tests.fixtures.workers import complaints, eventually, finish, migrations_in, tables
from worker.errors import ExitCode


def run(database: Database, folder: Path, wire: Wire) -> Said:
    with beside(wire):
        return call("up", "--source", folder, DB_URL=wire.leading_to(database))


def messages_of(server: Server, first: Path, folder: Path, sender: Sender) -> int:
    """How many messages a run sends that is not cut."""
    with fresh_database(server) as database:
        up(database, first)
        wire = Wire(server.port)
        assert run(database, folder, wire).code == ExitCode.OK
        facts(database).are_whole()
    return wire.passed[sender]


def cut_behind(server: Server, first: Path, folder: Path, cut: Cut) -> ExitCode:
    """Cut one run; what it left is whole, and the next run finishes it. Returns how it ended."""
    with fresh_database(server) as database:
        up(database, first)
        said = run(database, folder, Wire(server.port, cut))
        assert said.code in {ExitCode.OK, ExitCode.NO_DATABASE}, (cut, said)
        assert "Traceback" not in said.all, (cut, said)
        nothing_is_left(database)
        facts(database).agree()
        if said.code == ExitCode.OK:
            facts(database).are_whole()
        up(database, folder)
        facts(database).are_whole()
    return ExitCode(said.code)


# A prime, so that a short walk meets messages of all kinds; the long ones meet every message, each of them some.
_SHORT, _LONG = 97, 12
_WHOLE = [pytest.mark.slow, pytest.mark.one_version, pytest.mark.timeout(1200)]


@pytest.mark.parametrize(
    ("start", "stride"), [(1, _SHORT), *(pytest.param(1 + n, _LONG, marks=_WHOLE) for n in range(_LONG))]
)
@pytest.mark.parametrize("sender", Sender)
@pytest.mark.parametrize("manner", Manner)
def test_a_line_that_is_cut_behind_a_message_leaves_a_whole_state_and_the_next_run_finishes_it(
    server: Server, tmp_path: Path, manner: Manner, sender: Sender, start: int, stride: int
) -> None:
    first, folder = migrations_in(tmp_path / "first", tables(1)), source(tmp_path / "sql", manner)
    count = messages_of(server, first, folder, sender)

    ends = [cut_behind(server, first, folder, Cut(sender, n)) for n in range(start, count, stride)]

    # Only behind the farewell is a cut of no consequence.
    assert ends.count(ExitCode.OK) <= 1


@pytest.mark.parametrize(
    ("manner", "unanswered", "has_happened"),
    [
        (Manner.TRANSACTIONAL, b".record_applied(", lambda now: now.ledger == [1, 2]),
        (Manner.JOURNALLED, b"'intent'", lambda now: now.begun == [1]),
        (Manner.JOURNALLED, b"CREATE INDEX CONCURRENTLY", lambda now: now.parts == [1, 1, 0]),
        (Manner.JOURNALLED, b".record_applied(", lambda now: now.ledger == [1, 2]),
    ],
    ids=["the commit", "an intent", "a lone statement", "the last commit"],
)
def test_what_was_done_while_the_answer_was_lost_is_looked_up_and_not_done_again(
    tidegate: StartTidegate,
    database: Database,
    tmp_path: Path,
    manner: Manner,
    unanswered: bytes,
    has_happened: Callable[[Facts], bool],
) -> None:
    up(database, migrations_in(tmp_path, tables(1)))
    wire = Wire(database.server.port, unanswered=unanswered)
    with beside(wire):
        process = tidegate("up", "--source", source(tmp_path, manner), env={"DB_URL": wire.leading_to(database)})
        eventually(lambda: has_happened(facts(database)), "it has happened")
        facts(database).agree()
        epoch = facts(database).epoch

        wire.lose()

        finish(process)
    assert complaints(process) == []
    facts(database).are_whole()
    # Whoever looks it up has raised the epoch first.
    assert facts(database).epoch == epoch + 1
    nothing_is_left(database)
