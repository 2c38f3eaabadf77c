"""The role set-up as SQL: it is what PostgreSQL's grammar takes, whatever the names, and it gives nobody too much."""

import re

import pglast
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.command_line import call
from worker.core.checks.grants import MARK, Roles, role_setup
from worker.core.target import Target, quote_identifier

NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12).filter(
    lambda name: MARK not in name and name.isprintable() and name not in {"public", "none"}
)
ROLES = Roles("app_owner", "app_migrator", "app_api", "app_publisher", "app_reader")


def setup(roles: Roles = ROLES, schemas: tuple[str, ...] = ("public",)) -> str:
    return role_setup(roles, "app", schemas, "tidegate", Target(schemas[0], "schema_migrations"))


@given(st.lists(NAMES, min_size=7, max_size=7, unique=True))
def test_any_names_make_sql_that_the_grammar_takes(names: list[str]) -> None:
    owner, migrator, api, publisher, reader, database, schema = names
    roles = Roles(owner, migrator, api, publisher, reader)
    sql = role_setup(roles, database, (schema, "public"), "tidegate", Target(schema, "versions"))

    pglast.parse_sql(sql)
    for block in re.findall(re.escape(MARK) + "\n(.*?)\n" + re.escape(MARK), sql, re.DOTALL):
        pglast.parse_plpgsql(f"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS {MARK}{block}{MARK}")
    assert all(quote_identifier(name) in sql for name in names)


def test_no_role_gets_a_power_over_the_server() -> None:
    created = [line for line in setup().splitlines() if "CREATE ROLE" in line]
    assert len(created) == len(ROLES.names)
    for line in created:
        assert "NOSUPERUSER NOCREATEDB NOCREATEROLE INHERIT NOREPLICATION NOBYPASSRLS" in line
    assert ["NOLOGIN" in line for line in created] == [name == ROLES.owner for name in ROLES.names]


def test_no_password_is_in_it() -> None:
    assert "PASSWORD '" not in setup()


def test_what_later_migrations_create_is_the_apis_to_use_in_each_schema() -> None:
    sql = setup(schemas=("public", "app"))
    for schema in ("public", "app"):
        assert (
            f'FOR ROLE "app_owner" IN SCHEMA "{schema}"\n    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO' in sql
        )


def test_a_role_that_is_not_wanted_is_left_out() -> None:
    said = call("admin", "grants", "--owner", "x_owner", "--dbname", "d", "--publisher", "none", "--reader", "none")
    said.is_fine('"x_owner"', '"x_migrator"', '"x_api"')
    assert "_publisher" not in said.out


def test_the_database_is_that_of_the_settings() -> None:
    call("admin", "grants", "--owner", "o", DB_URL="postgres://somebody@127.0.0.1:1/shop").is_fine('ON DATABASE "shop"')
    call("admin", "grants", "--owner", "o").is_error(2, "no database is named", "--dbname")


@pytest.mark.parametrize("name", ["", "x" * 64, "a\nb", f"a{MARK}b"])
def test_a_name_that_no_role_can_have_is_refused(name: str) -> None:
    call("admin", "grants", "--owner", name, "--dbname", "d").is_error(2, "--owner", "it takes a name")


@pytest.mark.parametrize("flags", [("--owner", "public"), ("--owner", "pg_owner"), ("--owner", "a", "--api", "none")])
def test_a_name_that_postgresql_keeps_for_itself_is_refused(flags: tuple[str, ...]) -> None:
    call("admin", "grants", "--dbname", "d", *flags).is_error(2, "keeps for itself")


def test_the_control_schema_is_not_one_of_the_applications() -> None:
    said = call("admin", "grants", "--owner", "o", "--dbname", "d", "--app-schema", "x", TIDEGATE_SCHEMA="x")
    said.is_error(2, "both the control schema and a schema of the application", "TIDEGATE_SCHEMA")


def test_two_roles_of_one_name_are_refused() -> None:
    call("admin", "grants", "--owner", "a", "--api", "a", "--dbname", "d").is_error(2, "the same name")
