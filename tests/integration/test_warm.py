"""A session that is prepared for the next job: what is in the way of that is no fault of the worker's."""

import anyio
import asyncpg
import pytest

from tests.fixtures.cluster import PASSWORD
from tests.fixtures.servers import Database
from tests.fixtures.sites import bundle_of, dump, tables, worker_on
from worker.jobs.warm import warm
from worker.postgres.queries import queries
from worker.postgres.statements import keep

_KEPT = "SELECT count(*) FROM pg_prepared_statements WHERE statement ~ "
_RAISING = """
CREATE OR REPLACE FUNCTION tidegate.hold_fence(target text, epoch bigint, lock_key bigint) RETURNS void
LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'rehearsed'; RAISE EXCEPTION 'stale' USING ERRCODE = 'TG001'; END $$
"""
_SOON = 5
_LOCK_TIMEOUT = "30s"


async def lock_timeout(conn: asyncpg.Connection) -> str:
    return str(await conn.fetchval("SELECT current_setting('lock_timeout')"))


async def test_a_session_is_prepared_and_has_its_own_lock_timeout_again(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(bundle_of(tables(1)))
        view = await worker.look()
        keep(worker.session.conn)

        await warm(worker.session, worker.site, view)

        for part in ("pg_try_advisory_lock", "bundle_file", "'running', t.worker"):
            assert await worker.session.conn.fetchval(f"{_KEPT} $1", part) >= 1, part
        assert await lock_timeout(worker.session.conn) == _LOCK_TIMEOUT


@pytest.mark.parametrize("held", ["job, tidegate.fence IN SHARE", "fingerprint IN ACCESS EXCLUSIVE"])
async def test_a_table_that_somebody_holds_costs_a_moment_and_nothing_else(database: Database, held: str) -> None:
    async with worker_on(database) as worker:
        await worker.up(bundle_of(tables(1)))
        view = await worker.look()
        keep(worker.session.conn)
        holder = await database.connect()
        await holder.execute(f"BEGIN; LOCK TABLE tidegate.{held} MODE")

        with anyio.fail_after(_SOON):
            await warm(worker.session, worker.site, view)

        assert await lock_timeout(worker.session.conn) == _LOCK_TIMEOUT
        await holder.close()
        assert (await worker.up(bundle_of(tables(1, 2)))).version == 2


@pytest.mark.parametrize(
    "hindrance",
    [
        "BEGIN; LOCK TABLE tidegate.fence IN ACCESS EXCLUSIVE MODE",
        "REVOKE EXECUTE ON FUNCTION tidegate.hold_fence FROM {0}",
        "REVOKE ALL ON tidegate.fence FROM {0}",
        "REVOKE USAGE ON SCHEMA tidegate FROM {0}",
    ],
)
async def test_a_rehearsal_that_is_hindered_leaves_no_error_in_the_server_s_log(
    database: Database, hindrance: str
) -> None:
    role = f"other_{database.name}"
    async with worker_on(database) as worker:
        await worker.up(bundle_of(tables(1)))
    database.psql(
        f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'; GRANT USAGE ON SCHEMA tidegate TO {role};"
        f"GRANT ALL ON ALL FUNCTIONS IN SCHEMA tidegate TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA tidegate TO {role}"
    )
    holder, conn = await database.connect(), await asyncpg.connect(database.dsn_as(role))
    try:
        await holder.execute(hindrance.format(role))
        logged = database.server.log().count(" ERROR: ")
        with anyio.fail_after(_SOON):
            await conn.execute(queries("target", "tidegate")["rehearse"])
        assert database.server.log().count(" ERROR: ") == logged
    finally:
        await holder.close()
        await conn.close()
        database.psql(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_statement_that_the_server_refuses_is_left_to_the_job(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(bundle_of(tables(1)))
        view = await worker.look()
        keep(worker.session.conn)
        await database.execute("ALTER TABLE tidegate.job RENAME TO job_elsewhere")

        await warm(worker.session, worker.site, view)

        assert await lock_timeout(worker.session.conn) == _LOCK_TIMEOUT


async def test_the_functions_of_a_record_are_rehearsed_and_leave_nothing_behind(database: Database) -> None:
    heard: list[str] = []
    async with worker_on(database) as worker:
        await worker.up(bundle_of(tables(1)))
        view, before = await worker.look(), await dump(database)
        keep(worker.session.conn)
        worker.session.conn.add_log_listener(lambda _, message: heard.append(message.message))
        await database.execute(_RAISING)

        await warm(worker.session, worker.site, view)

        assert heard == ["rehearsed"]
        assert not worker.session.conn.is_in_transaction()
        assert await dump(database) == before
        assert await lock_timeout(worker.session.conn) == _LOCK_TIMEOUT
