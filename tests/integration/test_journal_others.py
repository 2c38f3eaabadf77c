"""What other statements leave when they are cut: dropping, rebuilding and detaching concurrently, and databases."""

import anyio
import pytest

from tests.fixtures.cuts import BEGUN, READER, SNAPSHOT, WRITER, Means, cut, held_open, recovered, unrecorded
from tests.fixtures.jobs import Said, failing, said, until, up
from tests.fixtures.servers import Database
from tests.fixtures.sites import worker_on
from worker.core.events.migration_events import SegmentRecovered
from worker.core.running.recovery import Presence, Rebuild, Thing, Wanted, about
from worker.core.running.remains import Existence
from worker.errors import InDoubtError, RefusedError
from worker.postgres.remains import Remains

ONE = {"1": "CREATE TABLE a (x int, y text); CREATE INDEX i ON a (x); CREATE INDEX j ON a (y)"}
DONE = Said((2, False), (1, 2), ((1, "up"), (2, "up")), ())
INDEXES = """
SELECT array_agg(shown ORDER BY shown COLLATE "C") FROM (
    SELECT c.relname || CASE WHEN indisvalid THEN '' ELSE ' invalid' END AS shown
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE indrelid IN (SELECT 'a'::regclass UNION SELECT reltoastrelid FROM pg_class WHERE oid = 'a'::regclass)
        AND c.relname !~ '^pg_toast_[0-9]+_index$'
) AS one
"""


@pytest.mark.parametrize("means", Means)
async def test_a_cut_drop_is_finished(database: Database, means: Means) -> None:
    drop = "DROP INDEX CONCURRENTLY i"
    await up(database, ONE)
    await cut(database, ONE | {"2": drop}, behind=READER, means=means)
    assert await database.fetchval(INDEXES) == ["i invalid", "j"]

    assert await recovered(database, ONE | {"2": drop}) == ['finishing it: the index "public"."i" is INVALID']
    assert (await database.fetchval(INDEXES), await said(database)) == (["j"], DONE)


@pytest.mark.parametrize("drop", ["DROP INDEX CONCURRENTLY i", "DROP INDEX CONCURRENTLY IF EXISTS public.i"])
async def test_a_drop_whose_result_was_not_recorded_is_done(database: Database, drop: str) -> None:
    whole = await unrecorded(database, ONE | {"2": drop}, "2")

    (step,) = await recovered(database, whole)
    assert step.startswith("taken as done: the index")
    assert await said(database) == DONE


async def test_a_drop_whose_result_was_not_recorded_drops_no_namesake_of_another_schema(database: Database) -> None:
    one = {"1": "CREATE SCHEMA s; CREATE TABLE s.b (x int); CREATE INDEX i ON s.b (x); CREATE TABLE a (x int)"}
    one["1"] += "; CREATE INDEX i ON a (x)"
    body = "SET search_path = public, s;\nDROP INDEX CONCURRENTLY i"
    whole = await unrecorded(database, one | {"2": body}, "2")
    error, _ = await failing(database, whole, InDoubtError)

    assert 'is "s"."i" the index that it has to drop?' in error.message
    assert await database.fetchval("SELECT to_regclass('s.i') IS NOT NULL AND to_regclass('public.i') IS NULL")


@pytest.mark.parametrize("means", Means)
@pytest.mark.parametrize(
    ("behind", "left"),
    [(SNAPSHOT, ["i", "i_ccnew invalid", "j"]), (READER, ["i", "i_ccold invalid", "j"])],
)
async def test_what_a_cut_reindex_left_is_dropped_before_it_is_repeated(
    database: Database, behind: str, left: list[str], means: Means
) -> None:
    reindex = "REINDEX INDEX CONCURRENTLY i"
    await up(database, ONE)
    # Our own look at the server is a snapshot too, for which the rebuilding waits for a moment.
    once = f"to_regclass('{left[1].split()[0]}') IS NOT NULL"
    await cut(database, ONE | {"2": reindex}, behind=behind, once=once, means=means)
    assert await database.fetchval(INDEXES) == left

    assert await recovered(database, ONE | {"2": reindex}) == [
        f'dropping the invalid index "public"."{left[1].split()[0]}"'
    ]
    assert (await database.fetchval(INDEXES), await said(database)) == (["i", "j"], DONE)


