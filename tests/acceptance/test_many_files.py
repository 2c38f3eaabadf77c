"""Several hundred files as they are found in the wild leave what golang-migrate would leave."""

import re
from pathlib import Path

from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database

FILES = 400

# What real bundles hold, by turns; {n} is the version. Each changes the schema or the data, or claims to and does not.
SHAPES = (
    "CREATE TABLE t{n} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);\n",
    "BEGIN;\nCREATE TABLE t{n} (id int PRIMARY KEY);\nINSERT INTO t{n} VALUES (1), (2);\nCOMMIT;\n",
    "-- nothing to do yet\n",
    "",
    "\ufeffCREATE TABLE t{n} (note text DEFAULT 'it''s; fine');\r\nCOMMENT ON TABLE t{n} IS E'a\\'b;c';\r\n",
    """CREATE FUNCTION f{n}() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
  NEW.name := 'x;y'; RETURN NEW;
END
$body$;
CREATE TABLE t{n} (name text);
CREATE TRIGGER g{n} BEFORE INSERT ON t{n} FOR EACH ROW EXECUTE FUNCTION f{n}();
INSERT INTO t{n} VALUES ('a');""",
    "CREATE TYPE e{n} AS ENUM ('a', 'b');\n/* a /* nested; */ comment */\nCREATE TABLE t{n} (e e{n} DEFAULT 'a')",
    "ALTER TYPE e{before} ADD VALUE 'c';\n",
    "CREATE TABLE t{n} (a int, b int); CREATE INDEX i{n} ON t{n} (a) WHERE b > 0; -- the end",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS j{n} ON t{before} (b);\n",
    """BEGIN;
DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_class WHERE relname = 't{n}') THEN CREATE TABLE t{n} (a int); END IF; END $$;
END;
""",
    """CREATE FUNCTION s{n}(a int) RETURNS int BEGIN ATOMIC SELECT a + 1; END;
CREATE VIEW v{n} AS SELECT s{n}(1) AS two;
""",
)


def write_bundle(directory: Path) -> list[str]:
    """The files' bodies in order, without a byte order mark."""
    bodies = []
    for n in range(1, FILES + 1):
        sql = SHAPES[(n - 1) % len(SHAPES)].replace("{n}", str(n)).replace("{before}", str(n - 1))
        (directory / f"{n:06}_change_{n}.up.sql").write_text(sql, encoding="utf-8", newline="")
        bodies.append(sql.removeprefix("\ufeff"))
    return bodies


async def apply_as_golang_migrate_does(database: Database, bodies: list[str]) -> None:
    """Each file's bytes as one simple query, each on the same connection, and the version row at the end."""
    conn = await database.connect()
    try:
        await conn.execute(
            "CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)"
        )
        for body in bodies:
            if re.sub(r"--[^\n]*", "", body).strip():
                await conn.execute(body)
        await conn.execute("INSERT INTO schema_migrations VALUES ($1, false)", FILES)
    finally:
        await conn.close()


async def test_hundreds_of_files_leave_the_schema_and_the_version_that_golang_migrate_leaves(
    database: Database, tidegate: StartTidegate, tmp_path: Path
) -> None:
    bodies = write_bundle(tmp_path)
    reference = Database(f"{database.name}_reference", database.server)
    database.server.psql(f"CREATE DATABASE {reference.name} TEMPLATE template0")
    try:
        await apply_as_golang_migrate_does(reference, bodies)
        up = tidegate("up", "--source", str(tmp_path), "--log-level", "warning", env={"DB_URL": database.dsn})
        assert up.wait() == 0, up.report()
        assert database.server.dump(database.name, "--exclude-schema=tidegate") == database.server.dump(reference.name)
        assert (
            await database.fetchval("SELECT count(*) FROM tidegate.ledger WHERE target = 'public.schema_migrations'")
            == FILES
        )
    finally:
        database.server.psql(f"DROP DATABASE {reference.name} WITH (FORCE)")
