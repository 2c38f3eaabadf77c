"""What a run costs in round trips: a few for each message, one for each batch, and the same besides."""

from pathlib import Path

import pytest

from tests.fixtures.cluster import Server
from tests.fixtures.command_line import call
from tests.fixtures.relay import beside
from tests.fixtures.servers import fresh_database
from tests.fixtures.wire import Wire
from tests.fixtures.workers import migrations_in, tables

# A query whose answer is read is prepared first, and only then is the server ready for another one.
BESIDES = 17
# Of 2, 4, 8, 16, 32 and what is left, and as many more where a message took long.
MESSAGES = 12


def round_trips(server: Server, folder: Path, count: int, *flags: str) -> int:
    """How often the server was ready for another query in a first run of so many migrations."""
    source = migrations_in(folder / str(count), tables(*range(1, count + 1)))
    with fresh_database(server) as database:
        wire = Wire(server.port)
        with beside(wire):
            assert call("up", "--source", source, *flags, DB_URL=wire.leading_to(database)).code == 0
        assert database.psql("SELECT count(*) FROM tidegate.ledger WHERE target LIKE 'public.%'") == str(count)
    return wire.ready


@pytest.mark.one_version
def test_a_first_run_has_a_few_round_trips_and_at_most_three_more_for_each_message_of_several_migrations(
    server: Server, tmp_path: Path
) -> None:
    assert round_trips(server, tmp_path, 1) <= BESIDES + 1
    # By themselves come the first migration and, on a slow machine, others. What each message took is asked for, in two
    # round trips, where that was not done for a quarter of a second.
    assert round_trips(server, tmp_path, 101) <= BESIDES + 1 + MESSAGES * 3


@pytest.mark.one_version
def test_a_batch_has_one_round_trip_and_one_to_read_its_record(server: Server, tmp_path: Path) -> None:
    assert round_trips(server, tmp_path, 30, "--batch", "10") == round_trips(server, tmp_path, 20, "--batch", "10") + 2
