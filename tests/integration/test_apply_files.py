"""Files as real bundles hold them."""

import anyio
import pytest

from tests.fixtures.jobs import Said, failure, files, said, up
from tests.fixtures.servers import Database
from tests.fixtures.sites import worker_on
from worker.core.events.migration_events import MigrationStarted

NOTHING = {
    "a zero-byte file": b"",
    "white space": b" \r\n\t\n",
    "a comment": b"-- nothing",
    "a comment without an end of line behind a BOM": b"\xef\xbb\xbf/* nothing */",
    "semicolons": b";;\n;",
    "an empty transaction": b"BEGIN;\nCOMMIT;",
}


@pytest.mark.parametrize("raw", NOTHING.values(), ids=NOTHING.keys())
async def test_a_file_without_a_statement_is_recorded(database: Database, raw: bytes) -> None:
    async with worker_on(database) as worker:
        await worker.up(files({"1": raw}))
        assert [event.mode for event in worker.recorded.of(MigrationStarted)] == ["empty"]

    assert await said(database) == Said((1, False), (1,), ((1, "up"),), ())


TABLE_A = {
    "CRLF": b"CREATE TABLE a (\r\n  x int\r\n);\r\n-- end\r\n",
    "a BOM": b"\xef\xbb\xbfCREATE TABLE a (x int)",
    "a comment at the very end": b"CREATE TABLE a (x int) -- end",
    "no semicolon": b"CREATE TABLE a (x int)",
    "the lines of a dump": b"\\restrict Abc123\nCREATE TABLE a (x int);\n\\unrestrict Abc123\n",
    "a transaction of its own": b"-- first\nBEGIN;\nCREATE TABLE a (x int);\nCOMMIT; -- last",
    "a tagged body": b"DO $do$ BEGIN EXECUTE 'CREATE TABLE a (x int); SELECT 1'; END $do$;",
    "COPY to nobody": b"CREATE TABLE a (x int); COPY a TO stdout; INSERT INTO a VALUES (1);",
}


@pytest.mark.parametrize("raw", TABLE_A.values(), ids=TABLE_A.keys())
async def test_a_file_is_taken_as_it_is_with(database: Database, raw: bytes) -> None:
    await up(database, {"1": raw})

    assert await database.fetchval("SELECT to_regclass('public.a') IS NOT NULL")
    assert await said(database) == Said((1, False), (1,), ((1, "up"),), ())


async def test_what_pg_dump_writes_can_be_run_and_the_next_file_finds_its_search_path(database: Database) -> None:
    await database.execute("CREATE TABLE a (x int PRIMARY KEY); CREATE FUNCTION f() RETURNS int RETURN 1")
    command = [str(database.server.clients / "pg_dump"), "--schema-only", "--schema=public", "-d", database.dsn]
    made = await anyio.run_process(command)
    dump = made.stdout.replace(b"CREATE SCHEMA public;", b"")
    if database.server.version < 17:
        # A pg_dump of 17 and later sets it whatever the server's version is.
        dump = dump.replace(b"SET transaction_timeout = 0;\n", b"")
    await database.execute("DROP TABLE a; DROP FUNCTION f")

    await up(database, {"1": dump, "2": "CREATE TABLE b (x int REFERENCES a)"})

    assert b"set_config('search_path', ''" in dump
    assert await database.fetchval("SELECT to_regclass('public.b') IS NOT NULL")


async def test_versions_with_one_side_only_and_version_zero_are_recorded(database: Database) -> None:
    await up(database, {"0": "CREATE TABLE a (x int)", "-1": "DROP TABLE a", "2": "CREATE TABLE b (x int)"})

    assert await said(database) == Said((2, False), (0, 1, 2), ((0, "up"), (1, "up"), (2, "up")), ())
    modes = await database.fetch("SELECT mode FROM tidegate.ledger WHERE target LIKE 'public.%' ORDER BY version")
    assert [row[0] for row in modes] == ["transactional", "empty", "transactional"]


async def test_version_zero_alone_is_a_version(database: Database) -> None:
    await up(database, {"0": "CREATE TABLE a (x int)"})

    assert (await said(database)).version == (0, False)


async def test_a_position_counts_from_the_beginning_of_a_dump_with_its_first_line(database: Database) -> None:
    told = await failure(database, {"1": "\\restrict Abc\nSELECT 1;\nSELECT nosuch;\n\\unrestrict Abc\n"})

    assert told.where == "0001_m.up.sql:3:8"


@pytest.mark.parametrize("value", ["x'", "$$", "\\", "üñí"])
async def test_a_name_of_a_file_with_odd_characters_is_recorded_as_it_is(database: Database, value: str) -> None:
    await up(database, {f"1_{value}.up.sql": "SELECT 1"})

    name = await database.fetchval("SELECT name FROM tidegate.ledger WHERE target LIKE 'public.%'")
    assert name == value
