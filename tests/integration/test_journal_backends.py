"""The backend of a cut statement may still change the schema while it lives: nothing is decided before it is gone."""

from dataclasses import replace
from datetime import UTC, datetime

import anyio
import pytest

from tests.fixtures.cuts import WAITING
from tests.fixtures.jobs import failing, files, gone, said, until, up
from tests.fixtures.servers import Database
from tests.fixtures.sites import LIMITS, SITE, Worker, worker_on
from worker.core.events.migration_events import BackendAwaited
from worker.core.target import quote_literal
from worker.errors import InDoubtError, TimedOutError
from worker.jobs.answer import Place, answer
from worker.postgres.faults import ConnectionLostError
from worker.postgres.remains import until_gone
from worker.postgres.target_half import Answer

ONE = {"1": "CREATE TABLE a (x int)"}
# It gives the lock back that would keep another worker away until its backend is gone.
UNLOCKED = """-- tidegate: transaction=off
DO $$BEGIN PERFORM pg_advisory_unlock_all(); INSERT INTO a VALUES (1); COMMIT; PERFORM pg_sleep(60); END$$
"""
IMPATIENT = replace(SITE, limits=replace(LIMITS, advisory_timeout=0.2))


async def test_nothing_is_decided_while_the_old_backend_lives(database: Database) -> None:
    await up(database, ONE)
    body, watcher = ONE | {"2": UNLOCKED}, await database.connect()

    async def lost(worker: Worker) -> None:
        with pytest.raises(ConnectionLostError):
            await worker.up(files(body))

    async with worker_on(database) as first, worker_on(database, site=IMPATIENT) as second:
        pid = first.session.conn.get_server_pid()
        async with anyio.create_task_group() as group:
            group.start_soon(lost, first)
            await until(watcher, WAITING, pid, "PgSleep")
            for doing in (second.up(), answer(second.session, second.site, Answer.DONE, Place(2, 1))):
                with pytest.raises(TimedOutError) as raised:
                    await doing
                assert raised.value.reason == "old_backend"
                assert f"backend {pid} began the statement that was cut" in raised.value.message
                assert f"SELECT pg_terminate_backend({pid})" in raised.value.hint
                # A command's connection would end here, and give the lock back.
                await second.session.conn.execute("SELECT pg_advisory_unlock_all()")
            assert {event.backend_pid for event in second.recorded.of(BackendAwaited)} == {pid}
            await watcher.execute("SELECT pg_terminate_backend($1)", pid)
    await gone(database, pid)
    await watcher.close()

    assert (await said(database)).journal == ((0, "intent"),)
    await failing(database, body, InDoubtError)


async def test_a_backend_that_only_has_the_same_pid_is_not_waited_for(database: Database) -> None:
    await up(database, ONE)
    body = ONE | {"2": "-- tidegate: transaction=off\nDO $$BEGIN COMMIT; DROP TABLE missing; END$$"}
    await failing(database, body)
    other = await database.connect(server_settings={"application_name": "tidegate worker-9"})
    await database.execute("UPDATE tidegate.journal SET backend_pid = $1", other.get_server_pid())

    error, _ = await failing(database, body, InDoubtError)
    assert "was cut" in error.message
    await other.close()


@pytest.mark.parametrize(("application", "waits"), [("tidegate worker-1", True), ("api", False)])
async def test_without_a_sight_of_its_start_the_name_tells_whether_a_backend_is_ours(
    database: Database,
    application: str,
    waits: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    role = f"{database.name}_blind"
    await database.execute(f"CREATE ROLE {role} LOGIN PASSWORD {quote_literal('blind')}")
    other = await database.connect(server_settings={"application_name": application})
    before = datetime.now(UTC)
    try:
        async with worker_on(database, dsn=database.dsn_as(role, "blind")) as worker:
            asked = until_gone(worker.session, other.get_server_pid(), before, 0)
            if waits:
                with pytest.raises(TimedOutError, match="connected since unknown"):
                    await asked
            else:
                await asked
    finally:
        await other.close()
        await database.execute(f"DROP ROLE {role}")
