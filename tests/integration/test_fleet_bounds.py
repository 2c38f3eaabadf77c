"""The bounds of a fleet, as the server counts them: connections to one database and to all of one server."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest

from tests.fixtures.fleets import Fleet, names
from tests.fixtures.jobs import until
from tests.fixtures.network import free_port
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database, fresh_database

HELD = {"0003_held.up.sql": "SELECT count(*) FROM public.held"}
SEATS = """
SELECT datname, count(*) AS seats FROM pg_stat_activity
WHERE datname = ANY ($1) AND application_name LIKE 'tidegate %' GROUP BY datname
"""
# A session that waits for a table has come to its migration.
WAITING = """
SELECT count(*) = $2 FROM pg_stat_activity
WHERE datname = ANY ($1) AND application_name LIKE 'tidegate %' AND wait_event_type = 'Lock'
"""


@pytest.fixture
def databases(database: Database) -> Iterator[list[Database]]:
    """Four on one server, none of which is the home: a target there has a second connection to that."""
    with ExitStack() as stack:
        made = [stack.enter_context(fresh_database(database.server)) for _ in range(4)]
        for each in made:
            each.psql("CREATE TABLE held ();" + "".join(f"CREATE SCHEMA {name};" for name in names(4)))
        yield made


@pytest.mark.parametrize("verb", ["up", "run"])
@pytest.mark.parametrize(("per_database", "per_server", "in_all"), [(2, 5, 5), (1, 16, 4)])
async def test_a_server_has_no_more_connections_than_its_bounds(
    tidegate: StartTidegate,
    database: Database,
    databases: list[Database],
    tmp_path: Path,
    verb: str,
    per_database: int,
    per_server: int,
    in_all: int,
) -> None:
    fleet, called = Fleet(tidegate, database, tmp_path), [each.name for each in databases]
    fleet.migrations(HELD)
    fleet.declare(
        f"[[targets]]\ndatabases = {called}\nschemas = {names(4)}\n"
        f"[limits]\nworkers = 8\nper_database = {per_database}\nper_server = {per_server}\n"
    )
    holders = [await each.connect() for each in databases]
    watcher, most = await database.connect(), dict[str, int]()

    async def count() -> int:
        """Look once; returns how many there are in all."""
        seats = {row["datname"]: row["seats"] for row in await watcher.fetch(SEATS, called)}
        most.update({name: max(number, most.get(name, 0)) for name, number in seats.items()})
        return sum(seats.values())

    for holder in holders:
        await holder.execute("BEGIN; LOCK TABLE public.held")
    words = ("--http-port", str(free_port()), "--poll-interval", "500ms") if verb == "run" else ()
    process = fleet.start(verb, "--source", fleet.source, *words, TIDEGATE_LOCK_TIMEOUT="none")
    await until(watcher, WAITING, called, in_all, tries=300)
    for _ in range(10):
        assert await count() == in_all
        await watcher.execute("SELECT pg_sleep(0.05)")
    await release(holders)
    done = "SELECT count(*) = 16 FROM tidegate.target WHERE outcome = 'succeeded'"
    for _ in range(3000):
        assert await count() <= in_all
        if await watcher.fetchval(done):
            break
        await watcher.execute("SELECT pg_sleep(0.002)")
    if verb == "run":
        process.terminate()

    assert await process.ended() == 0, process.report()
    assert (set(most), max(most.values())) == (set(called), per_database)
    assert await watcher.fetchval(done)
    await watcher.close()


async def release(holders: list[asyncpg.Connection]) -> None:
    for holder in holders:
        await holder.close()
