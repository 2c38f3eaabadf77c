"""Names found elsewhere: schemas that lead a search_path, temporary objects, and what a body leaves behind."""

from pathlib import Path

from tests.fixtures.command_line import call
from tests.fixtures.roles import RoleSet
from tests.fixtures.shadows import shadow
from tests.fixtures.workers import migrations_in, tables

PUBLISH = """
SELECT outcome FROM tidegate.publish('schema_migrations', '2', ARRAY['0001_m1.up.sql', '0002_m2.up.sql'],
    ARRAY['CREATE TABLE t1 (a int)', 'CREATE TABLE t2 (a int)']::pg_catalog.bytea[])
"""
TEMPORARY = """
CREATE TEMP TABLE bundle (LIKE tidegate.bundle); CREATE TEMP TABLE bundle_file (LIKE tidegate.bundle_file);
CREATE TEMP TABLE pg_class (a int); CREATE DOMAIN pg_temp.text AS int CHECK (false);
CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea';
CREATE FUNCTION pg_temp.same(bigint, bigint) RETURNS bool LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR pg_temp.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = pg_temp.same);
SET search_path = pg_temp, evil, pg_catalog, tidegate;
"""


def test_temporary_objects_and_a_search_path_do_not_mislead_the_function(installed: RoleSet) -> None:
    database = installed.database
    database.psql(f'GRANT TEMPORARY ON DATABASE {database.name} TO "{installed.base}_publisher"')
    shadow(database, "evil")

    assert installed.psql("publisher", TEMPORARY + PUBLISH) == "published"

    assert database.psql("SELECT count(*) FROM tidegate.bundle") == "2"
    assert "r_test" in database.psql("SELECT published_by FROM tidegate.bundle WHERE label = '2'")


def test_no_search_path_of_a_role_or_a_database_leads_the_worker_astray(installed: RoleSet, tmp_path: Path) -> None:
    database, migrator = installed.database, installed.migrator
    shadow(database, "evil")
    database.psql(
        f"ALTER DATABASE {database.name} SET search_path = evil, pg_catalog, public;"
        f'ALTER ROLE "{migrator}" IN DATABASE {database.name} SET search_path = evil, pg_catalog, public'
    )
    # Unqualified names of the files themselves go where that search_path says: that is its meaning.
    table = {"DB_MIGRATIONS_TABLE": '"public"."schema_migrations"', "DB_MIGRATIONS_TABLE_QUOTED": "true"}
    bodies = {
        1: "CREATE TABLE t1 (a int);\n",
        2: "CREATE TABLE public.t2 (a pg_catalog.int4)",
        3: "CREATE TABLE public.t3 (a pg_catalog.int4)",
    }
    source = migrations_in(tmp_path / "m", bodies)
    try:
        _everyday(source, {**installed.migrating, **table}, {"DB_URL": installed.dsn("publisher"), **table})
        gate = {"DB_URL": installed.dsn("api"), **table}
        call("wait", "--at-least", "2", "--timeout", "0", **gate).is_fine()
    finally:
        database.psql(f"ALTER DATABASE {database.name} RESET ALL")


def _everyday(source: Path, environment: dict[str, str], publisher: dict[str, str]) -> None:
    call("plan", "--source", source, **environment).is_fine()
    call("up", "--source", source, "--label", "3", **environment).is_fine("version 3")
    call("up", "--source", source, "--label", "3", **environment).is_fine()
    call("down", "1", "--yes", "--source", source, **environment).is_fine()
    call("publish", migrations_in(source, {4: "SELECT"}), "--label", "4", **publisher).is_fine("wanted now")
    call("bundle", "withdraw", "4", **publisher).is_fine()
    for verb in ("status", "history", "doctor", "version"):
        said = call(verb, **environment)
        assert "captured" not in said.all, said
        assert said.code == 0, said


# Name or operator, operands, and the result's type: what fits a query better than pg_catalog's own would.
BETTER = (
    ("array_remove", ("bigint[]", "integer"), "bigint[]"),
    ("hashtextextended", ("text", "integer"), "bigint"),
    ("pg_advisory_unlock", ("integer",), "boolean"),
    ("format", ("varchar", "varchar"), "text"),
    ("to_jsonb", ("pg_catalog.pg_index",), "jsonb"),
    ("=", ("oid", "regclass"), "boolean"),
    ("<>", ("oid", "regclass"), "boolean"),
    ("<>", ("oid", "integer"), "boolean"),
    ("~", ("name", "name"), "boolean"),
    ("^@", ("name", "text"), "boolean"),
    ("->", ("jsonb", "jsonb"), "jsonb"),
    ("=", ("name", "varchar"), "boolean"),
    ("||", ("text", "varchar"), "text"),
)


