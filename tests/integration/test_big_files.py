"""A file of many mebibytes: it travels in portions, and nobody can tell that from what it leaves or how it fails."""

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from tests.fixtures.jobs import Said, failure, files, said, up
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.sites import worker_on
from tests.fixtures.workers import finish
from worker.core.bundles.wanted import Intent
from worker.core.checkpoint import Checkpoint
from worker.core.sql.script import PART
from worker.postgres.contents import store
from worker.postgres.transaction import transaction

MIB = 1024 * 1024
ROWS = 1_500
FILLING = "words; and 'quotes' " * 100
TABLE = "CREATE TABLE a (id int PRIMARY KEY, words text);\n"
INSERTS = "".join(f"INSERT INTO a VALUES ({row}, '{FILLING.replace(chr(39), chr(39) * 2)}');\n" for row in range(ROWS))
BIG = TABLE + INSERTS
APPLIED = Said((1, False), (1,), ((1, "up"),), ())
# Behind `BIG`, and so beyond the first portions.
FAULTS = {
    "a name that is not there": ("SELECT nosuch;\n", f"0001_m.up.sql:{ROWS + 2}:8"),
    "a word that is none": ("SELEKT 1;\n", f"0001_m.up.sql:{ROWS + 2}:1"),
    "a row that is there": ("INSERT INTO a VALUES (1);\n", f"0001_m.up.sql:{ROWS + 2}"),
    "a check at the end": (
        "CREATE TABLE b (x int REFERENCES a DEFERRABLE INITIALLY DEFERRED); INSERT INTO b VALUES (-1);\n",
        "0001_m.up.sql",
    ),
}


@pytest.mark.parametrize(("before", "after"), [("", ""), ("BEGIN;\n", "COMMIT;\n")])
async def test_it_is_one_transaction_in_portions(database: Database, before: str, after: str) -> None:
    passed: list[Checkpoint] = []
    async with worker_on(database) as worker:
        session = replace(worker.session, passing=passed.append)
        await replace(worker, session=session).up(files({"1": before + BIG + after}))

    assert passed.count(Checkpoint.PORTION) == len(BIG) // PART
    assert await said(database) == APPLIED
    assert await database.fetchval("SELECT count(*) || ' ' || count(DISTINCT xmin::text) FROM a") == f"{ROWS} 1"


@pytest.mark.parametrize(("sql", "where"), FAULTS.values(), ids=FAULTS.keys())
async def test_a_fault_far_behind_is_told_at_its_place_and_nothing_stays(
    database: Database, sql: str, where: str
) -> None:
    told = await failure(database, {"1": BIG + sql + INSERTS.replace("(", "(9999", ROWS * 2)})

    assert told.where.startswith(where)
    assert await database.fetchval("SELECT to_regclass('a') IS NULL")
    assert await said(database) == Said(None, (), (), ())


async def test_a_block_of_a_file_in_segments_is_sent_in_portions_too(database: Database) -> None:
    await up(database, {"1": f"{BIG}CREATE INDEX CONCURRENTLY i ON a (words);\nSELECT 1;"})

    assert await said(database) == APPLIED
    assert await database.fetchval("SELECT count(*) FROM a") == ROWS


async def test_a_large_content_is_stored_once_and_read_back_as_it_was(database: Database) -> None:
    one, two = files({"1": BIG}, "one"), files({"1": BIG, "2": "SELECT 2"}, "two")
    async with worker_on(database) as worker:
        await worker.publish(one)
        await worker.publish(two, Intent.EXPLICIT)

    assert await database.fetchval("SELECT array_agg(content ORDER BY length(content)) FROM tidegate.bundle_file") == [
        b"SELECT 2",
        BIG.encode(),
    ]


async def test_two_lines_may_store_the_same_large_content_at_once(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.publish(files({"1": "SELECT 1"}))
    contents = {side.checksum: BIG.encode() for side in [files({"1": BIG}).migrations[0].up] if side is not None}

    async def one() -> None:
        async with worker_on(database) as worker, transaction(worker.session, "storing"):
            await store(worker.session.conn, worker.session.control, contents)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(one)

    assert await database.fetchval("SELECT count(*) FROM tidegate.bundle_file WHERE length(content) > 1000000") == 1


def test_twenty_megabytes_take_less_than_three_times_as_much_memory_above_that_of_doing_nothing(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    row = "INSERT INTO a VALUES (1, 'the quick brown fox; jumps over the lazy dog''s back');\n"
    file = tmp_path / "1_a.up.sql"
    file.write_text("CREATE TABLE a (id int, words text);\n" + row * (20 * MIB // len(row)))

    def peak(*arguments: str) -> int:
        process = tidegate(*arguments, env={"DB_URL": database.dsn}, program=("tests.fixtures.peak",))
        finish(process)
        return int(process.stdout.split()[-1])

    idle = peak("version")
    assert peak("up", "--source", str(tmp_path)) - idle < 3 * file.stat().st_size
