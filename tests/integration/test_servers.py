"""The suite's own ground: a server of the version asked for, and databases that do not touch each other."""

import os

import asyncpg
import pytest

from tests.fixtures.cluster import Server, Shutdown
from tests.fixtures.servers import Database


async def test_the_server_is_of_the_version_that_the_test_names(server: Server, database: Database) -> None:
    assert int(await database.fetchval("SELECT current_setting('server_version_num')::int / 10000")) == server.version


async def test_a_wrong_password_is_refused(server: Server) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await server.connect(password="another")  # noqa: S106 - the wrong one, on purpose


async def test_a_database_is_empty_and_goes_away_with_its_connections(server: Server, database: Database) -> None:
    connection = await database.connect()
    try:
        assert (
            await connection.fetchval("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0
        )
        await connection.execute("CREATE TABLE left_behind (id int)")
        server.psql(f"DROP DATABASE {database.name} WITH (FORCE)")
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
            await connection.fetchval("SELECT 1")
    finally:
        await connection.close()


async def test_what_was_committed_outlives_a_crash_of_the_server(server: Server, database: Database) -> None:
    await database.execute("CREATE TABLE kept (id int); INSERT INTO kept VALUES (7); CHECKPOINT")
    before = server.pid
    server.restart(Shutdown.IMMEDIATE)
    assert server.pid != before
    assert await database.fetchval("SELECT id FROM kept") == 7


def test_no_connection_setting_of_the_person_reaches_a_test() -> None:
    assert not [name for name in os.environ if name.startswith(("PG", "DB_", "TIDEGATE_")) or name == "DATABASE_URL"]
