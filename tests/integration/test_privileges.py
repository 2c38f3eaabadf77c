"""The grant that a real server's denial asks for is enough, once an owner ran it."""

from collections.abc import Iterator

import asyncpg
import pytest

from tests.fixtures.servers import Database
from worker.core.checks.privileges import missing_grant

OBJECTS = """
CREATE SCHEMA app;
CREATE TABLE app.orders (a int);
CREATE TABLE app."Odd table" (a int);
CREATE VIEW app.v AS SELECT 1 AS a;
CREATE MATERIALIZED VIEW app.mv AS SELECT 1 AS a;
CREATE SEQUENCE app.s;
CREATE TYPE app."Odd type" AS ENUM ('a');
CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE app.p() LANGUAGE sql AS 'SELECT 1';
CREATE SCHEMA closed;
REVOKE ALL ON FUNCTION app.f() FROM PUBLIC;
REVOKE ALL ON PROCEDURE app.p() FROM PUBLIC;
REVOKE ALL ON TYPE app."Odd type" FROM PUBLIC;
REVOKE ALL ON LANGUAGE plpgsql FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA app TO "Lacking";
"""


@pytest.fixture
def lacking(database: Database) -> Iterator[str]:
    """A role that may log in, look into the schema `app`, and do nothing else."""
    database.psql(f"CREATE ROLE \"Lacking\" LOGIN PASSWORD 'lacking'; {OBJECTS}")
    yield "Lacking"
    database.psql('REASSIGN OWNED BY "Lacking" TO CURRENT_USER; DROP OWNED BY "Lacking"; DROP ROLE "Lacking"')


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM app.orders",
        'INSERT INTO app."Odd table" VALUES (1)',
        "SELECT * FROM app.v",
        "SELECT * FROM app.mv",
        "SELECT nextval('app.s')",
        "SELECT app.f()",
        "CALL app.p()",
        "CREATE TABLE public.x (a int)",
        "CREATE SCHEMA another",
        'CREATE TEMPORARY TABLE x (a app."Odd type")',
        "DO 'BEGIN END'",
        "ALTER TABLE app.orders ADD b int",
        "CREATE INDEX ON app.orders (a)",
        "COMMENT ON VIEW app.v IS 'x'",
        "REFRESH MATERIALIZED VIEW app.mv",
        "ALTER SEQUENCE app.s INCREMENT 2",
        "ALTER TYPE app.\"Odd type\" ADD VALUE 'b'",
        "COMMENT ON FUNCTION app.f() IS 'x'",
        "COMMENT ON PROCEDURE app.p() IS 'x'",
        "COMMENT ON SCHEMA closed IS 'x'",
    ],
)
async def test_what_a_denial_asks_for_is_enough(database: Database, lacking: str, statement: str) -> None:
    await database.execute('GRANT CREATE ON SCHEMA app TO "Lacking"')  # what an owner of anything in it needs
    connection = await database.connect(user=lacking, password="lacking")  # noqa: S106  the test's own role
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError) as denial:
            await connection.execute(statement)
        grant = missing_grant(str(denial.value), lacking)
        assert grant is not None, denial.value
        await database.execute(f"SET search_path = app, public; {grant}")
        await connection.execute(statement)
    finally:
        await connection.close()
