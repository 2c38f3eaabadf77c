"""Somebody writes any row of any control table: no SQL runs that the team did not sign, and the worker says why."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import pytest

from tests.fixtures.attacker import CANARY, FORGED, Attacker, attacking, has_canary
from tests.fixtures.servers import Database
from tests.fixtures.signing import Signer, Told, new_signer
from tests.fixtures.sites import COMMAND, SITE, Worker, bundle_of, tables, worker_on
from worker.core.bundle import Bundle, digest_of
from worker.core.plan import To
from worker.core.seal import render_seal
from worker.errors import MigrationFailedError, RefusedError, TidegateError
from worker.jobs.bring import bring
from worker.jobs.site import Result
from worker.jobs.steer import retry, withdraw

INJECTION = "x']::text[]); CREATE TABLE canary (a int); --"


@dataclass(frozen=True, slots=True)
class Scene:
    """Version 1 is applied from the signed bundle 1.0; a worker and an attacker are at hand."""

    database: Database
    worker: Worker
    attacker: Attacker
    told: Told
    ci: Signer
    stranger: Signer
    one: Bundle
    two: Bundle

    async def refused(self, *why: str) -> None:
        """A round runs nothing and says why; version 1 stays ready, and the worker goes on."""
        with pytest.raises(RefusedError) as raised:
            await self.worker.round()
        assert raised.value.reason in {"untrusted", "checksum"}
        assert [part for part in why if part not in raised.value.message] == []
        await self.unharmed()

    async def unharmed(self) -> None:
        """No SQL ran that nobody signed, and version 1 is still ready."""
        assert not await has_canary(self.database)
        assert await self.database.fetchval("SELECT tidegate.ready(1)")


@asynccontextmanager
async def scene_of(database: Database, directory: Path) -> AsyncIterator[Scene]:
    ci, stranger = new_signer(directory), new_signer(directory, "stranger")
    one, two = ci.sign(bundle_of(tables(1), "1.0"), 1), ci.sign(bundle_of(tables(1, 2), "2.0"), 2)
    told = Told([ci.trusted])
    async with worker_on(database, site=replace(SITE, trust=told.trust())) as worker:
        await worker.up(one)
        async with attacking(database) as attacker:
            yield Scene(database, worker, attacker, told, ci, stranger, one, two)


@pytest.fixture
async def scene(database: Database, tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene_of(database, tmp_path / "keys") as made:
        yield made


def seal_of(bundle: Bundle) -> str:
    assert bundle.seal is not None
    return render_seal(bundle.seal)


async def test_the_attacker_has_the_rows_and_nothing_else(scene: Scene) -> None:
    for sql in (
        "CREATE TABLE canary (a int)",
        "CREATE TABLE tidegate.canary (a int)",
        "CREATE FUNCTION tidegate.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TRIGGER t BEFORE INSERT ON tidegate.bundle EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "ALTER TABLE tidegate.bundle ADD COLUMN x int",
        "INSERT INTO schema_migrations VALUES (7, false)",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await scene.attacker.run(sql)
    tables_there = await scene.database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'tidegate'")
    for row in tables_there:
        assert await scene.attacker.value(
            "SELECT has_table_privilege($1, 'INSERT') AND has_table_privilege($1, 'UPDATE')"
            " AND has_table_privilege($1, 'DELETE') AND NOT has_table_privilege($1, 'TRIGGER')",
            f"tidegate.{row['tablename']}",
        )


async def test_without_trust_the_same_row_would_run(scene: Scene) -> None:
    await scene.attacker.insert(FORGED)
    async with worker_on(scene.database) as trusting:
        await trusting.round()
    assert await has_canary(scene.database)


async def unsigned(scene: Scene) -> None:
    await scene.attacker.insert(FORGED)


async def another_seal(scene: Scene) -> None:
    await scene.attacker.insert(FORGED, seal_of(scene.two))


async def a_seal_with_its_digest_put_right(scene: Scene) -> None:
    seal = seal_of(scene.two).replace(scene.two.digest, FORGED.digest).replace("label 2.0", "label 6.6.6")
    await scene.attacker.insert(FORGED, seal)


async def a_key_of_their_own(scene: Scene) -> None:
    await scene.attacker.insert(FORGED, seal_of(scene.stranger.sign(FORGED, 9)))


async def their_signature_under_our_keys_id(scene: Scene) -> None:
    seal = seal_of(scene.stranger.sign(FORGED, 9)).replace(scene.stranger.trusted.id, scene.ci.trusted.id)
    await scene.attacker.insert(FORGED, seal)


async def a_malformed_seal(scene: Scene) -> None:
    await scene.attacker.insert(FORGED, "tidegate bundle signature 1\n\x1b[2J")


async def a_huge_seal(scene: Scene) -> None:
    await scene.attacker.insert(FORGED, "x" * 5_000_000)


async def another_audience(scene: Scene) -> None:
    await scene.attacker.insert(FORGED, seal_of(scene.ci.sign(FORGED, 9, audience="bank")))


async def another_line(scene: Scene) -> None:
    await scene.attacker.insert(FORGED, seal_of(scene.ci.sign(FORGED, 9, line="bank")))


async def another_database(scene: Scene) -> None:
    await scene.attacker.insert(FORGED, seal_of(scene.ci.sign(FORGED, 9, database="stage")))


async def another_label(scene: Scene) -> None:
    await scene.worker.publish(scene.two)
    await scene.attacker.run("UPDATE tidegate.bundle SET label = '3.0' WHERE label = '2.0'")


async def the_line_of_the_target(scene: Scene) -> None:
    forged = scene.ci.sign(FORGED, 9, line="bank")
    await scene.attacker.insert(forged, seal_of(forged), line="bank")
    await scene.attacker.run("UPDATE tidegate.target SET line = 'bank'")


async def contents_under_a_checksum(scene: Scene) -> None:
    await scene.worker.publish(scene.two)
    await scene.attacker.run(
        "UPDATE tidegate.bundle_file SET content = $1 WHERE content = $2",
        CANARY.encode(),
        scene.two.files["0002_m2.up.sql"],
    )


async def checksum_and_digest_put_right(scene: Scene) -> None:
    await scene.worker.publish(scene.two)
    await scene.attacker.swap("2.0", "0002_m2.up.sql", CANARY.encode())


async def a_file_more(scene: Scene) -> None:
    await scene.worker.publish(scene.two)
    await scene.attacker.run(
        "UPDATE tidegate.bundle SET names = names || '0003_x.up.sql'::text, checksums = checksums || $1::text",
        (await scene.attacker.store({"0003_x.up.sql": CANARY.encode()}))[0],
    )


async def a_file_twice(scene: Scene) -> None:
    await scene.worker.publish(scene.two)
    (checksum,) = await scene.attacker.store({"x": CANARY.encode()})
    await scene.attacker.run(
        "UPDATE tidegate.bundle SET names = names || '0002_m2.up.sql'::text, checksums = checksums || $1::text",
        checksum,
    )


async def names_exchanged(scene: Scene) -> None:
    await scene.worker.publish(scene.two)
    up, down = "0002_m2.up.sql", "0002_m2.down.sql"
    await scene.attacker.swap("2.0", up, scene.two.files[down])


async def another_order(scene: Scene) -> None:
    await scene.worker.publish(scene.two)
    await scene.attacker.run("UPDATE tidegate.bundle SET order_policy = 'skip' WHERE label = '2.0'")


async def no_version_required(scene: Scene) -> None:
    await scene.worker.publish(scene.two)
    await scene.attacker.run("UPDATE tidegate.bundle SET required = '{}', serves = 2 WHERE label = '2.0'")


async def names_that_are_no_text(scene: Scene) -> None:
    await scene.attacker.insert(FORGED, names=[None] * len(FORGED.files), required=[None])


async def nested_names(scene: Scene) -> None:
    names = [list(FORGED.files)[:2], list(FORGED.files)[2:]]
    await scene.attacker.insert(FORGED, names=names, checksums=[["a", "b"], ["c", "d"]])


async def a_version_too_high(scene: Scene) -> None:
    names = [f"{'9' * 30}_x.up.sql", *list(FORGED.files)[1:]]
    await scene.attacker.insert(FORGED, names=names)


ATTACKS: list[tuple[Callable[[Scene], Awaitable[None]], str]] = [
    (unsigned, "bundle 6.6.6 is not trusted: it is not signed"),
    (another_seal, "its files are not those that were signed"),
    (a_seal_with_its_digest_put_right, "its signature is not that of its files and claims"),
    (a_key_of_their_own, "and trusted are ci"),
    (their_signature_under_our_keys_id, "its signature is not that of its files and claims"),
    (a_malformed_seal, "bundle.sig is malformed"),
    (a_huge_seal, "bundle.sig is malformed: it has more than"),
    (another_audience, "it is signed for the audience bank"),
    (another_line, "it is signed for the line bank"),
    (another_database, "it is signed for the database stage"),
    (another_label, "its row says something else than its signed files do (label)"),
    (the_line_of_the_target, "the target's row says that it follows it"),
    (contents_under_a_checksum, "its stored files are not those that were published"),
    (checksum_and_digest_put_right, "its files are not those that were signed"),
    (a_file_more, "its stored files are not those that were published"),
    (a_file_twice, "are not those that were published"),
    (names_exchanged, "its files are not those that were signed"),
    (another_order, "(order_policy)"),
    (no_version_required, "(required, serves)"),
    (names_that_are_no_text, "bundle 6.6.6"),
    (nested_names, "bundle 6.6.6"),
    (a_version_too_high, "bundle 6.6.6"),
]


@pytest.mark.parametrize(("attack", "why"), ATTACKS, ids=[attack.__name__ for attack, _ in ATTACKS])
async def test_a_forged_row_runs_nothing_and_is_named(
    scene: Scene, attack: Callable[[Scene], Awaitable[None]], why: str
) -> None:
    await attack(scene)

    await scene.refused(why)
    await scene.refused(why)

    await scene.attacker.run("DELETE FROM tidegate.job")
    await scene.attacker.run("DELETE FROM tidegate.bundle WHERE label <> '1.0'")
    await scene.attacker.run("UPDATE tidegate.target SET line = 'schema_migrations'")
    await scene.attacker.run("DELETE FROM tidegate.bundle_file WHERE content = $1", CANARY.encode())
    three = scene.ci.sign(bundle_of(tables(1, 3), "3.0"), 3)
    await scene.worker.publish(three)
    assert (await scene.worker.round()).applied == (3,)
    await scene.unharmed()


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
