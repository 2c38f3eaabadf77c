"""`tidegate run --fleet`: workers that share a fleet, are killed, lose the home half, and hear of new targets."""

from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.fixtures.fleets import TENANTS, Fleet, names
from tests.fixtures.jobs import until
from tests.fixtures.network import free_port
from tests.fixtures.processes import Process, StartTidegate
from tests.fixtures.servers import Database, fresh_database

SLOW = {"0003_slow.up.sql": "SELECT pg_sleep(0.3)"}
ALL_DONE = (
    "SELECT count(*) = $1 FROM tidegate.target WHERE source IS NOT NULL AND outcome = 'succeeded' AND gone_at IS NULL"
)
LAST_ASKED = (
    "SELECT max(query_start) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name LIKE 'tidegate %'"
)


@pytest.fixture
def fleet(tidegate: StartTidegate, database: Database, tmp_path: Path) -> Fleet:
    return Fleet(tidegate, database, tmp_path)


@pytest.fixture
def tenants(database: Database) -> Iterator[Database]:
    with fresh_database(database.server) as other:
        yield other


def run(fleet: Fleet, name: str) -> Process:
    return fleet.start(
        "run", "--source", fleet.source, "--http-port", str(free_port()), "--worker", name, "--poll-interval", "2s"
    )


async def done(database: Database, count: int) -> None:
    watcher = await database.connect()
    try:
        await until(watcher, "SELECT to_regclass('tidegate.target') IS NOT NULL", tries=600)
        await until(watcher, "SELECT EXISTS (SELECT FROM pg_attribute WHERE attname = 'settled')", tries=100)
        await until(watcher, ALL_DONE, count, tries=1200)
    finally:
        await watcher.close()


async def test_two_workers_share_a_fleet_and_each_target_is_done_once(fleet: Fleet) -> None:
    fleet.schemas(names(12))
    fleet.migrations(SLOW)
    fleet.declare(TENANTS + "[limits]\nworkers = 2\n")

    workers = [run(fleet, "one"), run(fleet, "two")]
    await done(fleet.database, 12)

    rows = await fleet.database.fetch(
        "SELECT worker, count(*) FROM tidegate.history "
        "WHERE target LIKE 'tenant%' AND version = 3 GROUP BY 1 ORDER BY 1"
    )
    assert [row["worker"] for row in rows] == ["one", "two"]
    assert sum(row["count"] for row in rows) == 12
    for worker in workers:
        worker.terminate()
        assert worker.wait() == 0, worker.report()
    assert await fleet.database.fetchval("SELECT count(*) FROM tidegate.target WHERE claimed_by IS NOT NULL") == 0


async def test_a_worker_that_is_killed_loses_nothing(fleet: Fleet) -> None:
    fleet.schemas(names(8))
    fleet.migrations(SLOW)
    fleet.declare(TENANTS + "[limits]\nworkers = 2\n")
    victim = run(fleet, "victim")
    await victim.line(lambda line: '"migration.started"' in line and '"version": 3' in line)

    victim.kill()
    run(fleet, "heir")
    await done(fleet.database, 8)

    often = "SELECT count(*) AS n FROM tidegate.history WHERE target LIKE 'tenant%' GROUP BY target, version"
    assert await fleet.database.fetchval(f"SELECT max(n) FROM ({often}) AS x") == 1


async def test_a_tenant_that_signs_up_is_migrated_by_a_running_worker(fleet: Fleet) -> None:
    fleet.schemas(["tenant_0"])
    fleet.declare("[[targets]]\nrows = true\n")
    run(fleet, "one")
    watcher = await fleet.database.connect()
    try:
        await until(watcher, "SELECT to_regproc('tidegate.add_target') IS NOT NULL", tries=600)
        assert await watcher.fetchval("SELECT tidegate.add_target('tenant_0')") == "tenant_0.schema_migrations"
        assert await watcher.fetchval("SELECT tidegate.add_target('tenant_0')") == "tenant_0.schema_migrations"
        await done(fleet.database, 1)
        assert await watcher.fetchval("SELECT count(*) FROM tenant_0.a") == 1
    finally:
        await watcher.close()


@pytest.mark.parametrize("group", ["", "far"])
async def test_a_target_that_is_registered_in_another_database_is_brought_there(
    fleet: Fleet, tenants: Database, group: str
) -> None:
    tenants.psql("CREATE SCHEMA tenant_0")
    fleet.schemas(["tenant_0"])
    named = '[[targets]]\nname = "far"\ndatabase = { env = "FAR" }\nrows = true\n'
    fleet.declare(named if group else "[[targets]]\nrows = true\n")
    assert fleet.up(FAR=tenants.dsn)["states"] == {}
    database = f"{group}/{tenants.name}" if group else tenants.name

    called = await fleet.database.fetchval("SELECT tidegate.add_target('tenant_0', database => $1)", database)

    assert called == f"{database}/tenant_0.schema_migrations"
    assert fleet.up(FAR=tenants.dsn)["states"] == {"succeeded": 1}
    assert tenants.psql("SELECT count(*) FROM tenant_0.a") == "1"
    assert tenants.psql("SELECT tidegate.ready(2, target => 'tenant_0.schema_migrations')") == "t"
    assert await fleet.database.fetchval("SELECT to_regclass('tenant_0.a') IS NULL")


