"""The version table has the same name for both programs, however it is said, and so has the lock."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from tests.fixtures.golang_migrate import Barrier, Both, behind_the_barrier, url_key, waiting_for
from tests.fixtures.workers import finish, migrations_in
from worker.core.target import Target


@dataclass(frozen=True, slots=True)
class Named:
    """How each program is told, and the table that is meant."""

    query: Mapping[str, str]
    settings: Mapping[str, str]
    target: Target


def named(table: str, target: Target, *, quoted: bool = False) -> Named:
    query = {"x-migrations-table": table, **({"x-migrations-table-quoted": "true"} if quoted else {})}
    settings = {"DB_MIGRATIONS_TABLE": table, **({"DB_MIGRATIONS_TABLE_QUOTED": "true"} if quoted else {})}
    return Named(query, settings, target)


NAMES = {
    "plain": named("api_schema_migrations", Target("public", "api_schema_migrations")),
    "capitals": named("ApiMigrations", Target("public", "ApiMigrations")),
    "dotted": named("ops.moves", Target("public", "ops.moves")),
    "quoted": named('"Api moves"', Target("public", "Api moves"), quoted=True),
    "quoted_schema": named('"ops"."moves"', Target("ops", "moves"), quoted=True),
    "search_path": Named(
        {"search_path": "ops"}, {"DB_MIGRATIONS_OPTIONS": "-c search_path=ops"}, Target("ops", "schema_migrations")
    ),
}


@pytest.fixture(params=NAMES.values(), ids=NAMES.keys())
def custom(request: pytest.FixtureRequest, both: Both) -> tuple[Both, Target]:
    """Both programs with a version table of another name, and that."""
    how: Named = request.param
    both.database.psql("CREATE SCHEMA ops")
    return replace(both, query=how.query, settings=how.settings), how.target


def test_up_by_it_and_then_by_us_and_back(custom: tuple[Both, Target]) -> None:
    both, target = custom
    both.theirs("up", 2)
    assert "3 migrations run, 2 adopted" in both.ours("up")
    assert both.ledger(target)[1:3] == ["2|adopted", "3|applied"]
    assert "no change" in both.theirs("up")
    both.ours("down", 2, "--yes")
    assert (both.theirs("version").strip(), both.row(target)) == ("3", "3|f")
    both.theirs("up")
    assert "2 adopted" in both.ours("up")
    assert both.ours("version").strip() == "5"


def test_a_database_that_we_made_is_its_own(custom: tuple[Both, Target]) -> None:
    both, target = custom
    both.ours("up")
    assert "no change" in both.theirs("up")
    both.theirs("down", "-all")
    assert both.row(target) == ""
    both.ours("admin", "adopt")
    assert both.ledger(target) == []


async def test_the_lock_is_the_same(custom: tuple[Both, Target], barrier: Barrier) -> None:
    both, target = custom
    migrations_in(both.source, {2: behind_the_barrier(2)})
    ours = both.start_ours("up")
    barrier.reached_by()
    theirs = both.start_theirs("up")
    waiting_for(both.database, url_key(both.database, target))
    await barrier.lift()

    finish(ours)
    finish(theirs)
    assert "no change" in theirs.stderr


def test_the_default_table_beside_the_one_in_use_is_refused(both: Both) -> None:
    replace(both, query={"x-migrations-table": "api_schema_migrations"}).theirs("up", 2)

    said = both.ours("up", code=3)

    assert "public.api_schema_migrations holds a golang-migrate version" in said
    assert "DB_MIGRATIONS_TABLE" in said
    assert both.there() == ["t1", "t2"]
