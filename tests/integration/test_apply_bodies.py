"""What a body can say that would end, split or disown its transaction: it is run, undone or refused, and told so."""

import pytest

from tests.fixtures.jobs import Said, failing, files, said, up
from tests.fixtures.servers import Database
from tests.fixtures.sites import worker_on
from worker.errors import MigrationFailedError, RefusedError, TidegateError

FIRST = {"1": "CREATE TABLE one (x int)"}
BEFORE = Said((1, False), (1,), ((1, "up"),), ())
AFTER = Said((2, False), (1, 2), ((1, "up"), (2, "up")), ())

RUN = {
    "a commit in a literal": "SELECT 'x; COMMIT; y', E'\\'; ROLLBACK; --', $q$; COMMIT;$q$",
    "a commit in a comment": "-- ; ROLLBACK;\n/* ; COMMIT; /* nested */ */ SELECT 1",
    "a commit in the body of a procedure": "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$BEGIN COMMIT; END$$",
    "a body that begins atomically": (
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END"
    ),
    "constraints that are made immediate": (
        "CREATE TABLE p (x int PRIMARY KEY); CREATE TABLE c (x int REFERENCES p DEFERRABLE INITIALLY DEFERRED);"
        "INSERT INTO c VALUES (1); INSERT INTO p VALUES (1); SET CONSTRAINTS ALL IMMEDIATE"
    ),
    "everything discarded": "DISCARD ALL",
    "a session that is read-only from now on": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "a session that is another's": "SET SESSION AUTHORIZATION pg_monitor",
    "triggers that are turned off": "SET session_replication_role = replica",
    "timeouts of a millisecond": "SELECT 1; SET statement_timeout = 1; SET lock_timeout = 1",
    "a search path to nowhere": "SET search_path = nowhere",
    "a version table with another version": "UPDATE schema_migrations SET version = 99, dirty = true",
    "an empty version table": "TRUNCATE schema_migrations",
    "a locked control schema": "LOCK TABLE tidegate.fence, tidegate.ledger, tidegate.readiness",
}
UNDONE = {
    "a constraint that fails": (
        "CREATE TABLE p (x int PRIMARY KEY); CREATE TABLE c (x int REFERENCES p DEFERRABLE INITIALLY DEFERRED);"
        "INSERT INTO c VALUES (1); SET CONSTRAINTS ALL IMMEDIATE"
    ),
    "a rollback in a block of code": "DO $$BEGIN EXECUTE 'ROLLBACK'; END$$",
    "a commit in a block of code": "DO $$BEGIN COMMIT; END$$",
    "a dropped lock in a block of code": "DO $$BEGIN PERFORM pg_advisory_unlock_all(); END$$",
    "a raised epoch": "UPDATE tidegate.fence SET epoch = epoch + 1",
    "a missing fence": "DELETE FROM tidegate.fence",
    "a fence that nobody may ask": "DROP FUNCTION tidegate.hold_fence",
    "a record that nobody may make": "DROP FUNCTION tidegate.record_applied",
    "a ledger with another column": "ALTER TABLE tidegate.ledger RENAME COLUMN epoch TO era",
    "a ledger that takes nothing": "ALTER TABLE tidegate.ledger ADD CHECK (version < 2)",
    "a history that is gone": "DROP TABLE tidegate.history",
    "a version table of another shape": "ALTER TABLE schema_migrations DROP COLUMN dirty",
    "a backend that is cancelled": "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(5)",
}
REFUSED = {
    "a rollback": "ROLLBACK",
    "a rollback behind a commit": "COMMIT; CREATE TABLE b (x int); ROLLBACK",
    "an open transaction": "COMMIT; BEGIN; CREATE TABLE b (x int)",
    "a prepared transaction": "PREPARE TRANSACTION 'mine'",
}


def second(text: str) -> dict[str, str]:
    return {**FIRST, "2": f"CREATE TABLE a (x int);\n{text}"}


async def publish_and_apply(database: Database, contents: dict[str, str]) -> None:
    async with worker_on(database) as worker:
        await worker.publish(files(contents))
        await worker.up()


async def is_mended(database: Database) -> None:
    """The next run, with a file that was mended and published, finds everything as it was."""
    await publish_and_apply(database, second("SELECT 1"))
    assert await said(database) == AFTER
    assert await database.fetchval("SELECT tidegate.ready(2)")


async def unmoved(database: Database, text: str, kind: type[TidegateError]) -> None:
    await up(database, FIRST)
    error, _ = await failing(database, second(text), kind)
    assert "internal" not in error.message
    assert await said(database) == BEFORE
    assert await database.fetchval("SELECT to_regclass('a') IS NULL AND to_regclass('b') IS NULL")
    assert await database.fetchval("SELECT tidegate.ready(1) AND NOT tidegate.ready(2)")


@pytest.mark.parametrize("text", RUN.values(), ids=RUN.keys())
async def test_a_body_is_run_and_recorded_with(database: Database, text: str) -> None:
    await up(database, second(text))
    assert await said(database) == AFTER
    assert await database.fetchval("SELECT to_regclass('public.a') IS NOT NULL")

    await up(database, {**second(text), "3": "CREATE TABLE public.b (x int)"})
    assert (await said(database)).ledger == (1, 2, 3)
    assert await database.fetchval("SELECT tidegate.ready(3)")


@pytest.mark.parametrize("text", UNDONE.values(), ids=UNDONE.keys())
async def test_a_body_is_undone_that_has(database: Database, text: str) -> None:
    await unmoved(database, text, MigrationFailedError)
    await is_mended(database)


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
async def test_a_body_is_refused_that_has(database: Database, text: str) -> None:
    await unmoved(database, text, RefusedError)
    await is_mended(database)


async def test_what_a_body_committed_before_it_failed_is_kept_and_not_done_again(database: Database) -> None:
    await up(database, FIRST)
    await failing(database, second("COMMIT;\nSELECT 1/0"))
    assert await said(database) == Said((2, True), (1,), ((1, "up"),), ((0, "done"),))
    assert await database.fetchval("SELECT to_regclass('a') IS NOT NULL")

    await publish_and_apply(database, second("COMMIT;\nSELECT 1"))

    assert await said(database) == AFTER
