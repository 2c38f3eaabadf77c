"""The worker as people run it: on an empty database, on a later bundle, on one that fails, told to pause."""

from pathlib import Path

import pytest

from tests.fixtures.processes import StartTidegate
from tests.fixtures.roles import RoleSet
from tests.fixtures.servers import Database
from tests.fixtures.workers import (
    applied,
    complaints,
    eventually,
    finish,
    migrations_in,
    start_worker,
    start_workers,
    tables,
)

STATE = "SELECT state FROM pg_stat_activity WHERE application_name LIKE 'tidegate migrate%'"
BROKEN = {3: "CREATE TABLE t3 (a int);\nINSERT INTO t3\nVALUES ('no number');\n"}


@pytest.fixture
def env(database: Database) -> dict[str, str]:
    """What a command needs to reach the test's database."""
    return {"DB_URL": database.dsn}


def test_an_empty_database_is_brought_up_and_the_worker_turns_ready(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    worker = start_worker(tidegate, database.dsn, "--source", migrations_in(tmp_path / "sql", tables(1, 2)))

    worker.until("/readyz?at_least=2")
    assert [worker.answers(path) for path in ("/livez", "/startupz", "/readyz?at_least=3")] == [200, 200, 503]
    assert applied(database) == ["1", "2"]
    assert database.psql("SELECT version, dirty FROM schema_migrations") == "2|f"


def test_the_status_document_and_the_metrics_agree_with_the_database(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    source = migrations_in(tmp_path / "sql", tables(1, 2))
    worker = start_worker(tidegate, database.dsn, "--source", source, "--label", "1")
    worker.until("/readyz?bundle=1")

    eventually(lambda: worker.target()["state"] == "succeeded", "the job has ended")
    status, target = worker.status(), worker.target()
    assert (status["database"], status["holds_lock"], status["running"]) == (None, False, None)
    known = (target["target"], target["wanted"], target["version"], target["applied"], target["state"])
    assert known == ("public.schema_migrations", "1", 2, 2, "succeeded")
    assert target["pending"] == []
    assert str(target["epoch"]) == database.psql("SELECT epoch FROM tidegate.fence WHERE target LIKE 'public.%'")
    oid = database.psql("SELECT oid FROM pg_database WHERE datname = current_database()")
    assert str(target["identity"]["database_oid"]) == oid
    assert worker.metric('tidegate_jobs_total{outcome="succeeded"}') == 1
    assert worker.metric('tidegate_ready{target="public.schema_migrations"}') == 1


def test_a_bundle_that_is_published_while_it_runs_is_applied_without_a_restart(
    tidegate: StartTidegate, database: Database, env: dict[str, str], tmp_path: Path
) -> None:
    first = migrations_in(tmp_path / "one", tables(1))
    second = migrations_in(tmp_path / "two", tables(1, 2))
    worker = start_worker(tidegate, database.dsn, "--source", first, "--label", "1", "--poll-interval", "10m")
    worker.until("/readyz?bundle=1")
    worker.process.wait_for_event("listener.connected")
    waiting = tidegate("wait", "--bundle", "2", env=env)
    waiting.wait_for_event("gate.waiting")
    migrated = worker.metric('tidegate_migrations_total{outcome="succeeded"}')

    published = tidegate("publish", second, "--label", "2", "--wait", env=env)

    assert "is ready for 2" in finish(published)
    finish(waiting)
    worker.until("/readyz?bundle=2")
    assert applied(database) == ["1", "2"]
    assert worker.metric('tidegate_migrations_total{outcome="succeeded"}') == migrated + 1
    eventually(lambda: worker.metric('tidegate_jobs_total{outcome="succeeded"}') == 2, "both jobs have ended")
    assert worker.metric("tidegate_publish_to_ready_seconds_count") >= 1
    assert worker.metric('tidegate_wakeups_total{source="notify"}') >= 1
    assert complaints(worker.process) == []


def test_a_failing_migration_is_told_with_its_place_and_what_was_ready_stays_ready(
    tidegate: StartTidegate, database: Database, env: dict[str, str], tmp_path: Path
) -> None:
    good = migrations_in(tmp_path / "good", tables(1, 2))
    broken = migrations_in(tmp_path / "broken", tables(1, 2) | BROKEN)
    worker = start_worker(tidegate, database.dsn, "--source", good, "--label", "1")
    worker.until("/readyz?bundle=1")

    published = tidegate("publish", broken, "--label", "2", "--wait", env=env)

    finish(published, 1)
    failed = worker.process.wait_for_event("job.failed")
    assert "0003_m3.up.sql:3" in failed["message"]
    worker.until("/readyz?bundle=2", 503)
    eventually(lambda: worker.target()["state"] == "failed", "the document says so")
    assert worker.target()["failure"]["line"] == 3
    assert [worker.answers(path) for path in ("/readyz?bundle=1", "/readyz?at_least=2", "/livez")] == [200, 200, 200]
    assert applied(database) == ["1", "2"]


def test_a_failed_job_is_tried_again_on_retry_and_a_mended_bundle_takes_its_place(
    tidegate: StartTidegate, database: Database, env: dict[str, str], tmp_path: Path
) -> None:
    broken = migrations_in(tmp_path / "sql", tables(1, 2) | BROKEN)
    worker = start_worker(tidegate, database.dsn, "--source", broken, "--label", "1", "--poll-interval", "10m")
    worker.process.wait_for_event("job.failed")
    worker.until("/readyz?at_least=2")
    eventually(lambda: worker.metric('tidegate_jobs_total{outcome="failed"}') == 1, "one attempt is counted")

    finish(tidegate("retry", env=env))
    eventually(lambda: worker.metric('tidegate_jobs_total{outcome="failed"}') == 2, "a second attempt is counted")
    mended = migrations_in(tmp_path / "mended", tables(1, 2, 3))
    finish(tidegate("publish", mended, "--label", "2", "--wait", env=env))

    worker.until("/readyz?bundle=2")
    assert applied(database) == ["1", "2", "3"]


def test_a_paused_target_is_left_alone_until_it_is_resumed(
    tidegate: StartTidegate, database: Database, env: dict[str, str], tmp_path: Path
) -> None:
    first = migrations_in(tmp_path / "one", tables(1))
    second = migrations_in(tmp_path / "two", tables(1, 2))
    worker = start_worker(tidegate, database.dsn, "--source", first, "--label", "1", "--poll-interval", "10m")
    worker.until("/readyz?bundle=1")
    worker.process.wait_for_event("listener.connected")

    finish(tidegate("pause", env=env))
    finish(tidegate("publish", second, "--label", "2", env=env))
    worker.process.wait_for_event("target.paused")
    eventually(lambda: worker.target()["wanted"] == "2", "the worker has seen the bundle")
    assert applied(database) == ["1"]
    assert worker.target()["paused"] is not None

    finish(tidegate("resume", env=env))
    worker.until("/readyz?bundle=2")
    assert applied(database) == ["1", "2"]


def test_an_older_image_that_starts_changes_nothing_and_is_ready(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    older = migrations_in(tmp_path / "older", tables(1, 2))
    newer = migrations_in(tmp_path / "newer", tables(1, 2, 3))
    first = start_worker(tidegate, database.dsn, "--source", newer, "--label", "2")
    first.until("/readyz?bundle=2")
    wanted = "SELECT label, wanted_seq FROM tidegate.bundle ORDER BY wanted_seq DESC NULLS LAST LIMIT 1"
    before = database.psql(wanted)

    second = start_worker(tidegate, database.dsn, "--source", older, "--label", "1")

    second.until("/readyz")
    second.process.wait_for_event("bundle.offered", label="1", decision="older than 2, which stays wanted")
    assert database.psql(wanted) == before
    assert applied(database) == ["1", "2", "3"]
    assert [worker.answers("/readyz?at_least=3") for worker in (first, second)] == [200, 200]
    assert complaints(second.process) == []


@pytest.mark.parametrize("number", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_workers_that_start_together_apply_each_version_once(
    tidegate: StartTidegate, database: Database, tmp_path: Path, number: int
) -> None:
    source = migrations_in(tmp_path / "sql", tables(1, 2, 3, 4))
    workers = start_workers(tidegate, number, database.dsn, "--source", source)

    for worker in workers:
        worker.until("/readyz?at_least=4")
    assert applied(database) == ["1", "2", "3", "4"]
    assert database.psql("SELECT count(*) FROM tidegate.bundle") == "1"
    assert sum(event["event"] == "control.upgraded" for worker in workers for event in worker.process.events) == 1
    assert [complaints(worker.process) for worker in workers] == [[]] * number
    assert [worker.stop() for worker in workers] == [0] * number


@pytest.mark.slow
def test_eight_that_come_up_at_once_all_succeed(
    tidegate: StartTidegate, database: Database, env: dict[str, str], tmp_path: Path
) -> None:
    source = migrations_in(tmp_path / "sql", tables(1, 2, 3, 4))
    started = [tidegate("up", "--source", source, env=env) for _ in range(8)]

    assert [process.wait() for process in started] == [0] * 8, "\n".join(process.report() for process in started)
    assert applied(database) == ["1", "2", "3", "4"]
    assert [complaints(process) for process in started] == [[]] * 8


def test_an_offer_that_was_refused_is_made_again_at_the_first_hint_behind_the_right(
    installed: RoleSet, tidegate: StartTidegate, tmp_path: Path
) -> None:
    database, owner = installed.database, installed.owner
    second = migrations_in(tmp_path / "two", tables(1, 2))
    database.psql(f'REVOKE INSERT ON tidegate.bundle FROM "{owner}"')
    finish(tidegate("pause", env=installed.migrating))
    worker = start_worker(
        tidegate, installed.dsn("migrator"), "--migrations-options", f"-c role={owner}",
        "--source", second, "--label", "2", "--poll-interval", "10m",
    )  # fmt: skip
    worker.process.wait_for_event("job.failed", reason="privilege")
    worker.process.wait_for_event("listener.connected")
    # It has looked around behind the refusal, and found the old bundle settled.
    eventually(lambda: "idle" in database.psql(STATE) and worker.answers("/readyz?at_least=1") == 200, "it idles again")

    database.psql(f'GRANT INSERT ON tidegate.bundle TO "{owner}"')
    finish(tidegate("resume", env=installed.migrating))

    worker.until("/readyz?bundle=2")
    assert applied(database) == ["1", "2"]
