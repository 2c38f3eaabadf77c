"""`tidegate.publish()` decides as `tidegate publish` does: the same offers on two lines, one by each, end alike."""

import random

import asyncpg
import pytest

from tests.fixtures.servers import Database
from tests.fixtures.sites import bundle_of, tables, worker_on
from worker import control_schema
from worker.core.bundles.bundle import Bundle
from worker.core.bundles.migration import parse_file_name
from worker.core.bundles.wanted import AlreadyWanted, Intent, Kept, KnownNowWanted, LabelTaken, New, PublishDecision
from worker.core.planning.readiness import required_versions
from worker.postgres.home_half import HomeHalf

PUBLISH = "SELECT bundle, digest, outcome FROM tidegate.publish('b', $1, $2, $3, $4, $5, $6, $7)"
ROWS = """
SELECT label, digest, names, checksums, required, serves, order_policy, intent, withdrawn_at IS NULL AS stands,
    CASE WHEN wanted_seq IS NOT NULL THEN rank() OVER (ORDER BY wanted_seq) END AS place
FROM tidegate.bundle WHERE line = $1 ORDER BY id
"""
CONTENTS = [tables(1), tables(1, 2), tables(1, 2, 3), {**tables(1), 2: "CREATE TABLE other (a int)"}, tables(2)]
MANIFESTS = ["", 'serves = 1\norder = "apply"\n']


def word(decision: PublishDecision) -> str:
    match decision:
        case New():
            return "published"
        case KnownNowWanted():
            return "wanted_again"
        case AlreadyWanted():
            return "already_wanted"
        case Kept():
            return "kept"
        case LabelTaken():
            return "taken"


def offer(chance: random.Random) -> tuple[Bundle, str | None, Intent]:
    label = chance.choice([None, None, "1.0", "2.0", "3.0"])
    bundle = bundle_of(chance.choice(CONTENTS), label, chance.choice(MANIFESTS) if chance.random() < 0.3 else "")
    return bundle, label, chance.choice(list(Intent))


async def by_function(database: Database, bundle: Bundle, label: str | None, intent: Intent) -> str:
    order = bundle.manifest.order
    try:
        row = await database.fetchrow(
            PUBLISH,
            label,
            list(bundle.files),
            list(bundle.files.values()),
            list(required_versions(bundle.migrations)),
            bundle.manifest.serves,
            None if order is None else order.value,
            intent.value,
        )
    except asyncpg.UniqueViolationError:
        return "taken"
    assert row is not None
    assert row["digest"] == bundle.digest
    return str(row["outcome"])


@pytest.mark.parametrize("seed", range(2))
async def test_the_function_and_the_program_decide_alike(database: Database, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  chance, not a secret
    outcomes: set[str] = set()
    async with worker_on(database) as worker:
        await control_schema.ensure(worker.session, worker.site.limits, ())
        half = HomeHalf(worker.session, "a")
        for _ in range(40):
            if chance.random() < 0.2:
                label = chance.choice(["1.0", "2.0", "3.0"])
                assert await half.withdraw(label) == await database.fetchval("SELECT tidegate.withdraw('b', $1)", label)
                continue
            bundle, label, intent = offer(chance)
            expected = word(await half.publish(bundle, intent))
            outcomes.add(expected)
            assert await by_function(database, bundle, label, intent) == expected
            assert await database.fetch(ROWS, "a") == await database.fetch(ROWS, "b")
    assert outcomes == {"published", "wanted_again", "already_wanted", "kept", "taken"}


async def test_signatures_travel_with_it_and_are_renewed_by_an_explicit_publish(database: Database) -> None:
    publish = "SELECT outcome FROM tidegate.publish('l', '1', '{1_a.up.sql}', '{\"\"}'::bytea[], seal => $1)"
    async with worker_on(database) as worker:
        await control_schema.ensure(worker.session, worker.site.limits, ())
    for seal, outcome in (("one", "published"), ("two", "already_wanted")):
        assert await database.fetchval(publish, seal) == outcome
        assert await database.fetchval("SELECT seal FROM tidegate.bundle") == seal


PARTS = ("1", "007", "_", "a", ".", "up", "down", ".up.", ".down.", "sql", "-", " ", "é", "\\", "1_a.up.sql", "\r")
OF_NAMES = "SELECT version, direction FROM tidegate.files_of($1, $1) ORDER BY place"


async def test_the_function_reads_a_file_s_name_as_the_program_does(database: Database) -> None:
    chance = random.Random(1)  # noqa: S311  chance, not a secret
    names = ["".join(chance.choices(PARTS, k=chance.randint(1, 9))) for _ in range(20_000)]
    async with worker_on(database) as worker:
        await control_schema.ensure(worker.session, worker.site.limits, ())
        seen = await worker.session.conn.fetch(OF_NAMES, names)
    parsed = [parse_file_name(name) for name in names]
    assert [(row["version"], row["direction"]) for row in seen] == [
        (None, None) if each is None else (each.version, each.direction.value) for each in parsed
    ]
    assert sum(each is not None for each in parsed) > 1000
