"""Each program keeps the other out, in both directions and both forms of its key, and nobody hangs."""

import pytest

from tests.fixtures.golang_migrate import Barrier, Both, behind_the_barrier, connection_key, url_key, waiting_for
from tests.fixtures.workers import eventually, finish, migrations_in


def slow_second(both: Both) -> None:
    """The second migration waits for the barrier."""
    migrations_in(both.source, {2: behind_the_barrier(2)})


async def test_we_wait_for_it_and_name_it(both: Both, barrier: Barrier) -> None:
    slow_second(both)
    theirs = both.start_theirs("up")
    backend = barrier.reached_by()

    ours = both.start_ours("up")
    holder = ours.wait_for_event("lock.waiting")
    assert (holder["holder_pid"], holder["holder_role"], holder["ours"]) == (backend, "postgres", False)
    assert both.row() == "2|t"
    await barrier.lift()

    finish(theirs)
    assert "0 migrations run, 5 adopted" in finish(ours)
    assert both.row() == "5|f"


async def test_it_waits_for_us(both: Both, barrier: Barrier) -> None:
    slow_second(both)
    ours = both.start_ours("up")
    barrier.reached_by()

    theirs = both.start_theirs("up")
    waiting_for(both.database, url_key(both.database))
    assert both.row() == "1|f"
    await barrier.lift()

    assert "5 migrations run" in finish(ours)
    finish(theirs)
    assert "no change" in theirs.stderr


@pytest.mark.parametrize("form", ["url", "connection"])
async def test_both_forms_of_its_key_keep_us_out(both: Both, form: str) -> None:
    key = (url_key if form == "url" else connection_key)(both.database)
    holder = await both.database.connect(server_settings={"application_name": "an api that migrates at start"})
    await holder.execute(f"SELECT pg_advisory_lock({key})")

    said = both.ours("up", "--advisory-timeout", "300ms", code=4)
    assert "application an api that migrates at start" in said
    assert f"backend {holder.get_server_pid()}" in said
    assert both.there() == []

    ours = both.start_ours("up")
    assert ours.wait_for_event("lock.waiting")["holder_pid"] == holder.get_server_pid()
    await holder.close()
    assert "5 migrations run" in finish(ours)


async def test_we_hold_both_forms_of_its_key_while_a_migration_runs(both: Both, barrier: Barrier) -> None:
    slow_second(both)
    ours = both.start_ours("up")
    barrier.reached_by()

    tried = [
        await barrier.connection.fetchval(f"SELECT pg_try_advisory_lock({key})")
        for key in (url_key(both.database), connection_key(both.database))
    ]
    await barrier.lift()
    finish(ours)

    assert tried == [False, False]


async def test_its_blocked_waiter_does_not_hang_our_concurrent_index(both: Both, barrier: Barrier) -> None:
    slow_second(both)
    migrations_in(both.source, {3: "CREATE INDEX CONCURRENTLY i3 ON t1 (a)", 4: behind_the_barrier(4)})
    snapshot = await both.database.connect()
    ours = both.start_ours("up")
    barrier.reached_by()
    theirs = both.start_theirs("up")
    waiting_for(both.database, url_key(both.database))

    # An open snapshot keeps the index from being ready, so that the other program looks while it is being built.
    await snapshot.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await snapshot.fetchval("SELECT count(*) FROM t1")
    await barrier.lift()
    finish(theirs, 1)
    assert "Dirty database version 3" in theirs.stderr
    assert ours.exit_code is None
    await snapshot.execute("ROLLBACK")
    await snapshot.close()

    assert "5 migrations run" in finish(ours)
    assert both.database.psql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'i3'::regclass") == "t"
    assert "no change" in both.theirs("up")


async def test_many_blocked_waiters_do_not_hang_it_either(both: Both, barrier: Barrier) -> None:
    slow_second(both)
    migrations_in(both.source, {3: "CREATE INDEX CONCURRENTLY i3 ON t1 (a)"})
    ours = both.start_ours("up")
    barrier.reached_by()
    waiters = [both.start_theirs("up") for _ in range(4)]
    key = url_key(both.database)
    count = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND objid = {key}"
    eventually(lambda: both.database.psql(count) == "4", "four wait")
    await barrier.lift()

    assert "5 migrations run" in finish(ours)
    for waiter in waiters:
        assert waiter.wait() in {0, 1}, waiter.report()
        assert "no change" in waiter.stderr or "Dirty database version 3" in waiter.stderr, waiter.report()
    assert both.database.psql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'i3'::regclass") == "t"
    assert "no change" in both.theirs("up")


async def test_one_that_was_killed_is_waited_for_and_its_dirt_explained(both: Both, barrier: Barrier) -> None:
    slow_second(both)
    theirs = both.start_theirs("up")
    backend = barrier.reached_by()
    theirs.kill()
    theirs.wait()

    ours = both.start_ours("up")
    assert ours.wait_for_event("lock.waiting")["holder_pid"] == backend
    assert both.row() == "2|t"
    await barrier.lift()
    finish(ours, 3)
    assert "the version table is dirty at version 2: a run of golang-migrate failed there" in ours.stderr

    # The server went on without its client, and committed the body: version 2 is complete.
    assert both.there() == ["t1", "t2"]
    both.ours("force", 2)
    both.ours("resume")
    assert "3 migrations run" in both.ours("up")
