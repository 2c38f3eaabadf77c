"""Packets vanish behind the listener and behind a gate: neither hears of an end, and both find out and come back."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fixtures.processes import Process, StartTidegate
from tests.fixtures.relay import Relay, beside
from tests.fixtures.scenes import up
from tests.fixtures.servers import Database
from tests.fixtures.workers import applied, eventually, finish, migrations_in, start_worker, tables

pytestmark = pytest.mark.slow

DEAD_LINE_SECONDS = 15
"""The longest that a dead line is not noticed: keepalives, `tcp_user_timeout`, or a look without an answer."""

BACK_SECONDS = 15
"""The longest pause before the listener connects again, and the connect."""


def test_a_listener_whose_packets_vanish_is_lost_and_listens_again_within_its_limits(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    relay = Relay(database.server.port)
    with beside(relay):
        # No poll comes in time: what is applied at the end was heard.
        folder, often = migrations_in(tmp_path, tables(1)), ("--poll-interval", "10m")
        worker = start_worker(tidegate, relay.leading_to(database), "--source", folder, *often)
        worker.until("/readyz?at_least=1")
        worker.process.wait_for_event("listener.connected")

        relay.black_out()
        relay.speak()

        worker.process.wait_for_event("listener.lost", DEAD_LINE_SECONDS)
        eventually(lambda: told(worker.process.events, "listener.connected") == 2, "it listens again", BACK_SECONDS)
        finish(tidegate("publish", migrations_in(tmp_path, tables(2)), env={"DB_URL": database.dsn}))
        worker.until("/readyz?at_least=2")
    assert applied(database) == ["1", "2"]


def told(events: list[dict[str, object]], name: str) -> int:
    """How often an event was told."""
    return [event["event"] for event in events].count(name)


@contextmanager
def a_gate_that_waits(tidegate: StartTidegate, database: Database, folder: Path) -> Iterator[tuple[Process, Relay]]:
    """A gate that is held until version 2 is there, and what its packets pass."""
    up(database, migrations_in(folder, tables(1)))
    relay = Relay(database.server.port)
    with beside(relay):
        process = tidegate("wait", "--at-least", "2", "--timeout", "60s", env={"DB_URL": relay.leading_to(database)})
        process.wait_for_event("gate.waiting")
        yield process, relay


def test_a_gate_whose_packets_vanish_opens_within_its_limits(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    with a_gate_that_waits(tidegate, database, tmp_path) as (process, relay):
        relay.black_out()
        relay.speak()
        began = time.monotonic()
        up(database, migrations_in(tmp_path, tables(2)))

        finish(process)
    assert time.monotonic() - began < DEAD_LINE_SECONDS
    assert process.events[-1]["event"] == "gate.opened"


def test_a_gate_waits_while_nothing_passes_and_opens_once_it_does(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    with a_gate_that_waits(tidegate, database, tmp_path) as (process, relay):
        relay.black_out()
        up(database, migrations_in(tmp_path, tables(2)))

        process.wait_for_event("gate.waiting", DEAD_LINE_SECONDS, why="connection_lost")
        assert process.exit_code is None
        relay.speak()

        finish(process)
