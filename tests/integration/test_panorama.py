"""What is shown besides what deciding needs: bundles, steps, sessions and the lock, and what is seen while it runs."""

from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import pytest

from tests.fixtures.servers import Database
from tests.fixtures.sites import Worker, bundle_of, tables, worker_on
from worker.core.planning.job import JobState
from worker.core.status.company import Part
from worker.core.status.sighting import Sighting
from worker.core.status.snapshot import Panorama
from worker.errors import MigrationFailedError
from worker.jobs.status import panorama_of, target_status
from worker.postgres.advisory import Keys
from worker.postgres.lock import hold

ONE, TWO = bundle_of(tables(1, 2), "1"), bundle_of(tables(1, 2, 3), "2")
BUILD = "CREATE INDEX CONCURRENTLY ON big (a)"
FILLED = "CREATE TABLE big (a int); INSERT INTO big SELECT generate_series(1, 300000)"
pytestmark = pytest.mark.anyio


@pytest.fixture
async def worker(database: Database) -> AsyncIterator[Worker]:
    async with worker_on(database) as one:
        yield one


async def panorama(worker: Worker) -> Panorama:
    found = await panorama_of(worker.session, await worker.look())
    assert found is not None
    return found


async def test_there_is_none_before_there_is_a_control_schema(worker: Worker) -> None:
    assert await panorama_of(worker.session, await worker.look()) is None


async def test_bundles_are_told_newest_first_with_what_their_jobs_came_to(worker: Worker) -> None:
    await worker.up(ONE)
    await worker.publish(bundle_of(tables(1, 2) | {3: "SELECT 1/0"}, "broken"))
    with pytest.raises(MigrationFailedError):
        await worker.up()
    broken, first = (await panorama(worker)).bundles
    assert (broken.label, broken.wanted, broken.state, broken.migrations) == ("broken", True, JobState.FAILED, 3)
    told = (first.label, first.wanted, first.state, first.applied, first.attempts, first.worker, first.migrations)
    assert told == ("1", False, JobState.SUCCEEDED, 2, 1, "worker-1", 2)
    assert first.started_at is not None
    assert first.finished_at is not None
    assert first.published_at < first.started_at < first.finished_at


async def test_the_one_wanted_bundle_is_the_one_that_deciding_finds(worker: Worker) -> None:
    await worker.up(ONE)
    await worker.publish(TWO)
    await worker.publish(ONE)
    view, seen = await worker.look(), await panorama(worker)
    assert view.wanted is not None
    assert [bundle.label for bundle in seen.bundles if bundle.wanted] == [view.wanted.published.label] == ["1"]


async def test_steps_are_the_history_newest_first(worker: Worker) -> None:
    await worker.up(ONE)
    steps = (await panorama(worker)).steps
    assert [(step.version, step.action, step.name, step.bundle, step.worker) for step in steps] == [
        (2, "up", "m2", "1", "worker-1"),
        (1, "up", "m1", "1", "worker-1"),
    ]
    assert all(step.duration_ms > 0 and step.role == "postgres" for step in steps)


async def test_the_lists_have_an_end(worker: Worker) -> None:
    await worker.up(bundle_of(tables(*range(1, 41)), "many"))
    for number in range(25):
        await worker.publish(bundle_of(tables(*range(1, 42 + number)), f"b{number}"))
    seen = await panorama(worker)
    assert [len(seen.steps), len(seen.bundles)] == [30, 20]
    assert seen.bundles[0].label == "b24"


