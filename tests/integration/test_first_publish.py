"""The first bundle of a database is published in the transaction that makes the control schema, where it can be."""

from tests.fixtures.servers import Database
from tests.fixtures.sites import SITE, bundle_of, tables, worker_on
from worker.core.bundles.wanted import Intent
from worker.jobs.look import look
from worker.jobs.offer import publish_first
from worker.jobs.site import Result

ONE = bundle_of(tables(1), "1.0")
TWO = bundle_of(tables(1, 2), "2.0")
THREE = bundle_of(tables(1, 2, 3), "3.0")
MAKING = "SELECT xmin::text FROM tidegate.home_version ORDER BY version DESC LIMIT 1"
PUBLISHING = "SELECT xmin::text FROM tidegate.bundle_file LIMIT 1"


async def test_a_first_bundle_commits_together_with_the_control_schema(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)

    assert await database.fetchval(MAKING) == await database.fetchval(PUBLISHING)


async def test_a_large_first_bundle_is_published_behind_it(database: Database) -> None:
    large = bundle_of({1: f"CREATE TABLE t1 (a int); -- {'x' * 300_000}"}, "large")

    async with worker_on(database) as worker:
        report = await worker.up(large)

    assert (report.result, report.bundle) == (Result.APPLIED, "large")
    assert await database.fetchval(MAKING) != await database.fetchval(PUBLISHING)


async def test_who_finds_the_control_schema_made_meanwhile_publishes_nothing_with_it(database: Database) -> None:
    async with worker_on(database) as slow, worker_on(database) as quick:
        before = await look(slow.session, SITE, TWO)
        await quick.up(ONE)

        assert not await publish_first(slow.session, SITE, before, TWO, Intent.AUTOMATIC)
        assert await database.fetch("SELECT label FROM tidegate.bundle") == [("1.0",)]
        assert (await slow.up(TWO)).applied == (2,)


async def test_numbers_go_on_after_a_crash_of_the_server(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.publish(ONE)
        # The first number that is taken behind the transaction that made the sequence.
        await worker.publish(TWO)
    database.server.restart()

    async with worker_on(database) as worker:
        await worker.publish(THREE)

    # How many are left out is the server's affair.
    labels = [row["label"] for row in await database.fetch("SELECT label FROM tidegate.bundle ORDER BY wanted_seq, id")]
    assert labels == ["1.0", "2.0", "3.0"]
