"""Taking the fingerprint of a catalogue: a job waits for it within a limit, and others' jobs are no drift in it."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import pytest

from tests.fixtures.cluster import PASSWORD
from tests.fixtures.jobs import until
from tests.fixtures.servers import Database
from tests.fixtures.sites import Worker, bundle_of, tables, worker_on
from worker.core.events.drift_events import FingerprintSkipped
from worker.core.status.drift import Drift, Unknown
from worker.jobs.drift import find_drift
from worker.postgres.queries import queries


@pytest.fixture
async def worker(database: Database) -> AsyncIterator[Worker]:
    """A worker that has taken a fingerprint."""
    async with worker_on(database) as worker:
        await worker.up(bundle_of(tables(1), "1.0"))
        yield worker


async def test_a_job_goes_on_without_a_fingerprint_where_the_role_may_not_write_it(
    worker: Worker, database: Database
) -> None:
    role = f"writer_{database.name}"
    everything = "ALL ON {0} IN SCHEMA tidegate, public TO {1}"
    database.psql(
        f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'; GRANT ALL ON SCHEMA tidegate, public TO {role};"
        + "".join(f"GRANT {everything.format(f'ALL {kind}', role)};" for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"))
        + f"REVOKE ALL ON tidegate.fingerprint, tidegate.fingerprint_object FROM {role}"
    )
    async with worker_on(database, dsn=database.dsn_as(role)) as other:
        report = await other.up(bundle_of(tables(1, 2), "2.0"))
        skipped = other.recorded.of(FingerprintSkipped)
    verdict = await find_drift(worker.session, await worker.look())
    database.psql(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert report.applied == (2,)
    assert "fingerprint" in skipped[-1].message
    assert isinstance(verdict, Unknown)


async def test_a_job_ends_without_a_fingerprint_where_another_one_takes_its_own_for_long(
    worker: Worker, database: Database
) -> None:
    other = await database.connect()
    await other.execute("BEGIN; LOCK TABLE tidegate.fingerprint IN SHARE ROW EXCLUSIVE MODE")
    began = time.monotonic()
    report = await worker.up(bundle_of(tables(1, 2), "2.0"))
    seconds = time.monotonic() - began
    await other.close()

    (skipped,) = worker.recorded.of(FingerprintSkipped)
    assert report.applied == (2,)
    assert "waited for a lock for too long while taking the catalogue's fingerprint" in skipped.message
    assert seconds < 15, "the session's own patience is 30 s"


async def test_what_another_job_commits_while_a_fingerprint_is_taken_is_no_drift(
    worker: Worker, database: Database
) -> None:
    in_the_way, watcher = await database.connect(), await database.connect()
    # One fingerprint is stopped in the middle: behind its look at the catalogue.
    await in_the_way.execute(
        "BEGIN; INSERT INTO tidegate.fingerprint_object (kind, name, parts) VALUES ('table', 'public.t2', '{}')"
    )
    site = replace(worker.site, table="others", line="others")
    async with worker_on(database, name="worker-2", site=site) as other, anyio.create_task_group() as tasks:
        tasks.start_soon(worker.up, bundle_of(tables(1, 2), "2.0"))
        await until(watcher, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid')")
        tasks.start_soon(other.up, bundle_of(tables(7), "7.0"))
        await until(watcher, "SELECT EXISTS (SELECT FROM tidegate.ledger WHERE version = 7)")
        await in_the_way.close()
    await watcher.close()

    verdict = await find_drift(worker.session, await worker.look())
    assert isinstance(verdict, Drift)
    assert (verdict.bundle, verdict.differences) == ("7.0", ())


async def test_objects_are_compared_only_where_a_row_of_the_catalogue_is_new_or_gone(
    worker: Worker, database: Database
) -> None:
    # By hand, so that whoever compares finds that the table is not what it was.
    await database.execute("UPDATE tidegate.fingerprint_object SET parts = '{}' WHERE kind = 'table'")
    quiet = await found(worker)
    for sql in ("INSERT INTO t1 VALUES (1)", "ANALYZE", "VACUUM (FREEZE)"):
        await database.execute(sql)
    after_data = await found(worker)
    await database.execute("CREATE TABLE t9 (a int)")
    after_change = await found(worker)
    assert (quiet, after_data) == ([], [])
    assert after_change == ["table public.t1", "table public.t9"]


async def test_what_was_under_way_while_a_fingerprint_was_taken_is_drift_once_it_is_committed(
    worker: Worker, database: Database
) -> None:
    other = await database.connect()
    await other.execute("BEGIN; CREATE TABLE t8 (a int)")
    await worker.up(bundle_of(tables(1, 2), "2.0"))
    before = await found(worker)
    await other.execute("COMMIT")
    await other.close()
    assert before == []
    assert await found(worker) == ["table public.t8"]


async def test_a_role_that_a_policy_names_is_looked_at_each_time(worker: Worker, database: Database) -> None:
    role = f"reader_{database.name}"
    database.psql(f"CREATE ROLE {role}")
    await worker.up(bundle_of({**tables(1), 2: f"CREATE POLICY theirs ON t1 TO {role} USING (true)"}, "2.0"))
    before = await found(worker)
    database.psql(f"ALTER ROLE {role} RENAME TO {role}_now")
    after = await found(worker)
    database.psql(f"DROP OWNED BY {role}_now; DROP ROLE {role}_now")
    assert before == []
    assert after == ["policy public.t1.theirs"]


async def test_on_another_server_no_row_is_known_to_be_older(worker: Worker, database: Database) -> None:
    await database.execute("ALTER TABLE t1 ADD COLUMN by_hand int")
    await database.execute(
        "UPDATE tidegate.fingerprint SET system_identifier = 1, horizon = pg_snapshot_xmax(pg_current_snapshot()), "
        "extent = extent + 1, taken_in = pg_current_xact_id()"
    )
    assert await found(worker) == ["column public.t1.by_hand"]


async def test_a_fingerprint_that_an_older_program_took_has_its_objects_compared(
    worker: Worker, database: Database
) -> None:
    await database.execute("DROP TABLE t1; CREATE TABLE t7 (id bigint PRIMARY KEY)")
    # It leaves the columns standing that it does not know; here they would say that nothing has changed since.
    forged = "horizon = pg_snapshot_xmax(pg_current_snapshot()), taken_in = '3', extent = "
    extent = queries("catalogue", "tidegate")["extent"]
    await database.execute(f"UPDATE tidegate.fingerprint SET {forged} (SELECT e.extent FROM ({extent}) AS e)")
    assert await found(worker) == ["table public.t1", "table public.t7"]
    await database.execute("UPDATE tidegate.fingerprint SET taken_in = pg_current_xact_id()")
    assert await found(worker) == []


async def found(worker: Worker) -> list[str]:
    """The objects that differ."""
    verdict = await find_drift(worker.session, await worker.look())
    assert isinstance(verdict, Drift), verdict
    return [str(difference.thing) for difference in verdict.differences]
