"""Reads how large the tables are that a migration touches."""

from collections.abc import Iterable

import asyncpg

from worker.core.sql.table_locks import Relation, TableSize
from worker.core.target import Target
from worker.postgres.faults import settle, told
from worker.postgres.queries import queries
from worker.postgres.session import PINNED_PATH, Session

# A size is read under the table's weakest lock, which an ALTER TABLE that runs now keeps for itself.
_BEGIN = "BEGIN READ ONLY; SET LOCAL lock_timeout = '500ms'"
# A migration's names are looked up with the session's default, and nothing else is.
_PATH = "SELECT pg_catalog.current_schemas(true)::pg_catalog.text[]"


async def read_sizes(session: Session, relations: Iterable[Relation]) -> dict[Relation, TableSize]:
    """The sizes of those that are there, by the names that were given; of none where a table is locked just now.

    Raises:
        ConnectionLostError: The connection broke.
    """
    asked = list(relations)
    sql = queries("sizes", session.control)["sizes"]
    async with told(session, "reading the sizes of tables"):
        try:
            await session.conn.execute(f"{_BEGIN}; SET LOCAL search_path TO DEFAULT")
            path = await session.conn.fetchval(_PATH)
            await session.conn.execute(f"SET LOCAL search_path = {PINNED_PATH}")
            rows = await session.conn.fetch(sql, [each.schema for each in asked], [each.name for each in asked], path)
        except asyncpg.LockNotAvailableError:
            rows = []
        finally:
            await settle(session.conn)
    return {
        Relation(row["schema"], row["name"]): TableSize(
            Target(row["table_schema"], row["table_name"]).name, row["size_bytes"], row["rows"]
        )
        for row in rows
    }
