"""What no single transaction can hold: run by segments, and taken up where it was cut, repeating nothing."""

import anyio
import asyncpg
import pytest

from tests.fixtures.cuts import cut, held_open
from tests.fixtures.jobs import TARGET, Said, failing, failure, files, said, until, up
from tests.fixtures.servers import Database
from tests.fixtures.sites import Worker, worker_on
from worker.core.events.migration_events import SegmentFinished, SegmentRecovered
from worker.core.lock_keys import golang_keys, target_key
from worker.core.target import Target
from worker.errors import InDoubtError, RefusedError
from worker.postgres.faults import ConnectionLostError

ONE = {"1": "CREATE TABLE a (x int); INSERT INTO a VALUES (1), (1)"}
BUILD = "CREATE INDEX CONCURRENTLY i ON a (x)"
UNIQUE = "CREATE UNIQUE INDEX CONCURRENTLY i ON a (x)"
VALID = "SELECT array_agg(indisvalid) FROM pg_index AS i JOIN pg_class AS c ON c.oid = indexrelid WHERE relname ^@ 'i'"
DROPPED = 'dropping the invalid index "public"."i"'
DONE = Said((2, False), (1, 2), ((1, "up"), (2, "up")), ())


@pytest.mark.parametrize(
    "body",
    [
        BUILD,
        "VACUUM a",
        f"CREATE TABLE b (x int); {BUILD}; VACUUM a; CREATE TABLE c (x int)",
        "CREATE TABLE b (x int); COMMIT; CREATE TABLE c (x int)",
        "BEGIN; CREATE TABLE b (x int); COMMIT; BEGIN; CREATE TABLE c (x int); COMMIT",
    ],
)
async def test_a_file_that_no_transaction_can_hold_is_run_and_recorded(database: Database, body: str) -> None:
    await up(database, ONE | {"2": body})

    assert await said(database) == DONE


FOUR = "CREATE TABLE b (x int);\nCOMMIT;\nVACUUM a;\nINSERT INTO c VALUES (1);\nCOMMIT;\nCREATE TABLE d (x int)"


async def test_a_failure_in_a_later_segment_keeps_the_earlier_ones(database: Database) -> None:
    told = await failure(database, ONE | {"2": FOUR})

    assert (told.where, told.sqlstate) == ("0002_m.up.sql:4:13", "42P01")
    now = await said(database)
    assert (now.version, now.ledger, now.journal) == ((2, True), (1,), ((0, "done"), (1, "done")))


async def publish(worker: Worker, body: str) -> None:
    """A person's publish: it may replace what an automatic one would leave wanted."""
    await worker.publish(files(ONE | {"2": body}))


async def test_the_next_run_goes_on_behind_what_is_done(database: Database) -> None:
    await failing(database, ONE | {"2": FOUR})
    await database.execute("CREATE TABLE c (x int)")
    async with worker_on(database) as worker:
        await worker.up(files(ONE | {"2": FOUR}))
        told = [event.index for event in worker.recorded.of(SegmentFinished)]

    assert (told, await said(database)) == ([3, 4], DONE)


async def test_a_new_bundle_may_change_what_was_not_run_yet(database: Database) -> None:
    await failing(database, ONE | {"2": FOUR})
    async with worker_on(database) as worker:
        await publish(worker, FOUR.replace("INSERT INTO c VALUES (1)", "CREATE TABLE c (y int)"))
        await worker.round()
        told = [event.index for event in worker.recorded.of(SegmentFinished)]

    assert (told, await said(database)) == ([3, 4], DONE)
    assert (
        await database.fetchval("SELECT attname::text FROM pg_attribute WHERE attrelid = 'c'::regclass AND attnum = 1")
        == "y"
    )


async def test_a_part_that_is_done_must_not_change(database: Database) -> None:
    await failing(database, ONE | {"2": FOUR})
    before = await said(database)
    async with worker_on(database) as worker:
        await publish(worker, FOUR.replace("CREATE TABLE b", "CREATE TABLE e"))
        with pytest.raises(RefusedError) as caught:
            await worker.round()

    assert caught.value.reason == "half_done"
    assert await said(database) == before


async def test_a_unique_build_that_failed_is_dropped_and_built_again_once_the_data_is_right(database: Database) -> None:
    told = await failure(database, ONE | {"2": UNIQUE})
    assert (told.sqlstate, told.line, await database.fetchval(VALID)) == ("23505", 1, [False])

    await database.execute("DELETE FROM a")
    async with worker_on(database) as worker:
        await worker.up(files(ONE | {"2": UNIQUE}))
        assert [event.step for event in worker.recorded.of(SegmentRecovered)] == [DROPPED]
    assert (await database.fetchval(VALID), await said(database)) == ([True], DONE)


async def waits(watcher: asyncpg.Connection, worker: Worker) -> None:
    """Until the worker's backend waits for another transaction."""
    pid = worker.session.conn.get_server_pid()
    sql = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'virtualxid')"
    await until(watcher, sql, pid)


