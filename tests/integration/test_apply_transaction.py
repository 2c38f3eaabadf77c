"""A migration in one transaction: all of it and its records are there, or nothing is, and it says where it failed."""

from collections.abc import Mapping
from dataclasses import replace

import anyio
import pytest

from tests.fixtures.jobs import TARGET, Said, failure, files, gone, said, until, up
from tests.fixtures.servers import Database
from tests.fixtures.sites import LIMITS, SITE, worker_on
from worker.core.events.event import Outcome
from worker.core.events.migration_events import MigrationFinished, MigrationRetried
from worker.errors import MigrationFailedError

ONE = {"1": "CREATE TABLE a (x int PRIMARY KEY)"}


async def test_a_failed_migration_leaves_nothing_and_the_earlier_ones_stay(database: Database) -> None:
    told = await failure(database, ONE | {"2": "CREATE TABLE b (x int);\nINSERT INTO missing VALUES (1)"})

    assert (told.where, told.sqlstate) == ("0002_m.up.sql:2:13", "42P01")
    assert told.statement == "INSERT INTO missing VALUES (1)"
    assert await said(database) == Said((1, False), (1,), ((1, "up"),), ())
    assert await database.fetchval("SELECT to_regclass('b')::text") is None


async def test_the_servers_hint_is_kept(database: Database) -> None:
    told = await failure(database, {"1": "CREATE TABLE a (amount int); SELECT amout FROM a"})

    assert "amount" in (told.hint or "")


PLACES: Mapping[str, tuple[str | bytes, tuple[int, int]]] = {
    "multi-byte text": ("SELECT 'süß 😀'; SELECT '🦀' || nosuch", (1, 31)),
    "CRLF": (b"SELECT 1;\r\nSELECT 2;\r\n  SELECT nosuch;\r\n", (3, 10)),
    "a BOM": (b"\xef\xbb\xbfSELECT 1;\nSELECT nosuch", (2, 8)),
    "a wrapping BEGIN and COMMIT": ("BEGIN; SELECT 1;\nSELECT nosuch;\nCOMMIT;", (2, 8)),
    "the line of a wrapping BEGIN": ("BEGIN; SELECT nosuch; COMMIT;", (1, 15)),
    "a syntax error in the third statement": ("SELECT 1;\nSELECT 2;\nSELEC 3;", (3, 1)),
}


@pytest.mark.parametrize(("text", "place"), PLACES.values(), ids=PLACES.keys())
async def test_an_error_is_found_in(database: Database, text: str | bytes, place: tuple[int, int]) -> None:
    told = await failure(database, {"1": text})

    assert (told.line, told.column) == place


async def test_an_error_at_the_very_end_of_the_file_is_told_in_its_last_line(database: Database) -> None:
    told = await failure(database, {"1": "CREATE TABLE a (x int);\nSELECT 1 +"})

    assert (told.sqlstate, told.line) == ("42601", 2)


WITHOUT_POSITION = {
    "22012": "CREATE TABLE b (x int); INSERT INTO b VALUES (0);\nSELECT 1 / x FROM b;\nSELECT 2",
    "23505": "INSERT INTO a VALUES (1);\nINSERT INTO a VALUES (1);\nSELECT 2",
    "42P07": "SELECT 1;\nCREATE TABLE a (x int);\nSELECT 2",
    "42P01": "SELECT 1;\nDROP TABLE missing;\nSELECT 2",
}


@pytest.mark.parametrize(("sqlstate", "text"), WITHOUT_POSITION.items(), ids=WITHOUT_POSITION.keys())
async def test_an_error_without_a_position_is_found_by_a_replay(database: Database, sqlstate: str, text: str) -> None:
    told = await failure(database, ONE | {"2": text})

    assert (told.sqlstate, told.line, told.column) == (sqlstate, 2, None)
    assert await database.fetchval("SELECT count(*) FROM a") == 0
    assert await database.fetchval("SELECT to_regclass('b')::text") is None


async def test_the_only_statement_of_a_file_is_the_one_that_failed(database: Database) -> None:
    told = await failure(database, {"1": "\n\nDROP TABLE missing"})

    assert told.where == "0001_m.up.sql:3"


async def test_an_error_that_a_replay_does_not_show_has_no_line(database: Database) -> None:
    await database.execute("CREATE SEQUENCE once")
    told = await failure(database, {"1": "SELECT 1;\nSELECT 1 / (nextval('once') - 1);\nSELECT 2"})

    assert told.where == "0001_m.up.sql (line unknown)"


async def test_a_read_only_file_is_recorded_all_the_same(database: Database) -> None:
    await up(database, {"1": "BEGIN READ ONLY; SELECT 1; COMMIT;"})

    assert (await said(database)).ledger == (1,)


