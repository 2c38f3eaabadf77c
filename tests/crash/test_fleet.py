"""A fleet whose workers are killed, at random and around their messages: every target is brought once."""

import os
import random
from pathlib import Path

import pytest

from tests.fixtures.fleets import TENANTS, Fleet, names
from tests.fixtures.jobs import until
from tests.fixtures.network import free_port
from tests.fixtures.processes import Process, StartTidegate
from tests.fixtures.scenes import nothing_is_left
from tests.fixtures.servers import Database, fresh_database
from tests.fixtures.workers import eventually, sleeping

STEPS = {
    "0003_slow.up.sql": "CREATE TABLE slow (a int); SELECT pg_sleep(0.05)",
    "0004_alone.up.sql": "CREATE INDEX CONCURRENTLY slow_a ON slow (a)",
    "0005_last.up.sql": "ALTER TABLE slow ADD COLUMN b int",
}
VERSIONS = [1, 2, 3, 4, 5]
DONE = """
SELECT count(*) FROM tidegate.target WHERE source IS NOT NULL AND outcome = 'succeeded'
"""

# No version was brought under a smaller epoch than the one before it, and none under one that the fence has not had.
EPOCHS = """
SELECT h.target, h.version, h.epoch, h.before, f.epoch AS fence
FROM (
    SELECT target, version, epoch, lag(epoch) OVER (PARTITION BY target ORDER BY id) AS before
    FROM tidegate.history WHERE target LIKE 'tenant%'
) AS h
LEFT JOIN tidegate.fence AS f ON f.target = h.target
LEFT JOIN tidegate.ledger AS l ON (l.target, l.version) = (h.target, h.version)
WHERE h.epoch < h.before OR h.epoch > f.epoch OR f.epoch IS NULL OR h.epoch IS DISTINCT FROM l.epoch
"""

ONE = "tenant_0.schema_migrations"
MORE = {
    "0003_c.up.sql": "CREATE TABLE c ()",
    # Sleeps only where nobody has marked the database.
    "0004_d.up.sql": "CREATE TABLE d (); SELECT pg_sleep(60) WHERE to_regclass('public.mark') IS NULL",
    "0005_e.up.sql": "CREATE TABLE e ()",
}
MARK = "CREATE TABLE public.mark ()"


@pytest.fixture
def fleet(tidegate: StartTidegate, database: Database, tmp_path: Path) -> Fleet:
    """One target that has the first two versions, and is to have three more."""
    made = Fleet(tidegate, database, tmp_path)
    made.schemas(["tenant_0"])
    made.declare(TENANTS)
    made.up()
    made.migrations(MORE)
    return made


def holds(fleet: Fleet, versions: list[int]) -> None:
    """Ledger, history, version table and schema say that these are applied once, and readiness says no more."""
    applied, psql = "{" + ",".join(map(str, versions)) + "}", fleet.database.psql
    for table in ("ledger", "history"):
        rows = f"SELECT array_agg(version ORDER BY version) FROM tidegate.{table} WHERE target = '{ONE}'"
        assert psql(rows) == applied
    assert psql("SELECT version, dirty FROM tenant_0.schema_migrations") == f"{versions[-1]}|f"
    made = "SELECT count(*) FROM pg_class WHERE relnamespace = 'tenant_0'::regnamespace AND relname IN ('c', 'd', 'e')"
    assert psql(made) == str(len(versions) - 2)
    assert psql(f"SELECT tidegate.ready(5, target => '{ONE}')") == ("t" if versions == VERSIONS else "f")
    # The short way alone records no job before its end.
    assert psql("SELECT count(*) FROM tidegate.job WHERE state = 'running'") == "0"


def comes_right(fleet: Fleet) -> None:
    """The next command brings what is missing under a later epoch, and the job is as if nothing had been."""
    assert fleet.up()["states"] == {"succeeded": 1}
    holds(fleet, VERSIONS)
    assert fleet.database.psql(EPOCHS) == ""
    jobs = "SELECT string_agg(DISTINCT state, ' ') FROM tidegate.job"
    assert fleet.database.psql(jobs) == "succeeded"
    assert fleet.database.psql("SELECT count(*) FROM tidegate.target WHERE claimed_by IS NOT NULL") == "0"


