"""The first bundle of a database is published in the transaction that makes the control schema, where it can be."""

from dataclasses import replace

import pytest

from tests.fixtures.servers import Database
from tests.fixtures.sites import SITE, bundle_of, tables, worker_on
from worker import control_schema
from worker.core.bundles.wanted import Intent
from worker.errors import RefusedError
from worker.jobs.look import look
from worker.jobs.offer import publish_first
from worker.jobs.site import Result

ONE = bundle_of(tables(1), "1.0")
TWO = bundle_of(tables(1, 2), "2.0")
THREE = bundle_of(tables(1, 2, 3), "3.0")
MAKING = "SELECT xmin::text FROM tidegate.home_version ORDER BY version DESC LIMIT 1"
STRANGE = """
CREATE FUNCTION strange() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER strange BEFORE INSERT ON tidegate.ledger FOR EACH ROW EXECUTE FUNCTION strange();
"""
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


async def test_a_trigger_that_somebody_puts_on_what_was_made_is_refused_before_it_runs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = control_schema.ensure

    async def ensure(*asked: object) -> bool:
        is_made = await made(*asked)  # type: ignore[arg-type]  # whatever it is given
        await database.execute(STRANGE)
        return is_made

    monkeypatch.setattr(control_schema, "ensure", ensure)
    async with worker_on(database) as worker:
        with pytest.raises(RefusedError, match="strange"):
            await worker.up(ONE)

    assert await database.fetchval("SELECT to_regclass('t1')") is None


@pytest.mark.parametrize("table", ["m$1", "audit$2024", "m'$2", "a:version_table"])
async def test_a_version_table_may_have_any_name(database: Database, table: str) -> None:
    site = replace(SITE, table=table, line="a'b\\$1:version_table")

    for bundle, result in ((ONE, Result.APPLIED), (ONE, Result.UP_TO_DATE), (TWO, Result.APPLIED)):
        async with worker_on(database, site=site) as worker:
            assert (await worker.up(bundle)).result is result

    assert await database.fetchval(f'SELECT version FROM "{table}"') == 2
