"""Names that a query yields: read in a read-only transaction, within a time limit, no more than a fleet may have."""

from typing import TYPE_CHECKING

import asyncpg

from worker.core.fleet.names import MAX_TARGETS
from worker.errors import NoDatabaseError, SettingError
from worker.postgres.faults import DRIVER_ERRORS, Fault, fault_of, message_of

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

_SECONDS = 10

CURRENT_SCHEMA = "SELECT pg_catalog.current_schema()"
"""The schema of a group that names none."""


async def yielded(conn: "Connection[Record]", sql: str, origin: str) -> tuple[object, ...]:
    """The first column of what a query yields; it runs as the session's role and changes nothing.

    Raises:
        SettingError: The server refuses it, or it yields more than one column.
        NoDatabaseError: The connection was lost.
    """
    try:
        async with conn.transaction(readonly=True):
            await conn.execute(f"SET LOCAL statement_timeout = '{_SECONDS}s'")
            rows = await (await conn.cursor(sql)).fetch(MAX_TARGETS + 1)
    except asyncpg.QueryCanceledError as error:
        raise SettingError(f"{origin} took longer than {_SECONDS} s", hint="make it quicker") from error
    except DRIVER_ERRORS as error:
        if fault_of(error, conn) is Fault.CONNECTION_LOST:
            raise NoDatabaseError(f"{origin}: the connection was lost", hint="look at the server's log") from error
        state = getattr(error, "sqlstate", None)
        raise SettingError(
            f"{origin} is refused: {message_of(error)} [{state}]", hint="try it in psql as the same role"
        ) from error
    if rows and len(rows[0]) != 1:
        raise SettingError(f"{origin} yields {len(rows[0])} columns", hint="it takes one, of names")
    return tuple(row[0] for row in rows)
