"""Somebody writes any row of any control table: no SQL runs that the team did not sign, and the worker says why."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from tests.fixtures.attacked import Scene, scene_of, seal_of
from tests.fixtures.attacker import CANARY, FORGED, has_canary
from tests.fixtures.servers import Database
from tests.fixtures.sites import bundle_of, tables, worker_on


@pytest.fixture
async def scene(database: Database, tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene_of(database, tmp_path / "keys") as made:
        yield made


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
