from tests.fixtures.jobs import Said, said, up
from tests.fixtures.servers import Database


async def test_body_ledger_history_and_version_table_are_there_together(database: Database) -> None:
    await up(database, {"1": "CREATE TABLE a (x int)", "2": "CREATE TABLE b (x int)"})

    assert await said(database) == Said((2, False), (1, 2), ((1, "up"), (2, "up")), ())
