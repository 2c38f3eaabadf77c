"""Somebody writes what the records say: signed SQL may be left out or run again, and no other SQL is run."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fixtures.attacked import Scene, scene_of, seal_of
from tests.fixtures.attacker import CANARY, FORGED, has_canary
from tests.fixtures.servers import Database
from tests.fixtures.sites import COMMAND, SITE, bundle_of, tables, worker_on
from worker.core.bundles.bundle import digest_of
from worker.core.planning.plan import To
from worker.errors import MigrationFailedError, RefusedError, TidegateError
from worker.jobs.bring import bring
from worker.jobs.site import Result
from worker.jobs.steer import retry, withdraw

INJECTION = "x']::text[]); CREATE TABLE canary (a int); --"


@pytest.fixture
async def scene(database: Database, tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene_of(database, tmp_path / "keys") as made:
        yield made


async def test_a_replayed_older_bundle_runs_nothing_in_a_worker_that_saw_a_newer_one(scene: Scene) -> None:
    bad = scene.ci.sign(bundle_of({1: "CREATE TABLE t1 (a int)", 5: CANARY}, "1.5"), 5)
    await scene.worker.publish(bad)
    await withdraw(scene.worker.session, scene.worker.site, "1.5")
    await scene.worker.publish(scene.ci.sign(bundle_of({**tables(1), 6: "SELECT 1 / 0"}, "1.6"), 6))
    with pytest.raises(MigrationFailedError):
        await scene.worker.round()

    await scene.attacker.run("UPDATE tidegate.bundle SET withdrawn_at = NULL, wanted_seq = 1000000 WHERE label = '1.5'")

    await scene.refused("its sequence number 5 is below 6")

    job = await scene.database.fetchrow("SELECT state, failure->>'reason' AS why FROM tidegate.job ORDER BY id DESC")
    assert job is not None
    assert tuple(job) == ("refused", "untrusted")


async def test_an_older_bundle_that_is_wanted_again_is_signed_anew(scene: Scene) -> None:
    older, newer = bundle_of(tables(1, 5), "1.5"), bundle_of({**tables(1), 6: "SELECT 1 / 0"}, "1.6")
    await scene.worker.publish(scene.ci.sign(older, 5))
    await scene.worker.publish(scene.ci.sign(newer, 6))
    with pytest.raises(MigrationFailedError):
        await scene.worker.round()
    await withdraw(scene.worker.session, scene.worker.site, "1.6")
    await scene.refused("its sequence number 5 is below 6")

    await scene.worker.publish(scene.ci.sign(older, 7))
    await retry(scene.worker.session, scene.worker.site)

    assert (await scene.worker.round()).applied == (5,)


async def test_a_worker_learns_how_new_the_wanted_bundle_is_where_it_has_nothing_to_do(scene: Scene) -> None:
    older = scene.ci.sign(bundle_of({1: "CREATE TABLE t1 (a int)", 5: CANARY}, "0.9"), 0)
    later = scene.told.trust()
    async with worker_on(scene.database, site=replace(SITE, trust=later)) as idle:
        assert (await idle.round()).result is Result.UP_TO_DATE
        await scene.attacker.insert(older, seal_of(older))

        with pytest.raises(RefusedError, match="its sequence number 0 is below 1"):
            await idle.round()
    await scene.unharmed()


async def test_a_seal_that_is_not_the_wanted_bundles_teaches_nothing(scene: Scene) -> None:
    await scene.attacker.run("UPDATE tidegate.bundle SET seal = $1", seal_of(scene.ci.sign(FORGED, 2**60)))
    async with worker_on(scene.database, site=replace(SITE, trust=scene.told.trust())) as idle:
        assert (await idle.round()).result is Result.UP_TO_DATE
        await idle.publish(scene.two)

        assert (await idle.round()).applied == (2,)


@pytest.mark.parametrize("when", ["infinity", "-infinity"])
async def test_times_that_are_none_harm_nobody(scene: Scene, when: str) -> None:
    await scene.worker.publish(scene.two)
    await scene.attacker.run(f"UPDATE tidegate.bundle SET wanted_at = '{when}', published_at = '{when}'")
    await scene.attacker.run(f"UPDATE tidegate.job SET started_at = '{when}'")
    assert (await scene.worker.round()).applied == (2,)


async def test_a_new_worker_knows_the_least_number_alone(scene: Scene) -> None:
    bad = scene.ci.sign(bundle_of({1: "CREATE TABLE t1 (a int)", 5: CANARY}, "1.5"), 5)
    await scene.attacker.insert(bad, seal_of(bad))

    async with worker_on(scene.database, site=replace(SITE, trust=scene.told.trust(least=6))) as later:
        with pytest.raises(RefusedError, match="sequence number 5 is below 6"):
            await later.round()
    await scene.unharmed()


async def test_forged_jobs_run_nothing_and_harm_nobody(scene: Scene) -> None:
    await scene.worker.publish(scene.two)
    for failure in ("[1]", '"x"', '{"failure": {"x": 1}}', '{"failure": 7}', "null", "{}"):
        await scene.attacker.run("DELETE FROM tidegate.job")
        await scene.attacker.run(
            "INSERT INTO tidegate.job (target_id, bundle_id, state, failure, worker)"
            " SELECT t.id, b.id, 'refused', $1::jsonb, $2 FROM tidegate.target AS t, tidegate.bundle AS b",
            failure, INJECTION,
        )  # fmt: skip
        assert (await scene.worker.round()).result is Result.LEFT_ALONE
        await scene.unharmed()
    await scene.attacker.run("UPDATE tidegate.job SET state = 'pending'")
    assert (await scene.worker.round()).applied == (2,)
    await scene.unharmed()


async def test_texts_of_rows_do_not_become_sql(scene: Scene) -> None:
    await scene.worker.publish(scene.two)
    await scene.worker.round()
    for label in (INJECTION, "\\' || CREATE TABLE canary () --", "'); CREATE TABLE canary (a int); --"):
        await scene.attacker.insert(FORGED, label=label, required=[], wanted_seq=None)
    for sql in (
        "UPDATE tidegate.fence SET worker = $1",
        "UPDATE tidegate.ledger SET bundle = $1, name = $1, mode = $1 WHERE target = 'public.schema_migrations'",
        "UPDATE tidegate.history SET name = $1, note = $1, bundle = $1",
        "UPDATE tidegate.readiness SET worker = $1, bundle = $1",
        "UPDATE tidegate.bundle SET published_by = $1",
        "UPDATE tidegate.job SET worker = $1",
    ):
        await scene.attacker.run(sql, INJECTION)

    await bring(scene.worker.session, scene.worker.site, replace(COMMAND, goal=To(1), pin="goto 1"), scene.two)

    await scene.unharmed()
    assert INJECTION in await scene.database.fetchval("SELECT bundles FROM tidegate.readiness")
    assert not await scene.database.fetchval("SELECT tidegate.ready(2)")


async def test_a_forged_ledger_runs_signed_sql_again_and_no_other(scene: Scene) -> None:
    await scene.attacker.run("DELETE FROM tidegate.ledger WHERE target = 'public.schema_migrations'")
    await scene.attacker.run("UPDATE tidegate.job SET state = 'pending'")
    await scene.database.execute("DELETE FROM schema_migrations")

    with pytest.raises(MigrationFailedError, match='relation "t1" already exists'):
        await scene.worker.round()

    assert not await has_canary(scene.database)


async def test_a_forged_journal_leaves_out_signed_sql_and_adds_none(scene: Scene) -> None:
    text = "-- tidegate: transaction=off\nCREATE TABLE t2 (a int);\nCREATE TABLE t2b (a int);\n"
    signed = scene.ci.sign(bundle_of({1: "CREATE TABLE t1 (a int)", 2: text}, "2.0"), 2)
    await scene.worker.publish(signed)
    await scene.attacker.run(
        "INSERT INTO tidegate.journal (target, version, direction, segment, digest, state, epoch)"
        " VALUES ('public.schema_migrations', 2, 'up', 0, $1, 'done', 1)",
        CANARY,
    )

    with pytest.raises(TidegateError):
        await scene.worker.round()

    await scene.unharmed()


async def test_older_control_versions_run_only_what_the_program_ships(scene: Scene) -> None:
    await scene.attacker.insert(FORGED)
    await scene.attacker.run("UPDATE tidegate.home_version SET version = 1")
    await scene.attacker.run("DELETE FROM tidegate.ledger WHERE target = 'tidegate.home_version' AND version > 1")

    with pytest.raises(TidegateError):
        await scene.worker.round()

    await scene.unharmed()


async def test_a_text_that_is_not_the_signed_files_is_stopped_right_before_it_is_sent(scene: Scene) -> None:
    first, second = scene.two.migrations
    assert second.up is not None
    mended = replace(second, up=replace(second.up, sql=CANARY))

    with pytest.raises(RefusedError, match=r"0002_m2\.up\.sql is not trusted: its signature is not that"):
        await bring(scene.worker.session, scene.worker.site, COMMAND, replace(scene.two, migrations=(first, mended)))

    await scene.unharmed()
    assert await scene.database.fetchval("SELECT to_regclass('t2') IS NULL")


async def test_a_swapped_down_file_is_not_lent(scene: Scene) -> None:
    await scene.worker.publish(scene.two)
    await scene.worker.round()
    await scene.attacker.swap("2.0", "0002_m2.down.sql", CANARY.encode())

    with pytest.raises(RefusedError, match="its files are not those that were signed"):
        await goto_one(scene)

    assert not await has_canary(scene.database)
    assert await scene.database.fetchval("SELECT tidegate.ready(2)")


async def test_a_forged_lender_keeps_nobody_from_going_back(scene: Scene) -> None:
    await scene.worker.publish(scene.two)
    await scene.worker.round()
    down = dict(scene.two.files) | {"0002_m2.down.sql": CANARY.encode()}
    forged = replace(scene.two, files=down, label="9.9", digest=digest_of(down))
    await scene.attacker.insert(forged, seal_of(scene.two), wanted_seq=None)
    await scene.attacker.run("UPDATE tidegate.ledger SET bundle = '9.9' WHERE version = 2")

    assert await goto_one(scene) == (2,)

    assert await scene.database.fetchval("SELECT to_regclass('t2') IS NULL")
    await scene.unharmed()


async def goto_one(scene: Scene) -> tuple[int, ...]:
    """A person goes back to version 1, from an older image that has only the first bundle."""
    async with worker_on(scene.database, site=replace(SITE, trust=scene.told.trust())) as person:
        request = replace(COMMAND, goal=To(1), offer=scene.one, pin="goto 1")
        return (await bring(person.session, person.site, request, scene.one)).applied