def _better(name: str, operands: tuple[str, ...], result: str) -> str:
    is_word = name[0].isalpha()
    function = name if is_word else f"op{BETTER.index((name, operands, result))}"
    body = "BEGIN INSERT INTO public.loot VALUES (current_user); RETURN NULL; END"
    sql = f"CREATE FUNCTION public.{function}({', '.join(operands)}) RETURNS {result} LANGUAGE plpgsql AS '{body}';"
    if is_word:
        return sql
    left, right = operands
    return f"{sql}CREATE OPERATOR public.{name} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = public.{function});"


def test_a_function_that_fits_better_in_an_open_public_schema_is_not_called(installed: RoleSet, tmp_path: Path) -> None:
    """As PostgreSQL 14 leaves it: whoever logs in may create in public, which is in everybody's search_path."""
    database = installed.database
    database.psql(
        "GRANT CREATE ON SCHEMA public TO PUBLIC; CREATE TABLE public.loot (who text);"
        "GRANT INSERT ON public.loot TO PUBLIC"
    )
    installed.psql("api", "".join(_better(*each) for each in BETTER))
    assert int(
        database.psql(f"SELECT count(*) FROM pg_proc WHERE pg_get_userbyid(proowner) = '{installed.api}'")
    ) == len(BETTER)
    build = (
        "CREATE INDEX CONCURRENTLY t2_a ON t2 (a); CREATE INDEX CONCURRENTLY ON t2 (a); REINDEX TABLE CONCURRENTLY t2"
    )
    source = migrations_in(tmp_path / "m", {**tables(1, 2, 4), 3: build})
    (source / "0003_m3.down.sql").write_text("DROP INDEX CONCURRENTLY t2_a")

    call("up", "--source", source, "--label", "2", **installed.migrating).is_fine("version 4")
    call("down", "2", "--yes", "--source", source, **installed.migrating).is_fine()
    call("doctor", **installed.migrating)

    assert database.psql("SELECT * FROM public.loot") == ""


ESCAPES = (
    "RESET ROLE",
    "CREATE TABLE t99 (a int); SET ROLE NONE",
    "SET SESSION AUTHORIZATION DEFAULT",
    "SET search_path = nowhere",
    "SELECT set_config('role', 'none', false), set_config('search_path', 'nowhere', false)",
    (
        "CREATE TEMP TABLE schema_migrations (version bigint, dirty boolean); CREATE TEMP TABLE ledger (a int);"
        "CREATE TEMP TABLE pg_class (a int); CREATE TEMP TABLE fence (a int); CREATE DOMAIN pg_temp.text AS int"
    ),
)


def test_what_a_body_leaves_behind_does_not_change_who_records_it_and_where(installed: RoleSet, tmp_path: Path) -> None:
    database = installed.database
    database.psql(f'GRANT TEMPORARY ON DATABASE {database.name} TO "{installed.owner}", "{installed.migrator}"')
    bodies = dict(enumerate(ESCAPES, 2))
    last = len(bodies) + 2
    source = migrations_in(tmp_path / "m", {**tables(1, last), **bodies})

    call("up", "--source", source, "--label", "2", **installed.migrating).is_fine(f"version {last}")

    who = database.psql("SELECT DISTINCT applied_by FROM tidegate.ledger UNION SELECT role FROM tidegate.history")
    assert who == installed.owner
    assert database.psql("SELECT * FROM schema_migrations") == f"{last}|f"
    assert database.psql(f"SELECT tableowner FROM pg_tables WHERE tablename = 't{last}'") == installed.owner


def test_a_session_authorization_that_the_role_may_not_take_fails_the_migration(
    installed: RoleSet, tmp_path: Path
) -> None:
    source = migrations_in(tmp_path / "m", {**tables(1), 2: "SET SESSION AUTHORIZATION postgres"})
    call("up", "--source", source, "--label", "2", **installed.migrating).is_error(1, "permission denied")
