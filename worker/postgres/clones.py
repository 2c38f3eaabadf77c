"""Databases that are copies of one template: made once under a lock, cloned quickly, dropped whoever is connected."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

import asyncpg

from worker.core.connecting.dsn import parse_dsn
from worker.core.target import quote_identifier
from worker.errors import RefusedError
from worker.postgres.connection import Purpose, closing, connect
from worker.postgres.faults import message_of

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

_NAME = "tidegate clones"


async def make_template(server: str, name: str, fill: Callable[[], Awaitable[None]]) -> None:
    """Have a template of this name, made by `fill` where it is not there whole; several programs at once make one.

    A whole one takes no connections, which also keeps it as it is. One that was cut is made anew.

    Raises:
        RefusedError: The role may not create databases.
        NoDatabaseError: The server cannot be reached.
    """
    async with _administering(server) as conn:
        # A plain wait: nothing here builds an index concurrently, and the server gives the lock back with the session.
        await conn.execute("SET lock_timeout = 0")
        await conn.execute("SELECT pg_advisory_lock($1)", _key(name))
        if await conn.fetchval("SELECT NOT datallowconn FROM pg_database WHERE datname = $1", name):
            return
        await conn.execute(f"DROP DATABASE IF EXISTS {quote_identifier(name)} WITH (FORCE)")
        await conn.execute(f"CREATE DATABASE {quote_identifier(name)} TEMPLATE template0")
        await fill()
        await conn.execute(f"ALTER DATABASE {quote_identifier(name)} ALLOW_CONNECTIONS false")


async def clone(server: str, template: str, name: str) -> None:
    """Make a database out of a template; raises as above."""
    async with _administering(server) as conn:
        await conn.execute(f"CREATE DATABASE {quote_identifier(name)} TEMPLATE {quote_identifier(template)}")


async def drop(server: str, name: str) -> None:
    """Drop a database, whoever is still connected to it; raises as above."""
    async with _administering(server) as conn:
        await conn.execute(f"DROP DATABASE IF EXISTS {quote_identifier(name)} WITH (FORCE)")


@asynccontextmanager
async def _administering(server: str) -> "AsyncIterator[Connection[Record]]":
    params = parse_dsn(server, "the server's URL").params
    async with closing(await connect(params, Purpose.CONTROL, application_name=_NAME)) as conn:
        try:
            yield conn
        except asyncpg.InsufficientPrivilegeError as error:
            raise RefusedError(
                f"role {params.user} may not do this at {params.place()}: {message_of(error)}",
                hint="give it CREATEDB, on a server that is for tests alone",
                reason="privilege",
            ) from error
        except asyncpg.PostgresError as error:
            raise RefusedError(
                f"{params.place()}: {message_of(error)} [{error.sqlstate}]",
                hint="see the server's log",
                reason="database",
            ) from error


def _key(name: str) -> int:
    return int.from_bytes(sha256(f"tidegate\0clones\0{name}".encode()).digest()[:8], "big", signed=True)
