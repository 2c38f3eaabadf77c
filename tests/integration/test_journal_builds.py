"""A concurrent index build that was cut or that failed: what it left is told from what others have, and mended."""

from dataclasses import replace

import anyio
import asyncpg
import pytest

from tests.fixtures.cuts import BEGUN, SNAPSHOT, Means, cut, held_open, recovered, unrecorded
from tests.fixtures.jobs import Said, failing, failure, files, said, until, up
from tests.fixtures.servers import Database
from tests.fixtures.sites import LIMITS, SITE, worker_on
from worker.core.target import quote_identifier
from worker.errors import InDoubtError, RefusedError, TimedOutError

ONE = {"1": "CREATE TABLE a (x int, y text); INSERT INTO a VALUES (1, 'b'); CREATE TABLE b (x int)"}
BUILD = "CREATE INDEX CONCURRENTLY i ON a (x)"
TOLERANT = "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON a (x)"
DROPPED = 'dropping the invalid index "public"."i"'
DONE = Said((2, False), (1, 2), ((1, "up"), (2, "up")), ())
INDEXES = """
SELECT array_agg(indexrelid::regclass || ' ' || indrelid::regclass || CASE WHEN indisvalid THEN '' ELSE ' invalid' END)
FROM pg_index WHERE indrelid IN (to_regclass('a'), to_regclass('b'))
"""


async def invalid(database: Database, sql: str) -> None:
    """Leave an INVALID index behind, as a build that is cancelled does."""
    builder, watcher = await database.connect(), await database.connect()

    async def build() -> None:
        with pytest.raises(asyncpg.QueryCanceledError):
            await builder.execute(sql)

    async with held_open(database), anyio.create_task_group() as group:
        pid = builder.get_server_pid()
        group.start_soon(build)
        await until(watcher, "SELECT wait_event = 'virtualxid' FROM pg_stat_activity WHERE pid = $1", pid)
        await watcher.execute("SELECT pg_cancel_backend($1)", pid)
    await builder.close()
    await watcher.close()


@pytest.mark.parametrize("means", Means)
@pytest.mark.parametrize(
    ("build", "index"),
    [
        (BUILD, "i"),
        (
            'CREATE UNIQUE INDEX CONCURRENTLY "I 1" ON public.a USING btree (lower(y) DESC) INCLUDE (x) WHERE x > 0',
            '"I 1"',
        ),
        ("CREATE INDEX CONCURRENTLY ON a (x)", "a_x_idx"),
    ],
)
async def test_a_build_that_was_cut_ends_with_one_valid_index(
    database: Database, build: str, index: str, means: Means
) -> None:
    await up(database, ONE)
    await cut(database, ONE | {"2": build}, means=means)
    assert await database.fetchval(INDEXES) == [f"{index} a invalid"]

    name = quote_identifier(index.strip('"'))
    assert await recovered(database, ONE | {"2": build}) == [f'dropping the invalid index "public".{name}']
    assert (await database.fetchval(INDEXES), await said(database)) == ([f"{index} a"], DONE)


async def test_a_build_that_was_cut_before_it_began_is_repeated(database: Database) -> None:
    await up(database, ONE)
    await cut(database, ONE | {"2": BUILD}, behind="BEGIN; LOCK TABLE a", event="relation", once=BEGUN)
    assert await database.fetchval(INDEXES) is None

    assert await recovered(database, ONE | {"2": BUILD}) == ["repeating it: no index of that name is there"]
    assert (await database.fetchval(INDEXES), await said(database)) == (["i a"], DONE)


@pytest.mark.parametrize("build", [BUILD, "CREATE INDEX CONCURRENTLY ON a (x)"])
async def test_a_build_whose_result_was_not_recorded_is_not_repeated(database: Database, build: str) -> None:
    whole = await unrecorded(database, ONE | {"2": build}, "2")
    before = await database.fetchval("SELECT indexrelid FROM pg_index WHERE indrelid = 'a'::regclass")

    (step,) = await recovered(database, whole)
    assert step.startswith("taken as done: the index")
    assert await database.fetchval("SELECT array_agg(indexrelid) FROM pg_index WHERE indrelid = 'a'::regclass") == [
        before
    ]
    assert await said(database) == DONE


async def test_a_cut_build_of_a_partition_is_built_again(database: Database) -> None:
    one = {"1": "CREATE TABLE p (x int) PARTITION BY LIST (x); CREATE TABLE a PARTITION OF p FOR VALUES IN (1)"}
    await up(database, one)
    await cut(database, one | {"2": BUILD})

    assert await recovered(database, one | {"2": BUILD}) == [DROPPED]
    assert (await database.fetchval(INDEXES), await said(database)) == (["i a"], DONE)