async def test_a_build_that_lost_its_backend_ends_with_one_valid_index(database: Database) -> None:
    await up(database, ONE)
    error = await cut(database, ONE | {"2": BUILD})

    assert isinstance(error, ConnectionLostError)
    assert ((await said(database)).version, await database.fetchval(VALID)) == ((2, True), [False])
    await up(database, ONE | {"2": BUILD})
    assert (await database.fetchval(VALID), await said(database)) == ([True], DONE)


async def test_a_cut_statement_that_the_catalogue_cannot_tell_of_is_in_doubt(database: Database) -> None:
    body = "-- tidegate: transaction=off\nDO $$BEGIN INSERT INTO a VALUES (2); COMMIT; PERFORM pg_sleep(60); END$$"
    await up(database, ONE)
    assert isinstance(await cut(database, ONE | {"2": body}, event="PgSleep"), ConnectionLostError)
    error, _ = await failing(database, ONE | {"2": body}, InDoubtError)

    assert "0002_m.up.sql:2: the statement was cut" in error.message
    assert "tidegate retry --segment done" in error.hint
    assert "tidegate retry --segment not-done" in error.hint
    assert "tidegate force 2" in error.hint
    assert await database.fetchval("SELECT count(*) FROM a WHERE x = 2") == 1


async def test_session_state_is_there_for_a_lone_statement_and_again_after_a_cut(database: Database) -> None:
    body = "CREATE SCHEMA s; CREATE TABLE s.b (x int);\nSET search_path = s;\nCREATE INDEX CONCURRENTLY i ON b (x)"
    await up(database, ONE)
    assert isinstance(await cut(database, ONE | {"2": body}), ConnectionLostError)
    await up(database, ONE | {"2": body})

    assert (
        await database.fetchval("SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 's.b'::regclass")
        == "s.i"
    )
    assert (await database.fetchval(VALID), await said(database)) == ([True], DONE)


async def test_a_temporary_table_that_is_gone_after_a_cut_leaves_the_rest_in_doubt(database: Database) -> None:
    body = "CREATE TEMP TABLE t (x int); COMMIT; INSERT INTO missing SELECT x FROM t"
    await failing(database, ONE | {"2": body})
    error, _ = await failing(database, ONE | {"2": body}, InDoubtError)

    assert "temporary tables" in error.message


async def test_while_a_build_runs_golang_migrates_keys_are_free_and_ours_is_held(database: Database) -> None:
    target, watcher = Target("public", "schema_migrations"), await database.connect()
    await up(database, ONE)
    free = "SELECT pg_try_advisory_lock($1)"
    async with worker_on(database) as worker, anyio.create_task_group() as group, held_open(database):
        group.start_soon(worker.up, files(ONE | {"2": BUILD}))
        await waits(watcher, worker)
        assert not await watcher.fetchval(free, target_key(target))
        now = await said(database)
        assert (now.version, now.journal) == ((2, True), ((0, "intent"),))
        for key in golang_keys(target, database.name):
            assert await watcher.fetchval(free, key)
            await watcher.execute("SELECT pg_advisory_unlock($1)", key)
    await watcher.close()

    assert await said(database) == DONE


async def test_the_recorded_duration_is_that_of_the_whole_run(database: Database) -> None:
    await up(database, {"1": "SELECT pg_sleep(0.3); COMMIT; SELECT 1"})

    for table in ("ledger", "history"):
        sql = f"SELECT duration_ms::float8 FROM tidegate.{table} WHERE target = $1 AND version = 1"
        assert 300 <= await database.fetchval(sql, TARGET) < 60_000


async def test_every_kind_of_session_state_is_there_again_after_a_cut(database: Database) -> None:
    role = f"{database.name}_owner"
    one = {"1": f"CREATE ROLE {role}; CREATE SCHEMA s AUTHORIZATION {role}; CREATE TABLE s.t (x int, told text)"}
    one["1"] += f"; ALTER TABLE s.t OWNER TO {role}"
    body = (
        "SET session_replication_role = replica;\nSELECT pg_catalog.set_config('app.tenant', 'seven', false);\n"
        f"SET ROLE {role};\nSET search_path = s;\nSET TIME ZONE 'Asia/Tokyo';\nCREATE INDEX CONCURRENTLY i ON t (x);\n"
        "INSERT INTO t SELECT 1, concat_ws(' ', current_user, current_setting('session_replication_role'), "
        "current_setting('app.tenant'), current_setting('TimeZone'))"
    )
    await up(database, one)
    try:
        await cut(database, one | {"2": body})
        await up(database, one | {"2": body})
        assert await database.fetchval("SELECT told FROM s.t") == f"{role} replica seven Asia/Tokyo"
        assert (await database.fetchval(VALID), await said(database)) == ([True], DONE)
        owners = "SELECT array_agg(DISTINCT relowner::regrole::text) FROM pg_class WHERE relname IN ('t', 'i')"
        assert await database.fetchval(owners) == [role]
    finally:
        await database.execute(f"DROP SCHEMA s CASCADE; DROP ROLE {role}")
