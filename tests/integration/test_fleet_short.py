"""The short way of a fleet's targets, what does not go it, and targets that are not what the home half holds."""

from pathlib import Path

import pytest

from tests.fixtures.cuts import held_open
from tests.fixtures.fleets import TENANTS, Fleet, names
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from worker.core.lock_keys import target_key
from worker.core.target import Target
from worker.postgres.queries import queries

ONE = "tenant_0.schema_migrations"
LEDGER = f"FROM tidegate.ledger WHERE target = '{ONE}'"
EVENTS = """
SELECT array_agg(e.state ORDER BY e.id) FROM tidegate.job_event AS e
JOIN tidegate.job AS j ON j.id = e.job_id JOIN tidegate.target AS t ON t.id = j.target_id WHERE t.name = $1
"""
SHORT, USUAL = ["succeeded"], ["running", "succeeded"]
NAIVE = """
SELECT line, state, count(*) AS targets FROM (
    SELECT t.line, CASE
        WHEN t.paused_at IS NOT NULL THEN 'paused'
        WHEN t.claimed_by IS NOT NULL AND t.claimed_until >= now() THEN 'running'
        WHEN t.outcome IN ('unreachable', 'waiting') OR b.id IS NULL OR t.settled = b.id THEN coalesce(t.outcome, 'due')
        ELSE 'due' END AS state
    FROM tidegate.target AS t
    LEFT JOIN LATERAL (SELECT max(id) AS id FROM tidegate.bundle WHERE line = t.line) AS b ON true
    WHERE t.source = ANY ($1::text[]) AND t.gone_at IS NULL
) AS x GROUP BY 1, 2 ORDER BY 1, 2
"""


@pytest.fixture
def fleet(tidegate: StartTidegate, database: Database, tmp_path: Path) -> Fleet:
    made = Fleet(tidegate, database, tmp_path)
    made.schemas(names(2))
    made.declare(TENANTS)
    return made


async def test_each_migration_of_a_message_is_a_transaction_of_its_own_with_its_own_time(fleet: Fleet) -> None:
    fleet.migrations({"0003_c.up.sql": "SELECT pg_sleep(0.3)", "0004_d.up.sql": "CREATE TABLE d ()"})

    assert fleet.up()["migrations"] == 8

    database = fleet.database
    assert await database.fetchval(EVENTS, ONE) == SHORT
    assert await database.fetchval(f"SELECT count(DISTINCT xmin::text) {LEDGER}") == 4
    times = await database.fetch(f"SELECT duration_ms {LEDGER} ORDER BY version")
    assert times[2]["duration_ms"] >= 300 > times[3]["duration_ms"] > 0
    row = f"SELECT lowest_pending IS NULL AND versions = '{{1,2,3,4}}' FROM tidegate.readiness WHERE target = '{ONE}'"
    assert await database.fetchval(row)


async def test_a_message_that_takes_long_is_cut_and_the_rest_goes_the_usual_way(fleet: Fleet) -> None:
    fleet.migrations({"0003_c.up.sql": "SELECT pg_sleep(1.5)", "0004_d.up.sql": "CREATE TABLE d ()"})

    assert fleet.up(0, "--target", ONE, TIDEGATE_BLOCK_BUDGET="2s")["migrations"] == 4

    assert await fleet.database.fetchval(EVENTS, ONE) == USUAL
    history = f"SELECT array_agg(version ORDER BY id)::text FROM tidegate.history WHERE target = '{ONE}'"
    assert await fleet.database.fetchval(history) == "{1,2,3,4}"
    assert await fleet.database.fetchval(f"SELECT count(DISTINCT epoch) {LEDGER}") == 2


# What fails when it is cut, but later than its connection is given up.
STUBBORN = """
CREATE FUNCTION stubborn() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(1.3);
EXCEPTION WHEN query_canceled THEN
    PERFORM pg_sleep(2.5);
    RAISE;
END $$
"""


