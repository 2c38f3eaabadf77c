"""Events of jobs go after ninety days, a few at a time, and nobody is disturbed by it."""

from pathlib import Path

import pytest

from tests.fixtures.fleet_parts import Clock
from tests.fixtures.fleets import ONE, TENANTS, Fleet, names
from tests.fixtures.network import free_port
from tests.fixtures.processes import Process, StartTidegate
from tests.fixtures.roles import RoleSet
from tests.fixtures.servers import Database
from tests.fixtures.sites import Worker, bundle_of, tables, worker_on
from tests.fixtures.workers import complaints, eventually, migrations_in
from worker.core.events.events import JobEventsKept
from worker.jobs.retention import Retention
from worker.postgres.retention import MOST

DAY = 86_400
OLD = "SELECT count(*) FROM tidegate.job_event WHERE at < clock_timestamp() - interval '90 days'"
YOUNG = "SELECT count(*) FROM tidegate.job_event WHERE at > clock_timestamp() - interval '90 days'"


def age(database: Database, more: int = 0) -> None:
    """Have every event be old, with so many more; two that come after them are not."""
    database.psql(f"""
        UPDATE tidegate.job_event SET at = at - interval '90 days 1 second';
        INSERT INTO tidegate.job_event (job_id, at, state, worker)
        SELECT 1, clock_timestamp() - CASE WHEN n <= {more} THEN 91 ELSE 89 END * interval '1 day', 'running', 'w'
        FROM generate_series(1, {more} + 2) AS n;
    """)


class Keeper:
    """A retention whose time is the test's."""

    def __init__(self, worker: Worker) -> None:
        self._session = worker.session
        self._clock = Clock()
        self._retention = Retention(self._clock, lambda: 0.5)

    async def after(self, seconds: float) -> None:
        """Let time pass, and have it looked whether there is anything to remove."""
        self._clock.now += seconds
        await self._retention.heed(self._session)


async def test_old_events_go_so_many_at_a_time_and_younger_ones_stay(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(bundle_of(tables(1)))
        age(database, 2 * MOST)
        keeper, before = Keeper(worker), int(database.psql(OLD))

        left = []
        for seconds in (3600, 0, 0, 0):
            await keeper.after(seconds)
            left.append(int(database.psql(OLD)))

        assert left == [before - MOST, before - 2 * MOST, 0, 0]
        assert database.psql(YOUNG) == "2"
        assert await worker.session.conn.fetchval("SHOW lock_timeout") != "100ms"


async def test_they_are_looked_for_an_hour_after_the_start_and_once_a_day_from_then_on(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(bundle_of(tables(1)))
        keeper = Keeper(worker)
        left = []
        for seconds in (3599, 1, DAY - 1, 1):
            age(database)
            await keeper.after(seconds)
            left.append(database.psql(OLD) != "0")
        assert left == [True, False, True, False]


async def test_a_table_that_somebody_holds_is_left_for_another_day(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(bundle_of(tables(1)))
        age(database)
        keeper, other = Keeper(worker), await database.connect()
        await other.execute("BEGIN; LOCK TABLE tidegate.job_event")

        await keeper.after(3600)
        await other.close()
        await keeper.after(DAY - 1)
        assert database.psql(OLD) != "0"

        await keeper.after(1)
        assert database.psql(OLD) == "0"


async def test_a_connection_that_is_lost_meanwhile_is_no_error(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(bundle_of(tables(1)))
        age(database)
        keeper = Keeper(worker)
        database.psql(f"SELECT pg_terminate_backend({worker.session.conn.get_server_pid()})")

        await keeper.after(3600)

        assert worker.recorded.of(JobEventsKept) == []
        assert worker.session.conn.is_closed()
    assert database.psql(OLD) != "0"


async def test_a_missing_right_is_told_once_with_its_grant_and_no_run_needs_it(roles: RoleSet) -> None:
    dsn = roles.dsn("migrator", options=f"-c role={roles.owner}")
    async with worker_on(roles.database, dsn=dsn) as worker:
        await worker.up(bundle_of(tables(1)))
        roles.database.psql(f'REVOKE DELETE ON tidegate.job_event FROM "{roles.owner}"')
        age(roles.database)
        keeper = Keeper(worker)

        await keeper.after(3600)
        await keeper.after(DAY)

        (kept,) = worker.recorded.of(JobEventsKept)
        assert (await worker.up(bundle_of(tables(1, 2)))).applied == (2,)
        roles.database.psql(kept.grant)
        await keeper.after(DAY)
        assert roles.database.psql(OLD) == "0"


@pytest.fixture
def fleet(tidegate: StartTidegate, database: Database, tmp_path: Path) -> Fleet:
    fleet = Fleet(tidegate, database, tmp_path)
    fleet.declare(TENANTS)
    fleet.schemas(names(2))
    fleet.migrations(ONE)
    return fleet


def test_a_worker_removes_them_while_it_has_nothing_to_do(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    source = migrations_in(tmp_path / "sql", tables(1))
    assert tidegate("up", "--source", source, env={"DB_URL": database.dsn}).wait() == 0
    age(database)

    removing(tidegate, database, "--source", source)


def test_a_worker_of_a_fleet_removes_them_while_it_has_nothing_to_do(tidegate: StartTidegate, fleet: Fleet) -> None:
    fleet.up()
    age(fleet.database)

    removing(tidegate, fleet.database, "--source", fleet.source, "--fleet", fleet.file)


def removing(tidegate: StartTidegate, database: Database, *arguments: str | Path) -> None:
    command = ("run", "--http-port", str(free_port()), "--poll-interval", "250ms", *arguments)
    process: Process = tidegate(*command, env={"DB_URL": database.dsn}, program=("tests.fixtures.tidying",))
    eventually(lambda: database.psql(OLD) == "0", f"old events are gone\n{process.report()}")
    process.terminate()
    assert process.wait(20) == 0, process.report()
    assert (database.psql(YOUNG), complaints(process)) == ("2", [])
