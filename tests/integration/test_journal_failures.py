"""A statement that no transaction can hold, and that the server refused: known to have failed, and not in doubt."""

import anyio
import pytest

from tests.fixtures.jobs import Said, failing, failure, files, said, until, up
from tests.fixtures.servers import Database
from tests.fixtures.sites import worker_on
from worker.core.events.event import Outcome
from worker.core.events.migration_events import MigrationFailed, MigrationFinished, MigrationRetried, SegmentRecovered
from worker.core.lock_keys import target_key
from worker.core.target import Target
from worker.errors import InDoubtError, RefusedError

ONE = {"1": "CREATE TABLE a (x int); CREATE TABLE b (x int)"}
BUILD = "CREATE INDEX CONCURRENTLY i ON a (x)"
DONE = Said((2, False), (1, 2), ((1, "up"), (2, "up")), ())
LONE = "-- tidegate: transaction=off\n"
JOB = "SELECT state FROM tidegate.job ORDER BY id DESC LIMIT 1"


async def test_a_lone_statement_that_failed_is_repeated_and_not_in_doubt(database: Database) -> None:
    text = f"{LONE}INSERT INTO a VALUES (1);\nVACUUM c;"
    told = await failure(database, ONE | {"2": text})
    assert (told.where, (await said(database)).journal) == ("0002_m.up.sql:3", ((0, "done"), (1, "failed")))

    await database.execute("CREATE TABLE c (x int)")
    await up(database, ONE | {"2": text})

    assert await said(database) == DONE
    assert await database.fetchval("SELECT count(*) FROM a") == 1


async def test_a_single_statement_leaves_nothing_and_no_word_in_the_journal_when_it_fails(database: Database) -> None:
    text = f"{LONE}INSERT INTO a VALUES (1);\nINSERT INTO c VALUES (1);"
    told = await failure(database, ONE | {"2": text})
    assert (told.where, (await said(database)).journal) == ("0002_m.up.sql:3:13", ((0, "done"),))

    await database.execute("CREATE TABLE c (x int)")
    await up(database, ONE | {"2": text})

    assert await said(database) == DONE
    assert await database.fetchval("SELECT (SELECT count(*) FROM a) = 1 AND (SELECT count(*) FROM c) = 1")


PARTITIONED = {"1": "CREATE TABLE p (x int) PARTITION BY LIST (x); CREATE TABLE q PARTITION OF p FOR VALUES IN (1)"}
PARTITIONED["1"] += "; CREATE INDEX i ON p (x)"


async def test_a_statement_that_the_server_refuses_in_a_transaction_is_sent_alone(database: Database) -> None:
    one, body = PARTITIONED, "INSERT INTO p VALUES (1);\nREINDEX TABLE p;\nINSERT INTO p VALUES (1)"
    told = await failure(database, one | {"2": body})
    assert (told.sqlstate, "transaction=off" in (told.hint or "")) == ("25001", True)

    async with worker_on(database) as worker:
        await worker.publish(files(one | {"2": LONE + body}))
        await worker.up()
        assert [event.step for event in worker.recorded.of(SegmentRecovered)] == [
            "the server refuses it in a transaction, so it is sent alone"
        ]
        assert worker.recorded.of(MigrationFailed) == []
    assert (await said(database), await database.fetchval("SELECT count(*) FROM p")) == (DONE, 2)


async def test_a_plain_statement_that_an_older_worker_sent_alone_is_still_in_doubt_when_it_was_cut(
    database: Database,
) -> None:
    body = f"{LONE}INSERT INTO a VALUES (1);\nVACUUM c;"
    await failing(database, ONE | {"2": body})
    await database.execute(
        "UPDATE tidegate.journal SET state = 'intent' WHERE segment = 0; DELETE FROM tidegate.journal WHERE segment > 0"
    )

    await failing(database, ONE | {"2": body}, InDoubtError)
    assert await database.fetchval("SELECT count(*) FROM a") == 1


