"""Who may begin a run: the owner, or a role that was given all that it needs; anybody else is told apart."""

from dataclasses import replace

import pytest

from tests.fixtures.standings import FRESH, OWNER, RUNNING
from worker.core.checks.findings import either
from worker.core.checks.standing import Owner, Role, Standing, membership, obstacles, obstacles_to_looking, role_option
from worker.core.connecting.dsn import role_option as parsed_role


def checks(at: Standing) -> list[str]:
    return [finding.check for finding in obstacles(at)]


@pytest.mark.parametrize("at", [FRESH, RUNNING, replace(RUNNING, may_create_schemas=False, may_create_in_schema=False)])
def test_the_owner_may_begin(at: Standing) -> None:
    assert checks(at) == []
    assert obstacles_to_looking(at) == ()


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"may_create_schemas": False}, "create_on_database"),
        ({"has_control_schema": True}, "create_on_control_schema"),
        ({"has_schema": False, "may_create_in_schema": False}, "schema"),
        ({"may_create_in_schema": False}, "create_on_schema"),
        ({"namesake_schema": "elsewhere", "may_use_namesake": True}, "capture"),
        ({"namesake_schema": "elsewhere"}, "capture"),
        ({"transaction_timeout": "5s"}, "setting"),
    ],
)
def test_what_a_first_run_lacks_is_named(change: dict[str, object], check: str) -> None:
    (finding,) = obstacles(replace(FRESH, **change))  # type: ignore[arg-type]
    assert finding.check == check
    assert finding.sql.endswith(";")


@pytest.mark.parametrize("at", [replace(RUNNING, table_owner=None), RUNNING])
def test_a_login_that_could_act_as_the_owner_and_does_not_is_told_apart_whatever_its_rights(at: Standing) -> None:
    (finding,) = obstacles(replace(at, role=Role("login", "login", 150_018)))
    assert finding.check == "owner"
    assert "DB_MIGRATIONS_OPTIONS='-c role=owner'" in finding.advice


def test_a_role_that_was_given_every_right_and_may_not_act_as_the_owner_may_begin() -> None:
    theirs = Owner("somebody", is_member=False, may_act_as=False, is_superuser=False)
    assert checks(replace(RUNNING, control_owner=theirs, table_owner=theirs)) == []


def test_a_member_that_may_not_act_as_the_owner_is_told_apart_and_how_it_could() -> None:
    owner = Owner("owner", is_member=True, may_act_as=False, is_superuser=False)
    (finding,) = obstacles(replace(RUNNING, role=Role("login", "login", 160_000), control_owner=owner))
    assert 'GRANT "owner" TO "login" WITH SET TRUE; or give all of it' in finding.advice


@pytest.mark.parametrize("ways", [("GRANT a;", "", "say b", "GRANT c;"), ("GRANT a;", "say b;", "GRANT c")])
def test_ways_to_mend_something_are_told_apart_by_one_semicolon(ways: tuple[str, ...]) -> None:
    assert either(*ways) == "GRANT a; or say b; or GRANT c"


def test_the_schema_has_an_owner_before_it_has_tables() -> None:
    made = replace(FRESH, has_control_schema=True, control_owner=OWNER, may_create_in_control=True)
    assert checks(made) == []
    assert checks(replace(made, role=Role("login", "login", 150_018))) == ["owner"]


def test_the_control_schema_is_not_the_applications() -> None:
    assert checks(replace(FRESH, control="public"))[0] == "control_schema"


def test_who_only_looks_is_not_told_to_become_the_owner() -> None:
    theirs = Owner("owner", is_member=False, may_act_as=False, is_superuser=False)
    (finding,) = obstacles_to_looking(
        replace(RUNNING, role=Role("reader", "reader", 150_018), may_read_control=False, control_owner=theirs)
    )
    assert finding.hint.startswith('GRANT USAGE ON SCHEMA "tidegate" TO "reader"')
    assert "owner" not in finding.hint


@pytest.mark.parametrize(
    ("name", "option"),
    [("app_owner", "-c role=app_owner"), ("app owner", "-c role=app\\ owner"), ("a\\b", "-c role=a\\\\b")],
)
def test_an_option_names_any_role(name: str, option: str) -> None:
    assert role_option(name) == option
    assert parsed_role(option) == name


def test_nobody_is_told_to_let_a_login_act_as_a_superuser() -> None:
    theirs = Owner("postgres", is_member=False, may_act_as=False, is_superuser=True)
    (finding,) = obstacles(replace(RUNNING, control_owner=theirs, may_write_control=False))
    assert "GRANT" not in finding.hint
    assert "doctor" in finding.hint


def test_a_role_that_may_not_look_is_told_the_grant() -> None:
    blind = replace(RUNNING, may_read_control=False, may_read_table=False, role=Role("a", "a", 150_018))
    control, table = obstacles_to_looking(blind)
    assert 'GRANT USAGE ON SCHEMA "tidegate" TO "a"' in control.sql
    assert 'GRANT SELECT ON "public"."versions" TO "a"' in table.sql


@pytest.mark.parametrize(("version", "option"), [(140_023, ""), (150_018, ""), (160_014, " WITH SET TRUE")])
def test_a_membership_has_the_set_option_where_there_is_one(version: int, option: str) -> None:
    assert membership("owner", Role("login", "login", version)) == f'GRANT "owner" TO "login"{option};'