async def test_the_remains_of_a_drop_of_the_remains_are_dropped_too(database: Database) -> None:
    await up(database, ONE)
    await cut(database, ONE | {"2": BUILD})
    await cut(database, ONE | {"2": BUILD}, behind="BEGIN; SELECT FROM a")
    # A drop that is cut later leaves an index that is not even kept up any more.
    dead = "UPDATE pg_index SET indisready = false, indislive = false WHERE indexrelid = 'i'::regclass"
    assert await database.execute(dead) == "UPDATE 1"

    assert await recovered(database, ONE | {"2": BUILD}) == [DROPPED]
    assert (await database.fetchval(INDEXES), await said(database)) == (["i a"], DONE)


async def test_an_invalid_index_that_was_there_before_is_never_taken_for_a_success(database: Database) -> None:
    await up(database, ONE)
    await invalid(database, BUILD)
    assert await database.fetchval(INDEXES) == ["i a invalid"]

    assert await recovered(database, ONE | {"2": TOLERANT}) == [DROPPED]
    assert (await database.fetchval(INDEXES), await said(database)) == (["i a"], DONE)


@pytest.mark.parametrize(
    ("there", "left"),
    [
        ("CREATE INDEX CONCURRENTLY i ON a (y)", "i a invalid"),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON a (x)", "i a invalid"),
        ("CREATE INDEX CONCURRENTLY i ON a (x) WHERE x > 1", "i a invalid"),
        ("CREATE INDEX CONCURRENTLY i ON b (x)", "i b invalid"),
    ],
)
async def test_an_invalid_index_of_another_is_left_alone_and_named(database: Database, there: str, left: str) -> None:
    await up(database, ONE)
    await invalid(database, there)

    for _ in range(2):
        error, _ = await failing(database, ONE | {"2": TOLERANT}, RefusedError)
        assert (error.reason, '"public"."i" is INVALID' in error.message) == ("invalid", True)
        assert 'DROP INDEX CONCURRENTLY "public"."i"' in error.hint
    assert await database.fetchval(INDEXES) == [left]

    await database.execute("DROP INDEX i")
    await up(database, ONE | {"2": TOLERANT})
    assert (await database.fetchval(INDEXES), await said(database)) == (["i a"], DONE)


async def test_a_valid_index_of_another_definition_is_not_taken_for_the_one_that_was_cut(database: Database) -> None:
    await up(database, ONE)
    await cut(database, ONE | {"2": BUILD}, behind="BEGIN; LOCK TABLE a", event="relation", once=BEGUN)
    await database.execute("CREATE INDEX i ON a (y)")

    assert (await failure(database, ONE | {"2": BUILD})).sqlstate == "42P07"
    assert await database.fetchval(INDEXES) == ["i a"]


async def test_an_index_that_cannot_be_compared_is_a_question(database: Database) -> None:
    await up(database, ONE)
    await database.execute("CREATE FUNCTION f(a) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'")
    build = "CREATE INDEX CONCURRENTLY i ON a (f(a))"
    await cut(database, ONE | {"2": build})
    error, _ = await failing(database, ONE | {"2": build}, RefusedError)
    assert "cannot be compared" in error.message

    await database.execute("DROP INDEX i; CREATE INDEX i ON a (f(a))")
    asked, _ = await failing(database, ONE | {"2": build}, InDoubtError)
    assert 'is the index "public"."i" the one that it asks for?' in asked.message


async def test_an_index_that_another_session_builds_is_waited_for_and_kept(database: Database) -> None:
    await up(database, ONE)
    builder, watcher = await database.connect(), await database.connect()
    pid = builder.get_server_pid()
    site = replace(SITE, limits=replace(LIMITS, advisory_timeout=0.2))
    async with anyio.create_task_group() as group, held_open(database, SNAPSHOT) as blocker:
        group.start_soon(builder.execute, BUILD)
        await until(watcher, "SELECT wait_event = 'virtualxid' FROM pg_stat_activity WHERE pid = $1", pid)
        async with worker_on(database, site=site) as worker:
            with pytest.raises(TimedOutError) as raised:
                await worker.up(files(ONE | {"2": TOLERANT}))
        assert (raised.value.reason, f"pg_terminate_backend({pid})" in raised.value.hint) == ("old_backend", True)
        await blocker.execute("COMMIT")
    await builder.close()
    await watcher.close()
    before = await database.fetchval("SELECT 'i'::regclass::oid")

    await up(database, ONE | {"2": TOLERANT})
    assert (await database.fetchval("SELECT 'i'::regclass::oid"), await said(database)) == (before, DONE)


async def test_the_look_at_an_index_changes_nothing(database: Database) -> None:
    await up(database, ONE)
    await database.execute("CREATE INDEX i ON a (x)")
    objects = "SELECT array_agg(oid ORDER BY oid) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    before = await database.fetchval(objects)

    await up(database, ONE | {"2": TOLERANT})

    assert await database.fetchval(objects) == before
