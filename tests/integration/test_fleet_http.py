"""What a fleet's worker says over HTTP: readiness of single targets, counts, and what failed and why."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.fleets import TENANTS, Fleet, names
from tests.fixtures.network import free_port, http_get
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database, fresh_database
from tests.fixtures.workers import Worker, backends, eventually
from worker.core.target import Target
from worker.postgres.advisory import Keys

FAR = '[[targets]]\nname = "far"\ndatabase = { env = "FAR" }\nschemas = ["tenant_far"]\n'


@pytest.fixture
def fleet(tidegate: StartTidegate, database: Database, tmp_path: Path) -> Fleet:
    fleet = Fleet(tidegate, database, tmp_path)
    fleet.schemas(names(3))
    return fleet


@pytest.fixture
def far(database: Database) -> Iterator[Database]:
    with fresh_database(database.server) as other:
        other.psql("CREATE SCHEMA tenant_far")
        yield other


def start(fleet: Fleet, *words: str, **env: str) -> Worker:
    port = free_port()
    process = fleet.start(
        "run", "--source", fleet.source, "--http-port", str(port), "--poll-interval", "2s", *words, **env
    )
    process.wait_for_event("http.serving")
    return Worker(process, port)


def states(worker: Worker) -> dict[str, int]:
    found: Counter[str] = Counter()
    for each in worker.status()["fleet"]:
        found[each["state"]] += each["targets"]
    return dict(found)


def ready(worker: Worker, query: str) -> tuple[int, dict[str, Any]]:
    answer = http_get(worker.port, f"/readyz?{query}")
    return answer.status, answer.json()


def test_readiness_is_of_one_target_whatever_becomes_of_the_others(fleet: Fleet, far: Database) -> None:
    fleet.database.psql("CREATE TABLE tenant_1.a ()")
    fleet.declare(TENANTS + FAR)
    worker = start(fleet, FAR=far.dsn)
    eventually(lambda: states(worker) == {"failed": 1, "succeeded": 3}, "one failed, three are done")
    name = f"far/{far.name}/tenant_far.schema_migrations"

    for target in ("tenant_0.schema_migrations", name):
        assert ready(worker, f"at_least=2&target={target}") == (
            200, {"ready": True, "requirement": "version 2", "why": None, "message": "ready"},
        )  # fmt: skip
        assert ready(worker, f"target={target}")[0] == 200
        assert ready(worker, f"at_least=3&target={target}")[1]["why"] == "not_applied"
    status, body = ready(worker, "at_least=1&target=tenant_1.schema_migrations")
    assert (status, body["ready"]) == (503, False)
    assert ready(worker, "at_least=1&target=tenant_9.schema_migrations") == (
        404,
        {
            "ready": False, "requirement": "version 1", "why": "no_target",
            "message": "target tenant_9.schema_migrations is not known",
        },
    )  # fmt: skip
    assert ready(worker, "at_least=1")[0] == 503
    assert ready(worker, "at_least=1&target=")[0] == 400
    assert ready(worker, "at_least=1&target=a%00b")[0] == 400


def test_a_target_is_answered_for_while_another_ones_database_is_away_and_while_the_home_is(
    fleet: Fleet, far: Database
) -> None:
    fleet.declare(TENANTS + FAR)
    worker = start(fleet, FAR=far.dsn)
    eventually(lambda: states(worker) == {"succeeded": 4}, "all are done")
    name = f"far/{far.name}/tenant_far.schema_migrations"
    assert ready(worker, f"target={name}")[0] == 200

    cut(fleet.database)
    worker.until("/readyz", 503)
    assert ready(worker, f"at_least=2&target={name}")[0] == 200
    status, body = ready(worker, "at_least=2&target=tenant_0.schema_migrations")
    assert (status, body["why"]) == (503, "database")
    fleet.database.server.psql(f"ALTER DATABASE {fleet.database.name} ALLOW_CONNECTIONS true")
    cut(far)
    worker.until("/readyz?at_least=2&target=tenant_0.schema_migrations")
    worker.until(f"/readyz?at_least=2&target={name}", 503)
    assert ready(worker, "at_least=2&target=tenant_1.schema_migrations")[0] == 200
    far.server.psql(f"ALTER DATABASE {far.name} ALLOW_CONNECTIONS true")
    worker.until(f"/readyz?at_least=2&target={name}")
    assert worker.stop() == 0, worker.process.report()
    assert [*backends(far), *backends(fleet.database)] == []


async def test_what_a_lost_connection_cut_off_is_not_told_as_under_way_while_another_target_is_brought(
    fleet: Fleet, far: Database
) -> None:
    far.psql("CREATE SCHEMA tenant_0")
    (key, *_) = Keys.of_target(Target("tenant_far", "schema_migrations"), far.name).in_order
    stranger = await far.connect()
    await stranger.execute("SELECT pg_advisory_lock($1)", key)
    fleet.migrations({"0003_c.up.sql": "-- tidegate: gate=off\nSELECT pg_sleep(3600)"})
    fleet.declare('[[targets]]\nschemas = ["tenant_0"]\n' + FAR.replace('"tenant_far"', '"tenant_0", "tenant_far"'))
    worker = start(fleet, FAR=far.dsn)
    near, name = "tenant_0.schema_migrations", f"far/{far.name}/tenant_0.schema_migrations"
    eventually(lambda: at_work(worker) == {near: "3 c", name: "3 c"}, "both are at work")
    eventually(lambda: worker.metric("tidegate_lock_held_by_stranger") == 1, "a stranger holds a lock")

    cut(far)
    eventually(lambda: worker.metric("tidegate_lock_held_by_stranger") == 0, "nobody waits for it any more")
    assert worker.metric("tidegate_lock_waiting") == 0
    await stranger.close()
    eventually(lambda: at_work(worker) == {near: "3 c"}, "one is at work")
    assert worker.metric("tidegate_job_started_timestamp_seconds")
    cut(fleet.database)
    eventually(lambda: at_work(worker) == {}, "none is at work")
    assert "tidegate_job_started_timestamp_seconds " not in http_get(worker.port, "/metrics").body
    eventually(lambda: not worker.metric("tidegate_database_reachable"), "the database is told to be away")


def at_work(worker: Worker) -> dict[str, str]:
    return {each["target"]: each["migration"] for each in worker.status()["at_work"]}


def cut(database: Database) -> None:
    database.server.psql(
        f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false;"
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'"
        " AND application_name LIKE 'tidegate%'"
    )


def test_a_halted_line_is_told_with_what_failed_and_why_and_is_over_after_a_retry(fleet: Fleet) -> None:
    fleet.schemas(names(7, start=3))
    fleet.database.psql("".join(f"CREATE TABLE {name}.a ();" for name in names(10)))
    fleet.declare(TENANTS + "[limits]\nworkers = 1\nerror_budget = 2\n")
    worker = start(fleet)
    eventually(lambda: bool(worker.status()["halted"]), "the line is halted")

    document = worker.status()
    (halt,) = document["halted"]
    assert (halt["line"], halt["budget"], halt["failures"] + halt["left"]) == ("schema_migrations", 2, 10)
    assert len(document["troubled"]) == halt["failures"]
    assert "0001_a.up.sql" in document["troubled"][0]["message"]
    assert worker.metric('tidegate_fleet_line_halted{line="schema_migrations"}') == 1
    assert worker.metric('tidegate_jobs_current{state="failed"}') == halt["failures"]
    page = http_get(worker.port, "/").body
    assert "is halted" in page
    assert "0001_a.up.sql" in page

    fleet.database.psql("".join(f"DROP TABLE {name}.a;" for name in names(10)))
    assert fleet.start("retry").wait() == 0
    eventually(lambda: states(worker) == {"succeeded": 10}, "all are done")
    assert worker.metric('tidegate_fleet_line_halted{line="schema_migrations"}') == 0
    assert worker.metric('tidegate_fleet_targets{line="schema_migrations",state="succeeded"}') == 10
    assert worker.status()["troubled"] == []


def test_a_group_that_cannot_be_read_is_told_and_counted(fleet: Fleet) -> None:
    fleet.declare(TENANTS + '[[targets]]\ntable = "other"\nschemas_query = "SELECT nonsense"\n')
    worker = start(fleet)
    eventually(lambda: states(worker) == {"succeeded": 3}, "the others are done")
    (wrong,) = worker.status()["misdeclared"]
    assert "nonsense" in wrong["message"]
    assert worker.metric("tidegate_fleet_groups_misdeclared") == 1
    assert "nonsense" in http_get(worker.port, "/").body
