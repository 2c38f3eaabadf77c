"""A look that finds nothing to do is right: whatever somebody changed, a plan is empty then."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import combinations
from random import Random

import pytest

from tests.fixtures.servers import Database
from tests.fixtures.sites import SITE, Worker, bundle_of, tables, worker_on
from worker.core.planning.plan import UpToDate
from worker.core.planning.planner import plan
from worker.core.planning.reconcile import Action, Insistence
from worker.jobs.decide import decide_early
from worker.jobs.look import View, glance, look, order_of
from worker.jobs.site import LATEST, Request

BUNDLE = bundle_of(tables(1, 2, 10), "1.0", "serves = 1")
UP = Request(Insistence.COMMAND, LATEST, BUNDLE)
_OURS = "target = 'public.schema_migrations'"
_CHANGES = {
    "a version is not applied": "DELETE FROM tidegate.ledger WHERE version = 2",
    "none is": f"DELETE FROM tidegate.ledger WHERE {_OURS}",
    "one more is": "INSERT INTO tidegate.ledger SELECT target, 11, 'm11', checksum, bundle, origin, mode, applied_at, "
    f"applied_by, worker, duration_ms, epoch FROM tidegate.ledger WHERE version = 10 AND {_OURS}",
    "a file was another": "UPDATE tidegate.ledger SET checksum = repeat('0', 64) WHERE version = 2",
    "a file is not known": "UPDATE tidegate.ledger SET checksum = NULL WHERE version = 2",
    "a name was another": "UPDATE tidegate.ledger SET name = 'm3' WHERE version = 2",
    "a version is in another's place": f"UPDATE tidegate.ledger SET version = 3 WHERE version = 2 AND {_OURS}",
    "the version table is dirty": "UPDATE schema_migrations SET dirty = true",
    "it is behind": "UPDATE schema_migrations SET version = 2",
    "it is empty": "DELETE FROM schema_migrations",
    "a migration is half done": "INSERT INTO tidegate.journal "
    "(target, version, direction, segment, digest, state, epoch) "
    "VALUES ('public.schema_migrations', 10, 'up', 0, 'd', 'intent', 1)",
    "a name is empty": f"UPDATE tidegate.ledger SET name = '' WHERE version = 2 AND {_OURS}",
    "the row lacks a version": "UPDATE tidegate.readiness SET versions = '{1,2}'",
    "the row says another": "UPDATE tidegate.readiness SET versions = '{1,3,10}'",
    "the row is of another bundle": "UPDATE tidegate.readiness SET bundle = '0.9'",
    "the row is of another database": "UPDATE tidegate.readiness SET database_oid = 1",
    "something is pending by the row": "UPDATE tidegate.readiness SET lowest_pending = 11",
    "there is no row": "DELETE FROM tidegate.readiness",
    "the target is pinned": "UPDATE tidegate.fence SET pinned = 'down 1', pinned_at = now()",
    "the target is paused": "UPDATE tidegate.target SET paused_at = now(), paused_by = 'me'",
    "the job failed": "UPDATE tidegate.job SET state = 'failed'",
    "there is no job": "DELETE FROM tidegate.job",
    "nothing is wanted": "UPDATE tidegate.bundle SET withdrawn_at = now()",
    "the bundle lacks a file": "UPDATE tidegate.bundle SET names = names[3:], checksums = checksums[3:]",
    "the bundle has another file": "UPDATE tidegate.bundle SET checksums[2] = repeat('0', 64)",
    "the bundle's array holds a null": "UPDATE tidegate.bundle SET names[2] = NULL",
    "the bundle has no files": "UPDATE tidegate.bundle SET names = '{}', checksums = '{}'",
    "the bundle has arrays of arrays": "UPDATE tidegate.bundle SET names = ARRAY[names], checksums = ARRAY[checksums]",
    "the bundle requires less": "UPDATE tidegate.bundle SET required = '{1}'",
    "the bundle serves less": "UPDATE tidegate.bundle SET serves = 2",
    "the bundle is of another digest": "UPDATE tidegate.bundle SET digest = repeat('0', 64)",
}

# The ledger may have another name and no checksum, a command asks no pause, and nothing is pending that is required.
_HARMLESS = {
    "a file is not known",
    "a name is empty",
    "a name was another",
    "the bundle requires less",
    "the target is paused",
}


@pytest.fixture
async def worker(database: Database) -> AsyncIterator[Worker]:
    """A worker at a target where the bundle is applied."""
    async with worker_on(database) as one:
        await one.up(BUNDLE)
        yield one


@asynccontextmanager
async def _changed(worker: Worker, *changes: str) -> AsyncIterator[None]:
    """The target with what nobody's program would write, until the block ends."""
    conn = worker.session.conn
    transaction = conn.transaction()
    await transaction.start()
    try:
        await conn.execute("SET LOCAL session_replication_role = replica; SET LOCAL search_path = public")
        for change in changes:
            await conn.execute(change)
        await conn.execute("SET LOCAL search_path = pg_catalog, pg_temp")
        yield
    finally:
        await transaction.rollback()


def _finds_nothing(view: View) -> bool:
    decision = decide_early(SITE, UP, view, BUNDLE)
    return decision is not None and decision.action is Action.NOTHING


async def _seen_with(worker: Worker, *changes: str) -> View:
    view = await look(worker.session, SITE, BUNDLE)
    async with _changed(worker, *(_CHANGES[change] for change in changes)):
        seen = await glance(worker.session, worker.site, view)
    assert seen is not None
    return seen


async def test_without_a_change_there_is_nothing_to_do(worker: Worker) -> None:
    assert _finds_nothing(await _seen_with(worker))


@pytest.mark.parametrize("change", sorted(_CHANGES.keys() - _HARMLESS))
async def test_a_change_that_matters_is_found_at_the_first_look(worker: Worker, change: str) -> None:
    assert not _finds_nothing(await _seen_with(worker, change))


async def test_where_nothing_is_to_be_done_a_plan_of_the_whole_is_empty(worker: Worker) -> None:
    some = Random(1).sample(list(combinations(_CHANGES, 2)), 80)  # noqa: S311  the same ones each time
    for changes in ((), *combinations(_CHANGES, 1), *some):
        seen = await _seen_with(worker, *changes)
        if _finds_nothing(seen):
            decided = plan(BUNDLE, seen.observation.observed, order_of(SITE, BUNDLE), LATEST)
            assert decided == UpToDate(), changes
