"""Statements that an idle worker's session keeps, and a session that runs migrations does not."""

from tests.fixtures.servers import Database
from worker.postgres.statements import forget, keep, prepare

_ASKED = "SELECT a FROM one WHERE a > $1"
_KEPT = "SELECT statement FROM pg_prepared_statements WHERE statement LIKE 'SELECT a FROM one%'"


async def test_a_prepared_statement_is_kept_and_leaves_no_transaction_behind(database: Database) -> None:
    conn = await database.connect(statement_cache_size=0)
    other = await database.connect()
    await conn.execute("CREATE TABLE one AS SELECT 1 AS a")
    keep(conn)

    await prepare(conn, [_ASKED])

    state = await other.fetchrow(
        "SELECT state, backend_xmin FROM pg_stat_activity WHERE pid = $1", conn.get_server_pid()
    )
    assert tuple(state) == ("idle", None)
    assert await conn.fetchval(_ASKED, 0) == 1
    assert [row["statement"] for row in await conn.fetch(_KEPT)] == [_ASKED]
    await conn.close()
    await other.close()


async def test_what_a_migration_drops_and_changes_is_asked_anew_once_nothing_is_kept(database: Database) -> None:
    conn = await database.connect(statement_cache_size=0)
    await conn.execute("CREATE TABLE one AS SELECT 1 AS a")
    keep(conn)
    await prepare(conn, [_ASKED])

    forget(conn)
    await conn.execute("BEGIN; ALTER TABLE one ALTER a TYPE text; DEALLOCATE ALL")

    assert await conn.fetchval(_ASKED, "0") == "1"
    await conn.execute("COMMIT")
    assert await conn.fetch(_KEPT) == []
    await conn.close()