async def test_other_copies_are_told_by_their_sessions_and_so_is_the_holder(database: Database, worker: Worker) -> None:
    await worker.up(ONE)
    named = {"tidegate listen worker-2": Part.WORKER, "tidegate gate api-1": Part.GATE}
    others = [await database.connect(server_settings={"application_name": name}) for name in (*named, "psql")]
    assert (await panorama(worker)).lock is None
    async with worker_on(database, name="worker-3") as other:
        view = await other.look()
        async with hold(other.session, Keys.of_target(view.survey.target, view.survey.database), 5):
            seen = await panorama(worker)
            pid = other.session.conn.get_server_pid()
    for connection in others:
        await connection.close()
    assert {peer.name: peer.part for peer in seen.peers} | {"api-1": Part.GATE, "worker-2": Part.WORKER} == {
        peer.name: peer.part for peer in seen.peers
    }
    assert {"api-1", "worker-2"} < {peer.name for peer in seen.peers}
    assert seen.lock is not None
    assert (seen.lock.role, seen.lock.application, seen.lock.pid) == ("postgres", "tidegate worker-3", pid)


async def test_a_role_that_may_not_read_it_has_none_and_the_rest_of_the_status(
    database: Database, worker: Worker
) -> None:
    await worker.up(ONE)
    database.psql(
        "CREATE ROLE watcher LOGIN PASSWORD 'watch'; GRANT USAGE ON SCHEMA tidegate TO watcher;"
        "GRANT SELECT ON ALL TABLES IN SCHEMA tidegate TO watcher; REVOKE SELECT ON tidegate.history FROM watcher;"
        "GRANT SELECT ON schema_migrations TO watcher"
    )
    try:
        dsn = database.server.dsn(database.name, user="watcher", password="watch")  # noqa: S106  of this test
        async with worker_on(database, dsn=dsn) as other:
            view = await other.look()
            assert await panorama_of(other.session, view) is None
            assert target_status(view).applied == 2
    finally:
        database.psql("DROP OWNED BY watcher; DROP ROLE watcher")


async def test_what_is_pending_has_its_names(worker: Worker) -> None:
    await worker.up(ONE)
    await worker.publish(TWO)
    assert target_status(await worker.look()).upcoming == ((3, "m3"),)


async def test_a_refusal_comes_with_what_to_do(worker: Worker) -> None:
    await worker.up(ONE)
    await worker.publish(bundle_of(tables(1, 2) | {3: "SELECT 1/0"}, "broken"))
    with pytest.raises(MigrationFailedError) as failed:
        await worker.up()
    status = target_status(await worker.look())
    assert status.state is JobState.FAILED
    assert (status.hint or "") == failed.value.hint
    assert status.refusal is None


class Sighted:
    """The first sighting of a build that waits for somebody and is counted."""

    def __init__(self) -> None:
        self.waits_and_counts = anyio.Event()
        self.one: Sighting | None = None

    def __call__(self, sighting: Sighting) -> None:
        if sighting.ahead and sighting.progress and self.one is None:
            self.one = sighting
            self.waits_and_counts.set()


async def test_an_index_build_is_seen_with_its_progress_and_whom_it_waits_for(
    database: Database, worker: Worker
) -> None:
    await worker.up(bundle_of({1: FILLED}, "1"))
    seen = Sighted()
    worker.session = replace(worker.session, sighted=seen)
    await worker.publish(bundle_of({1: FILLED, 2: BUILD}, "2"))
    reader = await database.connect(server_settings={"application_name": "report"})
    await reader.execute("BEGIN; SELECT count(*) FROM big; INSERT INTO big VALUES (0)")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.up)
        with anyio.fail_after(20):
            await seen.waits_and_counts.wait()
        await reader.execute("COMMIT")
    await reader.close()

    sighting = seen.one
    assert sighting is not None
    assert sighting.version == 2
    assert sighting.ahead is not None
    assert (sighting.ahead.application, sighting.ahead.state) == ("report", "idle in transaction")
    assert 0 <= (sighting.ahead.query_seconds or -1) < 20
    assert sighting.progress is not None
    told = (sighting.progress.command, sighting.progress.phase, sighting.progress.unit)
    assert told == ("CREATE INDEX CONCURRENTLY", "waiting for writers before build", "lockers")
    assert (sighting.progress.done, sighting.progress.total) == (0, 1)