async def test_a_message_that_does_not_end_when_it_is_cut_goes_the_usual_way_after_that(fleet: Fleet) -> None:
    fleet.migrations({"0003_c.up.sql": STUBBORN, "0004_d.up.sql": "SELECT stubborn()"})

    assert fleet.up(0, "--target", ONE, TIDEGATE_BLOCK_BUDGET="2s")["states"] == {"due": 1, "succeeded": 1}

    assert await fleet.database.fetchval(EVENTS, ONE) == USUAL
    assert await fleet.database.fetchval(f"SELECT count(DISTINCT epoch) {LEDGER}") == 2


HELD = {"0001_a.up.sql": "SELECT count(*) FROM public.held; CREATE TABLE IF NOT EXISTS a (b int)"}
GOLANG_MIGRATE = """
CREATE TABLE {0}.schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);
INSERT INTO {0}.schema_migrations VALUES (2, false);
CREATE TABLE {0}.a (b int); INSERT INTO {0}.a VALUES (1);
"""


async def test_what_another_program_applied_since_the_target_was_seen_is_not_applied_again(fleet: Fleet) -> None:
    fleet.migrations(HELD | {"0003_c.up.sql": "CREATE TABLE c ()"})
    fleet.declare(TENANTS + "[limits]\nworkers = 1\n")
    fleet.database.psql("CREATE TABLE public.held ()")
    async with held_open(fleet.database, "BEGIN; LOCK TABLE public.held") as holder:
        process = fleet.start("up", "--source", fleet.source)
        at_work = process.wait_for_event("lock.acquired")["target"]
        other = next(name for name in names(2) if not at_work.startswith(name))
        fleet.database.psql(GOLANG_MIGRATE.format(other))
        await holder.execute("COMMIT")
        assert await process.ended() == 0, process.report()

    assert await fleet.database.fetchval(f"SELECT count(*) FROM {other}.a") == 1
    done = "SELECT array_agg(action || ' ' || version ORDER BY version) FROM tidegate.history WHERE target = $1"
    assert await fleet.database.fetchval(done, f"{other}.schema_migrations") == ["adopt 1", "adopt 2", "up 3"]


async def test_who_waited_for_the_lock_looks_again_who_could_interfere(fleet: Fleet) -> None:
    fleet.up()
    fleet.migrations({"0003_c.up.sql": "CREATE TABLE c ()"})
    key = target_key(Target("tenant_0", "schema_migrations"))
    async with held_open(fleet.database, f"SELECT pg_advisory_lock({key})"):
        process = fleet.start("up", "--source", fleet.source)
        await process.line(lambda line: '"lock.waiting"' in line)
        fleet.database.psql("ALTER TABLE tenant_0.schema_migrations ENABLE ROW LEVEL SECURITY")

    assert await process.ended() == 3, process.report()
    assert "row security on tenant_0.schema_migrations" in process.stdout
    assert await fleet.database.fetchval(f"SELECT max(version) {LEDGER}") == 2


@pytest.mark.parametrize(
    "text",
    [
        "-- tidegate: gate=off\nCREATE TABLE c ()",
        "-- tidegate: lock_timeout=1s\nCREATE TABLE c ()",
        "CREATE INDEX CONCURRENTLY c ON a (b)",
        "BEGIN ISOLATION LEVEL SERIALIZABLE; CREATE TABLE c (); COMMIT",
    ],
)
async def test_what_asks_for_more_than_a_plain_transaction_goes_the_usual_way(fleet: Fleet, text: str) -> None:
    fleet.migrations({"0003_c.up.sql": text})

    assert fleet.up()["states"] == {"succeeded": 2}
    assert await fleet.database.fetchval(EVENTS, ONE) == USUAL


async def test_what_a_failing_one_left_committed_stays_and_the_failure_is_told(fleet: Fleet) -> None:
    fleet.migrations({"0003_c.up.sql": "SELECT pg_advisory_lock(4711); SELECT 1 / 0", "0004_d.up.sql": "SELECT 1"})

    document = fleet.up(1)

    assert document["states"] == {"failed": 2}
    assert "0003_c.up.sql" in fleet.problem(document, ONE)["message"]
    assert await fleet.database.fetchval(f"SELECT array_agg(version)::text {LEDGER}") == "{1,2}"
    assert await fleet.database.fetchval(EVENTS, ONE) == ["running", "failed"]