@pytest.mark.parametrize(("name", "left"), [("sending", [1, 2]), ("sent", VERSIONS)])
def test_a_kill_around_the_message_of_a_target_leaves_what_was_sent_and_the_next_one_finishes(
    fleet: Fleet, tidegate: StartTidegate, name: str, left: list[int]
) -> None:
    fleet.database.psql(MARK)
    process = tidegate(
        "up", "--source", fleet.source, "--fleet", fleet.file,
        env={"DB_URL": fleet.database.dsn}, program=("tests.fixtures.halting", name, "1"),
    )  # fmt: skip
    process.wait_for_event("checkpoint", name=name, times=1)
    eventually(process.is_frozen, "it stands still")

    process.kill()
    process.wait()

    nothing_is_left(fleet.database)
    holds(fleet, left)
    comes_right(fleet)


def test_a_message_that_is_cut_leaves_what_was_committed_and_is_not_ready(fleet: Fleet) -> None:
    process = fleet.start("up", "--source", fleet.source)
    eventually(lambda: len(sleeping(fleet.database)) == 1, "the fourth one sleeps")
    process.freeze()
    (backend,) = sleeping(fleet.database)
    fleet.database.psql(f"SELECT pg_terminate_backend({backend}, 5000)")

    holds(fleet, [1, 2, 3])
    fleet.database.psql(MARK)
    process.thaw()

    assert process.wait() == 0, process.report()
    comes_right(fleet)


def test_a_worker_that_is_killed_behind_its_message_is_followed_by_one_that_finishes(fleet: Fleet) -> None:
    process = fleet.start("up", "--source", fleet.source)
    eventually(lambda: len(sleeping(fleet.database)) == 1, "the fourth one sleeps")
    (backend,) = sleeping(fleet.database)

    process.kill()
    process.wait()

    fleet.database.psql(f"SELECT pg_terminate_backend({backend}, 5000); {MARK}")
    nothing_is_left(fleet.database)
    holds(fleet, [1, 2, 3])
    comes_right(fleet)


