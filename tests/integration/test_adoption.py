from dataclasses import replace

import pytest

from tests.fixtures.servers import Database
from tests.fixtures.sites import SITE, bundle_of, dump, tables, worker_on
from worker.core.events.events import LedgerAdopted
from worker.errors import RefusedError
from worker.jobs.site import Result, Rivals

THREE = bundle_of(tables(1, 2, 3), "3.0")


async def golang(database: Database, version: int, table: str = "schema_migrations", *, dirty: bool = False) -> None:
    """What golang-migrate leaves behind."""
    await database.execute(
        f"CREATE TABLE IF NOT EXISTS {table} (version bigint not null primary key, dirty boolean not null);"
        f"TRUNCATE {table}; INSERT INTO {table} VALUES ({version}, {dirty})"
    )


async def origins(database: Database) -> list[tuple[int, str, bool]]:
    rows = await database.fetch(
        "SELECT version, origin, checksum IS NOT NULL AS known FROM tidegate.ledger "
        "WHERE target = 'public.schema_migrations' ORDER BY 1"
    )
    return [(row["version"], row["origin"], row["known"]) for row in rows]


async def test_a_golang_migrate_database_is_taken_over_and_brought_on(database: Database) -> None:
    await database.execute("CREATE TABLE t1 (a int); CREATE TABLE t2 (a int)")
    await golang(database, 2)

    async with worker_on(database) as worker:
        report = await worker.up(THREE)

        assert (report.adopted, report.applied, report.version) == (2, (3,), 3)
        assert [event.versions for event in worker.recorded.of(LedgerAdopted)] == [2]
    assert await origins(database) == [(1, "adopted", True), (2, "adopted", True), (3, "applied", True)]
    assert await database.fetchval("SELECT tidegate.ready(bundle => '3.0')")


async def test_adoption_alone_makes_the_gate_ready(database: Database) -> None:
    await golang(database, 3)

    async with worker_on(database) as worker:
        report = await worker.up(THREE)

        assert (report.result, report.adopted, report.applied) == (Result.APPLIED, 3, ())
        assert (await worker.up(THREE)).result is Result.UP_TO_DATE
    assert await database.fetchval("SELECT tidegate.ready(3)")


async def test_a_database_newer_than_the_bundle_is_a_fact(database: Database) -> None:
    await golang(database, 7)

    async with worker_on(database) as worker:
        report = await worker.up(THREE)

        assert (report.adopted, report.applied, report.version) == (4, (), 7)
        assert (await worker.round()).result is Result.UP_TO_DATE
    assert await origins(database) == [
        (1, "adopted", True),
        (2, "adopted", True),
        (3, "adopted", True),
        (7, "adopted", False),
    ]
    assert await database.fetchval("SELECT tidegate.ready(bundle => '3.0')")


async def test_what_golang_migrate_did_meanwhile_is_adopted_by_a_round(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(THREE)
        await golang(database, 4)

        report = await worker.round()

    assert (report.result, report.adopted, report.version) == (Result.APPLIED, 1, 4)


async def test_a_version_table_that_was_moved_back_is_refused(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(THREE)
        await golang(database, 2)

        with pytest.raises(RefusedError) as caught:
            await worker.up(THREE)

    assert caught.value.reason == "diverged"
    assert "tidegate force 2" in caught.value.hint
    assert not await database.fetchval("SELECT tidegate.ready(2)")


async def test_another_table_beside_an_empty_one_is_refused_and_both_are_named(database: Database) -> None:
    await golang(database, 5, "neosync_api_schema_migrations")
    async with worker_on(database) as worker:
        with pytest.raises(RefusedError) as caught:
            await worker.up(THREE)

        assert (caught.value.reason, caught.value.exit_code) == ("version_table", 3)
        assert "public.neosync_api_schema_migrations" in caught.value.message
        assert "public.schema_migrations" in caught.value.message
    assert await dump(database) == {}


async def test_another_table_may_be_said_to_belong_to_another_application(database: Database) -> None:
    await golang(database, 5, "neosync_api_schema_migrations")
    async with worker_on(database, site=replace(SITE, rivals=Rivals.IGNORE)) as worker:
        assert (await worker.up(THREE)).applied == (1, 2, 3)

    # From then on the two live side by side, without a word.
    async with worker_on(database) as worker:
        assert (await worker.up(THREE)).result is Result.UP_TO_DATE


async def test_an_empty_rival_is_none(database: Database) -> None:
    await golang(database, 5, "other_migrations")
    await database.execute("DELETE FROM other_migrations")
    async with worker_on(database) as worker:
        assert (await worker.up(THREE)).applied == (1, 2, 3)


async def test_two_applications_share_a_database_by_their_tables(database: Database) -> None:
    async with worker_on(database) as first:
        await first.up(THREE)
    site = replace(SITE, table="other_migrations")
    async with worker_on(database, site=site) as second:
        assert (await second.up(bundle_of(tables(11, 12), "o1"))).applied == (11, 12)
        assert (await second.round()).result is Result.UP_TO_DATE

    ready = "SELECT tidegate.ready(at_least => $1, target => $2)"
    assert await database.fetchval(ready, 12, "public.other_migrations")
    assert not await database.fetchval(ready, 12, "public.schema_migrations")


EMPTY_PLACES = ("SELECT", "CREATE TABLE schema_migrations (version bigint primary key, dirty boolean not null)")


@pytest.mark.parametrize("prepare", EMPTY_PLACES)
async def test_a_round_where_nothing_is_published_writes_nothing(database: Database, prepare: str) -> None:
    await database.execute(prepare)
    async with worker_on(database) as worker:
        report = await worker.round()

        assert (report.result, report.why) == (Result.NOTHING_WANTED, "nothing is published on schema_migrations")
    assert await database.fetchval("SELECT to_regnamespace('tidegate')::text") is None


async def test_a_round_on_a_golang_migrate_database_without_a_bundle_touches_nothing(database: Database) -> None:
    await golang(database, 4, dirty=True)
    async with worker_on(database) as worker:
        report = await worker.round()

    assert (report.result, report.version) == (Result.NOTHING_WANTED, None)
    assert [tuple(row) for row in await database.fetch("SELECT * FROM schema_migrations")] == [(4, True)]


async def test_a_round_with_a_control_schema_and_no_bundle_writes_nothing(database: Database) -> None:
    async with worker_on(database, site=replace(SITE, table="other_migrations")) as worker:
        await worker.up(THREE)
    before = await dump(database)
    async with worker_on(database) as worker:
        assert (await worker.round()).result is Result.NOTHING_WANTED
        assert (await worker.up()).result is Result.NOTHING_WANTED
    assert await dump(database) == before
