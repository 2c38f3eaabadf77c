"""What a migration does to its session stays in that migration."""

import pytest

from tests.fixtures.jobs import Said, failing, failure, files, said, up
from tests.fixtures.servers import Database
from tests.fixtures.sites import worker_on

LEAKS = {
    "an empty search_path": "SET search_path = ''",
    "an empty search_path of pg_dump": "SELECT pg_catalog.set_config('search_path', '', false)",
    "a role": "SET ROLE pg_monitor",
    "a session authorization": "SET SESSION AUTHORIZATION pg_monitor",
    "a statement timeout": "SET statement_timeout = 1",
    "triggers turned off": "SET session_replication_role = replica",
    "all reset": "RESET ALL",
}


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS.keys())
async def test_a_setting_does_not_reach_the_next_migration(database: Database, leak: str) -> None:
    probe = (
        "CREATE TABLE seen AS SELECT current_user::text AS role, session_user::text AS login, "
        "current_setting('search_path') AS path, current_setting('session_replication_role') AS replication, "
        "current_setting('statement_timeout') AS timeout"
    )
    await up(database, {"1": leak, "2": probe})

    row = await database.fetchrow("SELECT * FROM public.seen")
    assert row is not None
    assert tuple(row) == ("postgres", "postgres", '"$user", public', "origin", "0")


async def test_objects_of_a_session_do_not_reach_the_next_migration(database: Database) -> None:
    body = "PREPARE p AS SELECT 1; CREATE TEMP TABLE t (a int); LISTEN news; DECLARE c CURSOR WITH HOLD FOR SELECT 1"
    probe = (
        "CREATE TABLE seen AS SELECT (SELECT count(*) FROM pg_prepared_statements) AS prepared, "
        "(SELECT count(*) FROM pg_cursors WHERE is_holdable) AS cursors, "
        "(SELECT count(*) FROM pg_listening_channels()) AS channels, to_regclass('pg_temp.t') IS NULL AS no_table"
    )
    await up(database, {"1": body, "2": probe})

    row = await database.fetchrow("SELECT * FROM seen")
    assert row is not None
    assert tuple(row) == (0, 0, 0, True)


async def test_objects_belong_to_the_role_of_the_options_also_after_a_reset_role(database: Database) -> None:
    owner = f"owner_{database.name}"
    await database.execute(f"CREATE ROLE {owner}; GRANT CREATE ON DATABASE {database.name} TO {owner}")
    await database.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {owner}")
    try:
        async with worker_on(database, dsn=database.dsn_as(options=f"-c role={owner}")) as worker:
            await worker.up(files({"1": "CREATE TABLE a (x int); RESET ROLE; CREATE TABLE b (x int)"}))
        rows = await database.fetch(
            "SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        )
        assert [tuple(row) for row in rows] == [("a", owner), ("b", owner), ("schema_migrations", owner)]
    finally:
        await database.execute(f"REASSIGN OWNED BY {owner} TO postgres; DROP OWNED BY {owner}; DROP ROLE {owner}")


async def test_a_migration_that_drops_the_lock_is_rolled_back_and_told_in_words(database: Database) -> None:
    told = await failure(database, {"1": "CREATE TABLE a (x int); SELECT pg_advisory_unlock_all()"})

    assert "advisory lock" in told.message
    assert "pg_advisory_unlock_all()" in (told.hint or "")
    assert await database.fetchval("SELECT to_regclass('a')::text") is None


async def test_a_commit_inside_do_says_how_it_can_be_run(database: Database) -> None:
    told = await failure(database, {"1": "DO $$BEGIN CREATE TABLE a (x int); COMMIT; END$$"})

    assert told.sqlstate == "2D000"
    assert "transaction=off" in (told.hint or "")
    assert await database.fetchval("SELECT to_regclass('a')::text") is None


async def test_a_commit_inside_do_runs_under_the_directive(database: Database) -> None:
    body = "-- tidegate: transaction=off\nDO $$BEGIN CREATE TABLE a (x int); COMMIT; CREATE TABLE b (x int); END$$"
    await up(database, {"1": body})

    assert await database.fetchval("SELECT to_regclass('b')::text") == "b"
    assert await said(database) == Said((1, False), (1,), ((1, "up"),), ())


async def test_a_migration_may_add_a_column_to_the_version_table_and_drop_it_later(database: Database) -> None:
    await up(
        database,
        {
            "1": "ALTER TABLE schema_migrations ADD COLUMN data_version int",
            "2": "CREATE TABLE a (x int)",
            "3": "ALTER TABLE schema_migrations DROP COLUMN data_version",
        },
    )

    assert (await said(database)).version == (3, False)


async def test_a_migration_that_drops_the_version_table_fails_and_loses_nothing(database: Database) -> None:
    error, _ = await failing(database, {"1": "CREATE TABLE a (x int)", "2": "DROP TABLE schema_migrations"})

    assert "schema_migrations" in error.message
    assert await said(database) == Said((1, False), (1,), ((1, "up"),), ())


async def test_an_enum_value_can_be_used_in_the_next_file(database: Database) -> None:
    await up(
        database,
        {
            "1": "CREATE TYPE mood AS ENUM ('calm')",
            "2": "ALTER TYPE mood ADD VALUE 'glad'",
            "3": "CREATE TABLE a (m mood DEFAULT 'glad'); INSERT INTO a VALUES ('glad')",
        },
    )

    assert await database.fetchval("SELECT m::text FROM a") == "glad"


async def test_an_enum_value_cannot_be_used_in_its_own_file(database: Database) -> None:
    told = await failure(
        database,
        {"1": "CREATE TYPE mood AS ENUM ('calm')", "2": "ALTER TYPE mood ADD VALUE 'glad';\nSELECT 'glad'::mood"},
    )

    assert (told.sqlstate, told.line) == ("55P04", 2)
    assert (await said(database)).ledger == (1,)