async def test_targets_that_are_registered_on_a_line_get_what_is_wanted_there(fleet: Fleet) -> None:
    fleet.schemas([*names(2), "shop"])
    fleet.declare("[[targets]]\nrows = true\n")
    assert fleet.up()["states"] == {}
    add = "SELECT tidegate.add_target($1, line => $2, database => current_database())"
    assert await fleet.database.fetchval(add, "shop", "shop") == "shop.schema_migrations"
    await fleet.database.fetchval(add, "tenant_0", "schema_migrations")
    fleet.migrations({"0003_shop.up.sql": "CREATE TABLE shop_only ()"})

    published = fleet.start("publish", fleet.source, "--label", "1.0", "--line", "shop")
    assert published.wait() == 0, published.report()
    (fleet.source / "0003_shop.up.sql").unlink()

    assert fleet.up()["states"] == {"succeeded": 2}
    tables = "SELECT array_agg(relnamespace::regnamespace::text) FROM pg_class WHERE relname = $1"
    assert await fleet.database.fetchval(tables, "shop_only") == ["shop"]
    assert sorted(await fleet.database.fetchval(tables, "a")) == ["shop", "tenant_0"]


async def test_add_target_takes_names_alone_and_is_for_whom_it_was_granted(fleet: Fleet) -> None:
    fleet.declare(TENANTS)
    fleet.schemas(["tenant_0"])
    fleet.up()
    for wrong in ("NULL", "''", "'pg_catalog'", "'tidegate'", "repeat('x', 64)", "E'a\\nb'"):
        with pytest.raises(Exception, match=r"add_target\(\) takes|is no application"):
            await fleet.database.execute(f"SELECT tidegate.add_target({wrong})")
    with pytest.raises(Exception, match="follows the line schema_migrations, not other"):
        await fleet.database.execute("SELECT tidegate.add_target('tenant_0', 'other')")
    assert not await fleet.database.fetchval(
        "SELECT has_function_privilege('public', 'tidegate.add_target(text,text,text,text)', 'EXECUTE')"
    )


async def test_a_schema_that_is_dropped_in_the_middle_hurts_no_other(fleet: Fleet) -> None:
    fleet.schemas(names(4))
    fleet.declare('[[targets]]\nschemas = ["tenant_0", "tenant_1", "tenant_2", "tenant_3"]\n')
    fleet.up()
    fleet.migrations(SLOW)
    fleet.database.psql("DROP SCHEMA tenant_2 CASCADE")

    document = fleet.up(3)

    assert document["states"] == {"refused": 1, "succeeded": 3}
    assert fleet.problem(document, "tenant_2.schema_migrations")["state"] == "refused"


async def test_a_home_that_is_away_leaves_what_runs_right_and_is_repaired_later(
    fleet: Fleet, tenants: Database
) -> None:
    tenants.psql("CREATE SCHEMA tenant_0; CREATE TABLE public.held (a int)")
    fleet.migrations({"0003_held.up.sql": "SELECT count(*) FROM public.held"})
    fleet.declare('[[targets]]\nname = "far"\ndatabase = { env = "FAR" }\nschemas = ["tenant_0"]\n')
    holder = await tenants.connect()
    worker = fleet.start(
        "run", "--source", fleet.source, "--http-port", str(free_port()), "--poll-interval", "2s",
        FAR=tenants.dsn, TIDEGATE_LOCK_TIMEOUT="none",
    )  # fmt: skip
    try:
        await holder.execute("BEGIN; LOCK TABLE public.held")
        await worker.line(lambda line: '"migration.started"' in line and '"version": 3' in line)
        home = fleet.database.name
        fleet.database.server.psql(
            f"ALTER DATABASE {home} ALLOW_CONNECTIONS false;"
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{home}'"
        )
        await holder.execute("COMMIT")
        await until(holder, "SELECT tidegate.ready(3, target => 'tenant_0.schema_migrations')", tries=600)

        fleet.database.server.psql(f"ALTER DATABASE {home} ALLOW_CONNECTIONS true")
        await done(fleet.database, 1)
        assert await fleet.database.fetchval("SELECT state FROM tidegate.job") == "succeeded"
    finally:
        await holder.close()


async def test_a_worker_drains_at_a_signal_and_leaves_no_lease(fleet: Fleet) -> None:
    fleet.schemas(names(6))
    fleet.migrations(SLOW)
    fleet.declare(TENANTS + "[limits]\nworkers = 2\n")
    worker = run(fleet, "one")
    await worker.line(lambda line: '"migration.started"' in line and '"version": 3' in line)

    worker.terminate()

    assert await worker.ended() == 0, worker.report()
    assert await fleet.database.fetchval("SELECT count(*) FROM tidegate.target WHERE claimed_by IS NOT NULL") == 0
    fleet.up()
    assert await fleet.database.fetchval(ALL_DONE, 6)


async def test_a_worker_of_a_fleet_with_nothing_to_do_writes_nothing(fleet: Fleet) -> None:
    fleet.schemas(names(4))
    fleet.declare(TENANTS)
    worker = fleet.start("run", "--source", fleet.source, "--http-port", str(free_port()), "--poll-interval", "500ms")
    await done(fleet.database, 4)
    watcher = await fleet.database.connect()

    async def after_polls() -> list[asyncpg.Record]:
        """What was written by the time that the worker has polled several times more."""
        # A poll is several statements; and a server counts what was written up to a second later.
        for _ in range(4):
            asked = await watcher.fetchval(LAST_ASKED)
            await until(watcher, f"SELECT ({LAST_ASKED}) > $1::timestamptz + interval '400 ms'", asked)
        return await watcher.fetch(
            "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables WHERE schemaname = 'tidegate'"
        )

    before = await after_polls()
    assert await after_polls() == before
    await watcher.close()
    worker.terminate()
    assert await worker.ended() == 0, worker.report()
