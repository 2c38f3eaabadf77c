from collections.abc import Iterator

import anyio
import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.servers import Database
from tests.fixtures.sites import bundle_of, tables, worker_on
from worker.core.planning.plan import Back
from worker.core.planning.readiness import (
    AtLeast,
    Identity,
    OfBundle,
    Readiness,
    Ready,
    Requirement,
    VersionTable,
    judge,
)
from worker.core.planning.reconcile import Insistence
from worker.jobs.bring import bring
from worker.jobs.site import Request
from worker.postgres.target_half import read_readiness

LABELS = ("1.0", "2.0", "x")
VERSIONS = range(6)
REQUIREMENTS: list[Requirement] = [*map(AtLeast, VERSIONS), *map(OfBundle, LABELS)]
INSERT = """
INSERT INTO tidegate.readiness (target, bundle, versions, lowest_pending, deferred, bundles, serves, version_table,
    system_identifier, database_oid, epoch, worker)
VALUES ('public.m', $1, $2, $3, $4, $5, $6, $7, $8, $9, 1, 'w')
"""
numbers = st.sampled_from(VERSIONS)
some = st.sets(numbers).map(lambda found: tuple(sorted(found)))
rows = st.builds(
    Readiness,
    bundle=st.none() | st.sampled_from(LABELS),
    versions=some,
    lowest_pending=st.none() | numbers,
    deferred=some,
    bundles=st.sets(st.sampled_from(LABELS)).map(lambda found: tuple(sorted(found))),
    serves=st.none() | numbers,
    version_table=st.sampled_from(VersionTable),
    identity=st.sampled_from([Identity(0, 0), Identity(1, 0), Identity(0, 1)]),
    epoch=st.just(1),
)


@pytest.fixture
def asked(database: Database) -> Iterator[Database]:
    """A database with a control schema and no row yet."""

    async def prepare() -> None:
        async with worker_on(database) as worker:
            await worker.publish(bundle_of(tables(1), "1.0"))

    anyio.run(prepare)
    return database


def test_the_sql_function_and_the_python_rule_agree(asked: Database) -> None:
    async def verdicts(row: Readiness) -> list[tuple[Requirement, bool, bool]]:
        connection: asyncpg.Connection = await asked.connect()
        try:
            oid = await connection.fetchval("SELECT oid::bigint FROM pg_database WHERE datname = current_database()")
            system = await connection.fetchval("SELECT system_identifier FROM pg_control_system()")
            await connection.execute("TRUNCATE tidegate.readiness")
            await connection.execute(
                INSERT, row.bundle, list(row.versions), row.lowest_pending, list(row.deferred), list(row.bundles),
                row.serves, row.version_table.value, system + row.identity.system_identifier,
                oid + row.identity.database_oid,
            )  # fmt: skip
            ((_, stored, here),) = await read_readiness(connection, "tidegate", None)
            return [(r, isinstance(judge(r, stored, here), Ready), await by_sql(connection, r)) for r in REQUIREMENTS]
        finally:
            await connection.close()

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(rows)
    def agree(row: Readiness) -> None:
        for requirement, by_python, sql in anyio.run(verdicts, row):
            assert by_python == sql, requirement

    agree()


async def by_sql(connection: asyncpg.Connection, requirement: Requirement) -> bool:
    version = requirement.version if isinstance(requirement, AtLeast) else None
    label = requirement.label if isinstance(requirement, OfBundle) else None
    return bool(await connection.fetchval("SELECT tidegate.ready($1, $2)", version, label))


async def test_without_a_row_nothing_is_ready(asked: Database) -> None:
    assert await asked.fetchval("SELECT tidegate.ready(1)") is False


async def test_a_question_without_a_requirement_is_an_error(asked: Database) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match="needs a requirement"):
        await asked.fetchval("SELECT tidegate.ready()")


async def test_a_question_that_fits_several_targets_is_an_error(asked: Database) -> None:
    for target in ("a.m", "b.m"):
        await asked.execute(
            "INSERT INTO tidegate.readiness VALUES ($1, NULL, '{}', NULL, '{}', '{}', NULL, 'clean', 1, 1, 1, 'w')",
            target,
        )
    with pytest.raises(asyncpg.InvalidParameterValueError, match="2 targets"):
        await asked.fetchval("SELECT tidegate.ready(1)")


async def test_a_deferred_migration_is_not_waited_for(database: Database) -> None:
    slow = "-- tidegate: gate=off\nDO $$BEGIN ASSERT tidegate.ready(bundle => '1.0'), 'not ready before it'; END$$"
    async with worker_on(database) as worker:
        report = await worker.up(bundle_of({1: "CREATE TABLE t1 (a int)", 2: slow}, "1.0"))

    assert report.applied == (1, 2)
    assert await database.fetchval("SELECT tidegate.ready(2)")


async def test_a_down_lowers_it_and_the_view_says_so(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(bundle_of(tables(1), "1.0"))
        await worker.up(bundle_of(tables(1, 2), "2.0"))
        view = await database.fetchrow("SELECT * FROM tidegate.status")
        assert view is not None
        assert (view["target"], view["bundle"], view["version"], view["applied"], view["lowest_pending"]) == (
            "public.schema_migrations", "2.0", 2, 2, None,
        )  # fmt: skip
        assert view["ready_for"] == ["1.0", "2.0"]

        await bring(worker.session, worker.site, Request(Insistence.COMMAND, Back(1), pin="down"))

    view = await database.fetchrow("SELECT * FROM tidegate.status")
    assert view is not None
    assert (view["version"], view["lowest_pending"], view["ready_for"]) == (1, 2, ["1.0"])
    assert await database.fetchval("SELECT tidegate.ready(1) AND NOT tidegate.ready(2)")


async def test_a_version_that_is_no_longer_served_is_not_ready(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(bundle_of(tables(1), "1.0"))
        await worker.up(bundle_of(tables(1, 2), "2.0", "serves = 2"))

    assert await database.fetchval("SELECT tidegate.ready(2) AND NOT tidegate.ready(1)")
    assert not await database.fetchval("SELECT tidegate.ready(bundle => '1.0')")