@pytest.mark.parametrize(
    "reindex",
    [
        "REINDEX TABLE CONCURRENTLY public.a",
        "REINDEX (VERBOSE, CONCURRENTLY) SCHEMA public",
        "REINDEX DATABASE CONCURRENTLY",
    ],
)
async def test_every_index_that_a_cut_reindex_left_is_found(database: Database, reindex: str) -> None:
    if reindex.endswith("CONCURRENTLY"):
        reindex = f"{reindex} {database.name}"
    await up(database, ONE)
    await cut(database, ONE | {"2": reindex}, behind=WRITER, once="to_regclass('i_ccnew') IS NOT NULL")
    left = await database.fetchval(INDEXES)
    assert [name for name in left if "toast" not in name] == ["i", "i_ccnew invalid", "j", "j_ccnew invalid"]
    assert [name.split("_index")[1] for name in left if "toast" in name] == ["_ccnew invalid"]

    told = await recovered(database, ONE | {"2": reindex})
    assert len([step for step in told if step.startswith("dropping the invalid index")]) == 3
    assert (await database.fetchval(INDEXES), await said(database)) == (["i", "j"], DONE)


async def test_a_numbered_leftover_and_one_of_a_partition_are_found(database: Database) -> None:
    one = {
        "1": "CREATE TABLE p (x int) PARTITION BY LIST (x); CREATE TABLE a PARTITION OF p FOR VALUES IN (1);"
        "CREATE INDEX i ON p (x); CREATE TABLE i_ccnew ()"
    }
    index = await up_and_index_of_a(database, one)
    await database.execute(f"CREATE INDEX {index}_ccnew1 ON a (x)")
    assert await database.execute(INVALID, f"{index}_ccnew1") == "UPDATE 1"
    body = "REINDEX INDEX CONCURRENTLY i"
    await cut(database, one | {"2": body}, behind="BEGIN; LOCK TABLE a", event="relation", once=BEGUN)

    assert await recovered(database, one | {"2": body}) == [f'dropping the invalid index "public"."{index}_ccnew1"']
    assert (await database.fetchval(INDEXES), await said(database)) == ([index], DONE)


async def up_and_index_of_a(database: Database, one: dict[str, str]) -> str:
    await up(database, one)
    return str(
        await database.fetchval("SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'a'::regclass")
    )


INVALID = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = $1::regclass"