async def test_a_single_statement_waits_for_a_table_lock_by_short_attempts(database: Database) -> None:
    await up(database, ONE)
    other = await database.connect()
    await other.execute("BEGIN; LOCK TABLE b")
    async with worker_on(database) as worker, anyio.create_task_group() as group:
        group.start_soon(worker.up, files(ONE | {"2": f"{LONE}ALTER TABLE b ADD COLUMN y int"}))
        retried = await worker.recorded.first(MigrationRetried)
        await other.close()
        await worker.recorded.first(MigrationFinished)

    assert retried.cause == "55P03"
    assert await said(database) == DONE


@pytest.mark.parametrize("index", ["CREATE INDEX i ON b (x)", "CREATE INDEX i ON a ((x + 1))"])
async def test_a_build_whose_name_is_taken_fails_every_time(database: Database, index: str) -> None:
    await up(database, ONE)
    await database.execute(index)

    for _ in range(2):
        assert (await failure(database, ONE | {"2": BUILD})).sqlstate == "42P07"
    assert (await said(database)).ledger == (1,)


async def test_an_invalid_index_of_another_table_is_left_alone(database: Database) -> None:
    await up(database, ONE)
    await database.execute("INSERT INTO b VALUES (1), (1)")
    connection = await database.connect()
    with pytest.raises(Exception, match="could not create unique index"):
        await connection.execute("CREATE UNIQUE INDEX CONCURRENTLY i ON b (x)")
    await connection.close()

    for _ in range(2):
        assert (await failure(database, ONE | {"2": BUILD})).sqlstate == "42P07"
    assert await database.fetchval("SELECT indrelid::regclass::text FROM pg_index WHERE NOT indisvalid") == "b"


async def test_a_block_of_code_that_failed_behind_its_own_commit_is_in_doubt(database: Database) -> None:
    text = f"{LONE}DO $$BEGIN INSERT INTO a VALUES (1); COMMIT; INSERT INTO c VALUES (1); END$$"
    assert (await failure(database, ONE | {"2": text})).sqlstate == "42P01"

    error, _ = await failing(database, ONE | {"2": text}, InDoubtError)
    assert "tidegate force 2" in (error.hint or "")
    assert await database.fetchval("SELECT count(*) FROM a") == 1


async def test_a_setting_that_does_not_exist_fails_the_migration_in_words(database: Database) -> None:
    told = await failure(database, ONE | {"2": f"SET nosuch = 1;\n{BUILD}"})

    assert (told.sqlstate, told.where) == ("42704", "0002_m.up.sql (line unknown)")
    await up_changed(database, f"SET work_mem = '1MB';\n{BUILD}")
    assert await said(database) == DONE


async def up_changed(database: Database, text: str) -> None:
    """Run a mended file, as a person would publish it."""
    async with worker_on(database) as worker:
        await worker.publish(files(ONE | {"2": text}))
        await worker.up()


async def test_a_job_is_recorded_by_the_role_of_the_session_after_a_failure_under_another(database: Database) -> None:
    await up(database, ONE)
    told = await failure(database, ONE | {"2": f"SET ROLE pg_monitor;\n{BUILD}"})

    assert told.sqlstate == "42501"
    assert (await said(database)).journal == ((0, "failed"),)
    assert await database.fetchval(JOB) == "failed"


async def test_an_index_is_looked_for_on_the_search_path_of_the_file(database: Database) -> None:
    await up(database, {"1": "CREATE SCHEMA s; CREATE TABLE s.a (x int); INSERT INTO s.a VALUES (1), (1)"})
    text = "SET search_path = s;\nCREATE UNIQUE INDEX CONCURRENTLY i ON a (x)"
    one = {"1": "CREATE SCHEMA s; CREATE TABLE s.a (x int); INSERT INTO s.a VALUES (1), (1)"}
    assert (await failure(database, one | {"2": text})).sqlstate == "23505"

    await database.execute("DELETE FROM s.a")
    async with worker_on(database) as worker:
        await worker.up(files(one | {"2": text}))
        assert [event.step for event in worker.recorded.of(SegmentRecovered)] == ['dropping the invalid index "s"."i"']
    assert await database.fetchval("SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = 's.a'::regclass")