async def test_a_newer_bundle_supersedes_what_failed_with_the_older_one(fleet: Fleet) -> None:
    fleet.migrations({"0003_c.up.sql": "SELECT 1 / 0"})
    fleet.up(1)
    fleet.migrations({"0003_c.up.sql": "SELECT 1"})
    assert fleet.start("publish", str(fleet.source)).wait() == 0

    assert fleet.up()["states"] == {"succeeded": 2}
    states = "SELECT array_agg(DISTINCT state ORDER BY state) FROM tidegate.job"
    assert await fleet.database.fetchval(states) == ["succeeded", "superseded"]


async def test_a_target_that_was_restored_from_before_a_migration_is_brought_again(fleet: Fleet) -> None:
    fleet.up()
    fleet.database.psql(
        f"DELETE FROM tidegate.ledger WHERE target = '{ONE}' AND version = 2; DELETE FROM tenant_0.a;"
        "UPDATE tenant_0.schema_migrations SET version = 1"
    )

    assert fleet.up()["migrations"] == 1
    assert await fleet.database.fetchval("SELECT count(*) FROM tenant_0.a") == 1


def test_a_version_table_that_was_changed_by_hand_is_found_though_the_target_was_settled(fleet: Fleet) -> None:
    fleet.up()
    fleet.database.psql("UPDATE tenant_0.schema_migrations SET dirty = true")

    document = fleet.up(3)

    assert document["states"] == {"refused": 1, "succeeded": 1}
    assert fleet.problem(document, ONE)["reason"] == "dirty"


def test_a_settled_schema_that_is_gone_is_found_though_its_file_lists_it(fleet: Fleet) -> None:
    fleet.declare('[[targets]]\nschemas = ["tenant_0", "tenant_1"]\n')
    fleet.up()
    fleet.database.psql("DROP SCHEMA tenant_0 CASCADE")

    assert fleet.up(3)["states"] == {"refused": 1, "succeeded": 1}


async def test_settled_targets_are_looked_at_without_a_write(fleet: Fleet) -> None:
    fleet.up()
    rows = "SELECT string_agg(xmin::text || ctid::text, ' ' ORDER BY id) FROM tidegate.target"
    before = await fleet.database.fetchval(rows)

    assert fleet.up()["migrations"] == 0
    assert await fleet.database.fetchval(rows) == before


async def test_the_counts_are_those_of_a_look_at_every_row(fleet: Fleet) -> None:
    fleet.up()
    await fleet.database.execute(
        "INSERT INTO tidegate.target (name, line, schema, version_table, source, settled, outcome, paused_at, "
        "claimed_by, claimed_until, gone_at) "
        "SELECT 'x' || n, CASE WHEN n % 5 = 0 THEN 'other' ELSE 'schema_migrations' END, 's', 't', "
        "CASE WHEN n % 7 = 0 THEN 'elsewhere' ELSE 'here' END, "
        "CASE WHEN n % 3 = 0 THEN b.id "
        "WHEN n % 3 = 1 THEN 0 END, (ARRAY['succeeded', 'failed', 'unreachable', 'waiting', NULL])[1 + n % 4], "
        "CASE WHEN n % 6 = 0 THEN now() END, CASE WHEN n % 4 < 2 THEN 'w' END, "
        "now() + (n % 9 - 4) * interval '1 hour', CASE WHEN n % 11 = 0 THEN now() END "
        "FROM generate_series(1, 2000) AS n, tidegate.bundle AS b"
    )

    found = await fleet.database.fetch(queries("fleet", "tidegate")["counts"], ["here"])

    expected = await fleet.database.fetch(NAIVE, ["here"])
    assert len(expected) > 5
    assert [tuple(row) for row in expected] == [(row["line"], row["state"], row["targets"]) for row in found]