@pytest.mark.parametrize(
    ("mine", "on", "is_valid"),
    [
        ("i_ccnew", "a (x)", True),
        ("i_ccold", "b (x)", False),
        ("i_ccold", "a (y)", False),
        ("k_ccnew", "a (x)", False),
        ("i_ccnews", "a (x)", False),
    ],
)
async def test_a_users_index_that_only_looks_like_a_leftover_is_kept(
    database: Database,
    mine: str,
    on: str,
    is_valid: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    one = {"1": f"{ONE['1']}; CREATE TABLE b (x int)"}
    await up(database, one)
    await database.execute(f"CREATE INDEX {mine} ON {on}")
    if not is_valid:
        assert await database.execute(INVALID, mine) == "UPDATE 1"
    body = "REINDEX TABLE CONCURRENTLY a"
    await cut(database, one | {"2": body}, behind="BEGIN; LOCK TABLE a", event="relation", once=BEGUN)

    assert await recovered(database, one | {"2": body}) == ["repeating it: it left no index behind"]
    assert await database.fetchval("SELECT indisvalid FROM pg_index WHERE indexrelid = $1::regclass", mine) is is_valid


PARTITIONS = """
CREATE SCHEMA "S";
CREATE TABLE "S".a (x int) PARTITION BY LIST (x);
CREATE TABLE "S"."P 1" PARTITION OF "S".a FOR VALUES IN (1);
CREATE TABLE "S".p2 PARTITION OF "S".a FOR VALUES IN (2)
"""
DETACH = 'ALTER TABLE IF EXISTS "S".a DETACH PARTITION "S"."P 1" CONCURRENTLY'
BY_PATH = 'SET search_path = "S";\nALTER TABLE a DETACH PARTITION "P 1" CONCURRENTLY'
HANGING = """
SELECT array_agg(shown ORDER BY shown COLLATE "C") FROM (
    SELECT inhrelid::regclass::text || CASE WHEN inhdetachpending THEN ' pending' ELSE '' END AS shown
    FROM pg_inherits WHERE inhparent = '"S".a'::regclass
) AS one
"""


@pytest.mark.parametrize("means", Means)
@pytest.mark.parametrize("detach", [DETACH, BY_PATH])
async def test_a_cut_detachment_is_finalized(database: Database, detach: str, means: Means) -> None:
    one = {"1": PARTITIONS}
    await up(database, one)
    await cut(database, one | {"2": detach}, behind='BEGIN; SELECT FROM "S".a', means=means)
    assert await database.fetchval(HANGING) == ['"S"."P 1" pending', '"S".p2']

    (step,) = await recovered(database, one | {"2": detach})
    assert step.startswith("finishing the detachment of")
    assert (await database.fetchval(HANGING), await said(database)) == (['"S".p2'], DONE)


async def test_a_detachment_whose_result_was_not_recorded_is_done(database: Database) -> None:
    whole = await unrecorded(database, {"1": PARTITIONS, "2": DETACH}, "2")

    (step,) = await recovered(database, whole)
    assert step.startswith("taken as done:")
    assert (await database.fetchval(HANGING), await said(database)) == (['"S".p2'], DONE)


async def test_a_detachment_that_was_cut_before_it_began_is_repeated(database: Database) -> None:
    one = {"1": PARTITIONS}
    await up(database, one)
    await cut(database, one | {"2": DETACH}, behind='BEGIN; LOCK TABLE "S".a', event="relation", once=BEGUN)

    assert await recovered(database, one | {"2": DETACH}) == ['repeating it: "S"."P 1" is still a partition']
    assert (await database.fetchval(HANGING), await said(database)) == (['"S".p2'], DONE)


@pytest.mark.parametrize("body", ["VACUUM a", "REINDEX SCHEMA public", "CLUSTER"])
async def test_what_does_no_harm_twice_is_repeated(database: Database, body: str) -> None:
    whole = await unrecorded(database, ONE | {"2": body}, "2")
    assert [step.split(":")[0] for step in await recovered(database, whole)] == ["repeating it"]
    assert await said(database) == DONE


async def test_presence_tells_what_became_of_a_database(database: Database) -> None:
    name = f"{database.name}_new"
    create, drop = f"CREATE DATABASE {name} TEMPLATE template0", f"DROP DATABASE {name}"
    there = "SELECT count(*) FROM pg_database WHERE datname = $1"
    whole = await unrecorded(database, ONE | {"2": create}, "2")
    assert await recovered(database, whole) == [f'taken as done: the database "{name}" is there']
    assert (await said(database), await database.fetchval(there, name)) == (DONE, 1)

    await database.execute("DROP TABLE later")
    gone = await unrecorded(database, {**whole, "3": drop}, "3")
    assert await recovered(database, gone) == [f'taken as done: the database "{name}" is gone']
    assert await database.fetchval(there, name) == 0


async def test_a_database_whose_drop_was_cut_is_no_success_of_a_create(database: Database) -> None:
    name = f"{database.name}_new"
    whole = await unrecorded(database, ONE | {"2": f"CREATE DATABASE {name} TEMPLATE template0"}, "2")
    await database.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
    await database.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = $1", name)
    error, _ = await failing(database, whole, RefusedError)
    assert "invalid" in error.message

    await database.execute(f"DROP DATABASE {name}")
    assert await recovered(database, whole) == [f'repeating it: the database "{name}" is gone']
    await database.execute(f"DROP DATABASE {name}")


async def test_presence_tells_what_became_of_a_subscription(database: Database) -> None:
    one = {"1": "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p WITH (connect = false, slot_name = NONE)"}
    whole = await unrecorded(database, one | {"2": "DROP SUBSCRIPTION s"}, "2")

    assert await recovered(database, whole) == ['taken as done: the subscription "s" is gone']
    assert await said(database) == DONE


async def test_any_role_may_look_whether_something_is_there(database: Database) -> None:
    role = f"{database.name}_any"
    await database.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'any'")
    try:
        async with worker_on(database, dsn=database.dsn_as(role, "any")) as worker:
            remains = Remains(worker.session)
            names = {Thing.DATABASE: database.name, Thing.TABLESPACE: "pg_default", Thing.SUBSCRIPTION: None}
            for thing, name in names.items():
                for asked, expected in ((name, Existence.THERE), ("nothing", Existence.GONE)):
                    if asked is not None:
                        presence = Presence(thing, asked, Wanted.THERE)
                        assert await remains.existence(presence) is expected
    finally:
        await database.execute(f"DROP ROLE {role}")


async def test_a_statement_that_no_catalogue_tells_of_waits_for_a_person(database: Database) -> None:
    body = "-- tidegate: transaction=off\nDO $$BEGIN INSERT INTO a VALUES (2); COMMIT; END$$"
    whole = await unrecorded(database, ONE | {"2": body}, "2")
    error, recorded = await failing(database, whole, InDoubtError)

    assert "did it take effect?" in error.message
    assert recorded.of(SegmentRecovered) == []
    assert await database.fetchval("SELECT count(*) FROM a") == 1


async def test_what_another_session_rebuilds_just_now_is_no_remains(database: Database) -> None:
    await up(database, ONE)
    other, watcher = await database.connect(), await database.connect()
    half_built = "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('i_ccnew') AND NOT indisvalid)"
    what = about("REINDEX INDEX CONCURRENTLY i")
    assert isinstance(what, Rebuild)
    async with worker_on(database) as worker, anyio.create_task_group() as group, held_open(database):
        group.start_soon(other.execute, "REINDEX INDEX CONCURRENTLY i")
        await until(watcher, half_built)
        assert await Remains(worker.session).rebuilt(what) == ()
    assert await database.fetchval(INDEXES) == ["i", "j"]
    await other.close()
    await watcher.close()