async def test_a_half_done_file_whose_rest_was_taken_out_is_complete(database: Database) -> None:
    text = "CREATE TABLE c (x int);\nCOMMIT;\nCREATE TABLE d (x int);\nCOMMIT;\nDROP TABLE missing;"
    await failing(database, ONE | {"2": text})
    assert (await said(database)).journal == ((0, "done"), (1, "done"))

    await up_changed(database, text.removesuffix("DROP TABLE missing;"))
    assert await said(database) == DONE


async def test_a_half_done_file_that_fits_one_transaction_now_is_not_run_again(database: Database) -> None:
    text = "CREATE TABLE IF NOT EXISTS c (x int);\nCOMMIT;\nDROP TABLE missing;"
    await failing(database, ONE | {"2": text})

    with pytest.raises(RefusedError, match="half done"):
        await up_changed(database, "CREATE TABLE IF NOT EXISTS c (x int); CREATE TABLE d (x int)")
    assert await database.fetchval("SELECT to_regclass('d') IS NULL")


async def test_a_cut_part_that_has_changed_is_refused(database: Database) -> None:
    await failing(database, ONE | {"2": f"{LONE}DO $$BEGIN COMMIT; DROP TABLE missing; END$$"})

    with pytest.raises(RefusedError, match="half done"):
        await up_changed(database, f"{LONE}VACUUM a")


async def test_a_block_between_lone_statements_waits_for_a_table_lock_by_short_attempts(database: Database) -> None:
    await up(database, ONE)
    other = await database.connect()
    await other.execute("BEGIN; LOCK TABLE b")
    async with worker_on(database) as worker, anyio.create_task_group() as group:
        group.start_soon(worker.up, files(ONE | {"2": f"{BUILD}; ALTER TABLE b ADD COLUMN y int"}))
        retried = await worker.recorded.first(MigrationRetried)
        await other.close()
        await worker.recorded.first(MigrationFinished)

    assert (retried.version, retried.cause) == (2, "55P03")
    assert worker.recorded.of(MigrationFinished)[-1].outcome is Outcome.SUCCEEDED
    assert await said(database) == DONE


async def test_discard_all_forgets_the_session_and_keeps_the_lock(database: Database) -> None:
    text = "CREATE TEMP TABLE t (x int); SET work_mem = '1MB'; PREPARE p AS SELECT 1; COMMIT; DISCARD ALL;\n"
    check = (
        "SELECT 1 / (current_setting('work_mem') <> '1MB')::int, 1 / (to_regclass('pg_temp.t') IS NULL)::int,"
        " 1 / (SELECT count(*) = 0 FROM pg_prepared_statements)::int, pg_sleep(0.2)"
    )
    watcher, key = await database.connect(), target_key(Target("public", "schema_migrations"))
    async with worker_on(database) as worker, anyio.create_task_group() as group:
        group.start_soon(worker.up, files(ONE | {"2": text + check}))
        sleeping = "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $1"
        await until(watcher, sleeping, worker.session.conn.get_server_pid())
        assert not await watcher.fetchval("SELECT pg_try_advisory_lock($1)", key)
    await watcher.close()

    assert await said(database) == DONE


async def test_another_attempt_at_a_block_finds_what_earlier_segments_left_in_the_session(database: Database) -> None:
    await up(database, ONE)
    other = await database.connect()
    await other.execute("BEGIN; LOCK TABLE b")
    text = "CREATE TEMP TABLE t (x int); COMMIT; ALTER TABLE b ADD COLUMN y int; INSERT INTO t VALUES (1)"
    async with worker_on(database) as worker, anyio.create_task_group() as group:
        group.start_soon(worker.up, files(ONE | {"2": text}))
        await worker.recorded.first(MigrationRetried)
        await other.close()
        await worker.recorded.first(MigrationFinished)

    assert worker.recorded.of(MigrationFinished)[-1].outcome is Outcome.SUCCEEDED
    assert await said(database) == DONE
