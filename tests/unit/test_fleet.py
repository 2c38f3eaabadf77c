"""The fleet's file, the names of its targets, its budget and its bounds: pure, and tried with anything."""

from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.processes import ROOT
from worker.core.fleet.bounds import Bounds, ErrorBudget, free_seats
from worker.core.fleet.declared import Asked, Declared, Listed, Reference, declare
from worker.core.fleet.file import read_fleet
from worker.core.fleet.names import check_distinct, check_names
from worker.core.target import Target
from worker.errors import SettingError

FULL = b"""
[[targets]]
name = "eu"
line = "app"
table = "versions"
database = { env = "TENANTS_URL" }
databases_query = "SELECT datname FROM pg_database"
schemas = ["a", "b"]
search_path = ["extensions"]

[[targets]]
rows = true

[limits]
workers = 3
per_database = 2
per_server = 5
error_budget = "5%"
"""


def test_everything_that_a_file_says_is_read() -> None:
    fleet = read_fleet(FULL, "fleet.toml")
    first, second = fleet.groups

    assert (first.line, first.table, first.reference) == ("app", "versions", Reference("env", "TENANTS_URL"))
    assert (first.databases, first.schemas) == (Asked("SELECT datname FROM pg_database"), Listed(("a", "b")))
    assert (second.line, second.rows, second.reference) == ("schema_migrations", True, None)
    assert (fleet.bounds, fleet.budget) == (Bounds(3, 2, 5), ErrorBudget(percent=5.0))
    assert fleet.sources == ("eu versions", "own schema_migrations", "add_target")
    assert [each.name for each in declare(first, first.called("db"), ["a", "B"])] == [
        "eu/db/a.versions",
        'eu/db/"B".versions',
    ]
    assert declare(first, "", ["a"])[0].path == ("a", "extensions")


def test_a_group_that_names_no_schema_keeps_the_sessions_search_path() -> None:
    (group,) = read_fleet(b"[[targets]]", "fleet.toml").groups

    assert declare(group, "", ["public"])[0].path == ()


@given(st.binary(max_size=200))
def test_any_file_is_read_or_refused_in_one_way(text: bytes) -> None:
    with suppress(SettingError):
        assert read_fleet(text, "fleet.toml").groups


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@given(st.lists(_VALUES, max_size=6))
def test_names_are_distinct_texts_that_postgres_takes_whole_or_refused(found: list[object]) -> None:
    with suppress(SettingError):
        names = check_names(found, "a query", "schemas")
        assert list(names) == found
        assert len(set(names)) == len(names) > 0
        assert all(0 < len(name.encode()) <= 63 for name in names)


def test_two_groups_may_not_declare_one_target() -> None:
    one = Declared("", Target("a", "t"), "l", "own t", ("a",))

    with pytest.raises(SettingError, match=r"declares the target a\.t twice"):
        check_distinct([one, Declared("", Target("a", "t"), "l", "far t", ("a",))], "fleet.toml")


@given(st.integers(0, 10**6), st.floats(0.001, 100), st.integers(1, 10**6))
def test_a_budget_lets_at_least_one_fail_and_no_more_than_its_share(targets: int, percent: float, count: int) -> None:
    allowed = ErrorBudget(percent=percent).allowed(targets)

    assert allowed is not None
    assert 1 <= allowed <= max(1, targets * percent / 100)
    assert ErrorBudget(failures=count).allowed(targets) == count
    assert ErrorBudget().allowed(targets) is None


@given(
    st.builds(Bounds, st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=40),
)
def test_seats_that_are_taken_one_by_one_never_pass_a_bound(bounds: Bounds, asked: list[str]) -> None:
    server = {"a": "one", "b": "one", "c": "two", "d": "two"}
    seated: Counter[str] = Counter()
    for database in asked:
        if free_seats(bounds, seated, server, database):
            seated[database] += 1

    assert seated.total() <= bounds.workers
    assert max(seated.values(), default=0) <= bounds.per_database
    for each in ("one", "two"):
        assert sum(count for database, count in seated.items() if server[database] == each) <= bounds.per_server


def test_the_documented_file_is_one() -> None:
    page = (ROOT / "deploy/fleets.md").read_text(encoding="utf-8")
    fleet = read_fleet(page.split("```toml\n")[1].split("```")[0].encode(), "fleet.toml")
    assert [group.rows for group in fleet.groups] == [False, False, True]
    assert (fleet.bounds, fleet.budget) == (Bounds(8, 4, 16), ErrorBudget(percent=5.0))
    database = fleet.groups[0].called("tenants")
    assert declare(fleet.groups[0], database, ["tenant_7"])[0].name == "tenants/tenant_7.schema_migrations"
