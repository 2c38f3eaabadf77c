"""Ten workers wait for the lock of one that builds an index concurrently: none of them is in its way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from tests.fixtures.cuts import SNAPSHOT
from tests.fixtures.processes import StartTidegate
from tests.fixtures.scenes import Manner, facts, nothing_is_left, source, up
from tests.fixtures.servers import Database
from tests.fixtures.workers import complaints, eventually, finish, migrations_in, tables

WAITING = 10
BUILDS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event = 'virtualxid'
"""


@contextmanager
def an_older_snapshot(database: Database) -> Iterator[Callable[[], object]]:
    """What a concurrent build waits for at its end; yields what ends it."""
    with start_blocking_portal() as portal:
        old = portal.call(database.connect)
        portal.call(old.execute, SNAPSHOT)
        try:
            yield lambda: portal.call(old.execute, "COMMIT")
        finally:
            portal.call(old.close)


def test_ten_workers_that_wait_for_a_concurrent_build_let_it_end_and_it_is_built_once(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    up(database, migrations_in(tmp_path, tables(1)))
    folder = source(tmp_path, Manner.JOURNALLED)
    with an_older_snapshot(database) as end_it:
        first = tidegate("up", "--source", folder, env={"DB_URL": database.dsn})
        eventually(lambda: database.psql(BUILDS) == "1", "the build waits for an older snapshot")
        others = [tidegate("up", "--source", folder, env={"DB_URL": database.dsn}) for _ in range(WAITING)]
        for process in others:
            process.wait_for_event("lock.waiting", 60, ours=True)
        index = database.psql("SELECT 't2_a'::regclass::oid")

        end_it()

        for process in (first, *others):
            finish(process)
            assert complaints(process) == []
            assert {event["event"] for event in process.events}.isdisjoint({"migration.retried", "segment.recovered"})
    # The very index that was being built: nobody has built another one.
    assert database.psql("SELECT 't2_a'::regclass::oid") == index
    facts(database).are_whole()
    nothing_is_left(database)