async def test_a_read_only_file_cannot_write(database: Database) -> None:
    told = await failure(
        database, {"1": "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY;\nCREATE TABLE a (x int); COMMIT;"}
    )

    assert (told.sqlstate, told.line, "READ ONLY" in (told.hint or "")) == ("25006", 2, True)
    assert (await said(database)).ledger == ()


async def test_a_file_may_ask_for_serializable(database: Database) -> None:
    mode = "CREATE TABLE a AS SELECT current_setting('transaction_isolation') AS level"
    await up(database, {"1": f"BEGIN ISOLATION LEVEL SERIALIZABLE; {mode}; COMMIT;"})

    assert await database.fetchval("SELECT level FROM a") == "serializable"


async def test_a_lock_timeout_is_retried_until_the_table_is_free(database: Database) -> None:
    await database.execute("CREATE TABLE a (x int)")
    other = await database.connect()
    await other.execute("BEGIN; LOCK TABLE a")
    async with worker_on(database) as worker, anyio.create_task_group() as group:
        group.start_soon(worker.up, files({"1": "ALTER TABLE a ADD COLUMN y int"}))
        retried = await worker.recorded.first(MigrationRetried)
        await other.close()

        finished = await worker.recorded.first(MigrationFinished)
    assert retried.cause == "55P03"
    assert (finished.outcome, finished.retries > 0, finished.lock_wait_seconds > 0) == (Outcome.SUCCEEDED, True, True)
    assert (await said(database)).version == (1, False)
    recorded = await database.fetchval("SELECT duration_ms::float8 FROM tidegate.history WHERE target = $1", TARGET)
    assert recorded >= finished.lock_wait_seconds * 1000


async def test_a_lock_that_is_never_free_ends_the_budget(database: Database) -> None:
    await database.execute("CREATE TABLE a (x int)")
    other = await database.connect()
    await other.execute("BEGIN; LOCK TABLE a")
    site = replace(SITE, limits=replace(LIMITS, lock_timeout_ms=50, lock_budget=0.3))
    async with worker_on(database, site=site) as worker:
        with pytest.raises(MigrationFailedError) as caught:
            await worker.up(files({"1": "ALTER TABLE a ADD COLUMN y int"}))
    await other.close()

    assert caught.value.failure.sqlstate == "55P03"
    finished = worker.recorded.of(MigrationFinished)[-1]
    assert (finished.outcome, finished.retries > 0) == (Outcome.FAILED, True)


async def test_the_timeouts_of_the_directives_are_in_force(database: Database) -> None:
    show = "CREATE TABLE a AS SELECT current_setting('lock_timeout') AS l, current_setting('statement_timeout') AS s"
    await up(database, {"1": f"-- tidegate: lock_timeout=7s\n-- tidegate: statement_timeout=9s\n{show}"})

    row = await database.fetchrow("SELECT l, s FROM a")
    assert row is not None
    assert tuple(row) == ("7s", "9s")


async def test_settings_of_the_role_do_not_get_in_the_way(database: Database) -> None:
    role = f"odd_{database.name}"
    await database.execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'odd'")
    for setting, value in {
        "statement_timeout": "'1ms'",
        "lock_timeout": "'1ms'",
        "default_transaction_read_only": "on",
        "default_transaction_isolation": "'serializable'",
    }.items():
        await database.execute(f"ALTER ROLE {role} SET {setting} = {value}")
    show = "CREATE TABLE a AS SELECT current_setting('transaction_isolation') AS level; SELECT pg_sleep(0.05)"
    try:
        async with worker_on(database, dsn=database.dsn_as(role, "odd")) as worker:
            await worker.up(files({"1": show}))
        assert await database.fetchval("SELECT level FROM a") == "read committed"
    finally:
        await database.execute(f"REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_cancelled_migration_leaves_no_transaction_and_no_backend(database: Database) -> None:
    watcher = await database.connect()
    async with worker_on(database) as worker:
        pid = worker.session.conn.get_server_pid()
        async with anyio.create_task_group() as group:
            group.start_soon(worker.up, files({"1": "CREATE TABLE a (x int); SELECT pg_sleep(60)"}))
            await until(watcher, "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $1", pid)
            group.cancel_scope.cancel()
        state = "SELECT state = 'idle' AND backend_xid IS NULL FROM pg_stat_activity WHERE pid = $1"
        assert worker.session.conn.is_closed() or await watcher.fetchval(state, pid)
    await watcher.close()
    await gone(database, pid)

    assert await database.fetchval("SELECT to_regclass('a')::text") is None
    assert (await said(database)).ledger == ()
    finished = worker.recorded.of(MigrationFinished)[-1]
    assert finished.outcome is Outcome.INTERRUPTED
