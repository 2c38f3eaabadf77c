"""Statements that the server keeps parsed for who idles: a worker before its next job, a gate before its next look.

asyncpg keeps them by itself where its cache takes them. On our sessions it takes none, for DDL changes what statements
return, and a migration may drop them; it is opened for a session that idles, and a worker shuts it again for good
before a migration is sent. A gate's is opened once it is known that no pooler stands before the server. The driver has
no public way to do either on an open connection.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

_MOST = 64
_LOCK_TIMEOUT_MS = 100


def keep(conn: "Connection[Record]") -> None:
    """Keep the statements that are sent from now on, for as long as the connection lives or until `forget`."""
    _take_up_to(conn, 0)
    conn._stmt_cache.set_max_size(_MOST)  # type: ignore[attr-defined]  # noqa: SLF001 - see above
    conn._stmt_cache.set_max_lifetime(0)  # type: ignore[attr-defined]  # noqa: SLF001 - see above
    conn._stmt_cache_enabled = True  # type: ignore[attr-defined]  # noqa: SLF001 - see above


async def prepare(conn: "Connection[Record]", statements: Iterable[str]) -> None:
    """Have statements parsed that will be sent later; of no use where none are kept.

    Raises:
        asyncpg.LockNotAvailableError: Somebody holds a table that one of them writes; parsing it takes the same lock.
        asyncpg.PostgresError: The server refuses one.
    """
    async with hurried(conn):
        for sql in statements:
            await conn._get_statement(sql, None)  # type: ignore[attr-defined]  # noqa: SLF001 - see above


@asynccontextmanager
async def hurried(conn: "Connection[Record]") -> AsyncIterator[None]:
    """Have the block's statements wait a tenth of a second for a lock."""
    await conn.execute(f"SET lock_timeout = {_LOCK_TIMEOUT_MS}")
    try:
        yield
    finally:
        # It ends what the driver began and leaves open: the session would stay in a transaction, with a snapshot.
        await conn.execute("RESET lock_timeout")


def forget(conn: "Connection[Record]") -> None:
    """Keep none any more: what a migration drops would be missed, and what it changes would return something else."""
    _take_up_to(conn, 1)
    conn._stmt_cache.clear()  # type: ignore[attr-defined]  # noqa: SLF001 - see above
    # What stands behind the migration's COMMIT drops them in the server; one by one they would cost a round trip each.
    conn._stmts_to_close.clear()  # type: ignore[attr-defined]  # noqa: SLF001 - see above


def _take_up_to(conn: "Connection[Record]", characters: int) -> None:
    """Let the cache take statements up to this length, 0 for any: none of ours is as short as 1."""
    config = conn._config._replace(max_cacheable_statement_size=characters)  # type: ignore[attr-defined]  # noqa: SLF001
    conn._config = config  # type: ignore[attr-defined]  # noqa: SLF001 - see above