class Crew:
    """Workers of one fleet, of which one after the other is killed and another begins."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self._fleet = fleet
        self._random = random.Random(seed)  # noqa: S311  a run that can be repeated
        self._started = 0
        self.workers: list[Process] = []

    def hire(self) -> None:
        self._started += 1
        ways = ("--http-port", str(free_port()), "--poll-interval", "1s", "--log-level", "warning")
        name = f"worker-{self._started}"
        self.workers.append(self._fleet.start("run", "--source", self._fleet.source, "--worker", name, *ways))

    def kill_one(self) -> None:
        victim = self.workers.pop(self._random.randrange(len(self.workers)))
        victim.kill()
        victim.wait()

    def pause(self) -> float:
        """Seconds until the next kill."""
        return self._random.uniform(0.05, 1.0)


async def check(database: Database, targets: list[str]) -> None:
    """What has to hold of each target, whatever happened to whom."""
    ledgers = await database.fetch(
        "SELECT target, array_agg(version ORDER BY version)::text[] AS versions FROM tidegate.ledger "
        "WHERE target LIKE 'tenant%' GROUP BY 1"
    )
    assert {row["target"]: [int(v) for v in row["versions"]] for row in ledgers} == {
        f"{name}.schema_migrations": VERSIONS for name in targets
    }
    often = "SELECT count(*) AS n FROM tidegate.history WHERE target LIKE 'tenant%' GROUP BY target, version, action"
    assert await database.fetchval(f"SELECT max(n) FROM ({often}) AS x") == 1
    assert await database.fetch(EPOCHS) == []
    assert await database.fetchval("SELECT count(*) FROM tidegate.journal WHERE target LIKE 'tenant%'") == 0
    assert await database.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    assert await database.fetchval("SELECT count(*) FROM tidegate.job WHERE state <> 'succeeded'") == 0
    for name in targets:
        assert await database.fetchval(f"SELECT count(*) FROM {name}.a") == 1
        assert await database.fetchval(f"SELECT version FROM {name}.schema_migrations WHERE NOT dirty") == 5
        assert await database.fetchval("SELECT tidegate.ready(5, target => $1)", f"{name}.schema_migrations")


@pytest.mark.one_version
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("workers", "targets", "kills"), [(2, 12, 3), pytest.param(8, 200, 40, marks=pytest.mark.slow)]
)
async def test_random_kills_lose_nothing_and_do_nothing_twice(
    tidegate: StartTidegate, database: Database, tmp_path: Path, workers: int, targets: int, kills: int
) -> None:
    seed = int(os.environ.get("FLEET_SEED") or random.SystemRandom().randrange(2**32))
    print(f"FLEET_SEED={seed}")  # noqa: T201  repeats a run
    fleet = Fleet(tidegate, database, tmp_path)
    fleet.schemas(names(targets))
    fleet.migrations(STEPS)
    fleet.declare(TENANTS + "[limits]\nworkers = 2\n")
    crew, watcher = Crew(fleet, seed), await database.connect()
    try:
        for _ in range(workers):
            crew.hire()
        await until(watcher, "SELECT count(*) > 0 FROM pg_attribute WHERE attname = 'forgiven'", tries=1200)
        for _ in range(kills):
            await watcher.execute("SELECT pg_sleep($1)", crew.pause())
            crew.kill_one()
            crew.hire()
        await until(watcher, f"SELECT ({DONE}) = $1", targets, tries=6000)
    finally:
        await watcher.close()
    for worker in crew.workers:
        worker.terminate()
        assert await worker.ended() == 0, worker.report()
    await check(database, names(targets))
    assert await database.fetchval("SELECT count(*) FROM tidegate.target WHERE claimed_by IS NOT NULL") == 0


# The first message makes the control schema of the home half's database, the second one the target half.
@pytest.mark.parametrize(
    ("name", "times", "left"), [("sending", 2, None), ("sent", 2, ""), ("sending", 3, ""), ("sent", 3, "1 2")]
)
def test_a_kill_at_a_new_database_leaves_a_whole_target_half_or_none_and_the_next_one_finishes(
    tidegate: StartTidegate, database: Database, tmp_path: Path, name: str, times: int, left: str | None
) -> None:
    with fresh_database(database.server) as far:
        fleet = Fleet(tidegate, database, tmp_path)
        fleet.declare(f'[[targets]]\ndatabases = ["{far.name}"]\n')
        process = tidegate(
            "up", "--source", fleet.source, "--fleet", fleet.file,
            env={"DB_URL": database.dsn}, program=("tests.fixtures.halting", name, str(times)),
        )  # fmt: skip
        process.wait_for_event("checkpoint", name=name, times=times)
        eventually(process.is_frozen, "it stands still")

        process.kill()
        process.wait()

        nothing_is_left(far)
        assert (applied_in(far) if has_target_half(far) else None) == left
        assert fleet.up()["states"] == {"succeeded": 1}
        assert has_target_half(far)
        assert applied_in(far) == "1 2"
        assert far.psql("SELECT count(*) FROM tidegate.history WHERE target ~ '^public'") == "2"
        assert far.psql("SELECT tidegate.ready(2)") == "t"


def has_target_half(database: Database) -> bool:
    """Whether it is there; without a home half, or else not at all."""
    assert database.psql("SELECT to_regclass('tidegate.bundle') IS NULL") == "t"
    return database.psql("SELECT to_regclass('tidegate.fence') IS NOT NULL") == "t"


def applied_in(database: Database) -> str:
    return database.psql(
        "SELECT string_agg(version::text, ' ' ORDER BY version) FROM tidegate.ledger WHERE target ~ '^public'"
    )
