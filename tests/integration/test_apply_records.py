"""What a migration does to the tables that it is recorded in, and what is said where the record is what failed."""

import pytest

from tests.fixtures.jobs import Said, failure, said, up
from tests.fixtures.jobs import files as bundle
from tests.fixtures.servers import Database
from tests.fixtures.sites import worker_on
from worker.postgres.session import PINNED_PATH

EMPTY = Said(None, (), (), ())
HARMFUL = {
    "drops the version table": "DROP TABLE schema_migrations",
    "renames the version table": "ALTER TABLE schema_migrations RENAME TO other",
    "makes the version table refuse rows": "ALTER TABLE schema_migrations ADD COLUMN y int NOT NULL",
    "drops the control schema": "DROP SCHEMA tidegate CASCADE",
    "renames the control schema": "ALTER SCHEMA tidegate RENAME TO other",
}


@pytest.mark.parametrize("text", HARMFUL.values(), ids=HARMFUL.keys())
async def test_a_migration_fails_and_loses_nothing_that(database: Database, text: str) -> None:
    told = await failure(database, {"1": f"CREATE TABLE a (x int); {text}"})

    assert told.where == "0001_m.up.sql (line unknown)"
    assert "recording them failed" in (told.hint or "")
    assert await said(database) == EMPTY
    assert await database.fetchval("SELECT to_regclass('a') IS NULL")


@pytest.mark.parametrize("text", ["DROP TABLE schema_migrations", "ALTER SCHEMA tidegate RENAME TO other"])
async def test_the_only_statement_is_not_blamed_for_what_failed_behind_it(database: Database, text: str) -> None:
    assert (await failure(database, {"1": text})).line is None


async def test_a_migration_that_takes_its_own_rights_fails_with_the_grant(database: Database) -> None:
    role = f"owner_{database.name}"
    await up(database, {"1": "SELECT 1"})
    await database.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'own'; GRANT CREATE ON SCHEMA public TO {role};"
        f"GRANT CREATE, USAGE ON SCHEMA tidegate TO {role}; ALTER TABLE schema_migrations OWNER TO {role};"
        f"GRANT ALL ON ALL TABLES IN SCHEMA tidegate TO {role};"
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA tidegate TO {role};"
        f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tidegate TO {role}"
    )
    try:
        files = {"1": "SELECT 1", "2": f"REVOKE ALL ON schema_migrations FROM {role}"}
        told = await failure(database, files, dsn=database.dsn_as(role, "own"))
        assert (told.sqlstate, told.line) == ("42501", None)
        assert "GRANT" in (told.hint or "")
        assert (await said(database)).ledger == (1,)
    finally:
        await database.execute(f"REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}")


READ_ONLY = {
    "wrapped": "BEGIN READ ONLY; SELECT 1; COMMIT;",
    "with other modes": "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE; SELECT 1; COMMIT;",
    "in a block of several": "CREATE TABLE a (x int); COMMIT; BEGIN READ ONLY; SELECT 1; COMMIT; SELECT 2",
    "said later": "CREATE TABLE a (x int); SET TRANSACTION READ ONLY",
    "set later": "CREATE TABLE a (x int); SET transaction_read_only = on",
}


@pytest.mark.parametrize("text", READ_ONLY.values(), ids=READ_ONLY.keys())
async def test_a_read_only_transaction_is_recorded_all_the_same(database: Database, text: str) -> None:
    await up(database, {"1": text})

    assert await said(database) == Said((1, False), (1,), ((1, "up"),), ())


async def test_a_read_only_transaction_that_writes_fails(database: Database) -> None:
    told = await failure(database, {"1": "BEGIN READ ONLY;\nCREATE TABLE a (x int); COMMIT;"})

    assert (told.sqlstate, told.line) == ("25006", 2)
    assert "READ ONLY" in (told.hint or "")


@pytest.mark.parametrize(("before", "line"), [("", 1), ("SELECT 1; ", None)])
async def test_a_deferred_constraint_that_fails_at_the_end_blames_a_lone_statement_only(
    database: Database, before: str, line: int | None
) -> None:
    table = "CREATE TABLE a (x int UNIQUE DEFERRABLE INITIALLY DEFERRED)"
    told = await failure(database, {"1": table, "2": f"{before}INSERT INTO a VALUES (1), (1)"})

    assert (told.sqlstate, told.line) == ("23505", line)


async def test_start_up_parameters_are_in_force_again_behind_each_migration(database: Database) -> None:
    role = f"part_{database.name}"
    await database.execute(f"CREATE ROLE {role}; GRANT CREATE ON DATABASE {database.name} TO {role}")
    await database.execute(f"GRANT ALL ON SCHEMA public TO {role}")
    try:
        dsn = database.dsn_as(options=f"-c role={role} -c search_path=public -c work_mem=7MB")
        async with worker_on(database, dsn=dsn) as worker:
            text = "SET ROLE postgres; SET work_mem = '1MB'; SET search_path = pg_catalog; RESET ALL; SET ROLE NONE"
            await worker.up(bundle({"1": text}))
            row = await worker.session.conn.fetchrow(
                "SELECT current_user::text AS role, current_setting('work_mem') AS memory,"
                " current_setting('search_path') AS path, current_setting('lock_timeout') AS lock"
            )
            # A migration's names are looked up in the session's own path, which what runs beside it does not see.
            own = await worker.session.conn.fetchval("SELECT reset_val FROM pg_settings WHERE name = 'search_path'")
        assert row is not None
        assert tuple(row) == (role, "7MB", PINNED_PATH, "30s")
        assert own == "public"
        assert await database.fetchval("SELECT applied_by FROM tidegate.ledger WHERE version = 1 LIMIT 1") == role
    finally:
        await database.execute(f"REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}")
