"""Which migrations share a transaction: nothing is lost or moved, and only what fits is in a batch."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.plans import a_bundle
from worker.core.bundles.migration import Direction, Directives, Gate, Migration, Side, Transaction
from worker.core.planning.batch import MOST_CHARACTERS, batches, is_joining, joining, leading
from worker.core.planning.plan import Adopt, Effect, Entry, Progress, Run
from worker.core.sql.script import read_script

ADOPT = Adopt((Entry(1, "a", None),))


def migration(version: int, sql: str = "SELECT 1", directives: Directives | None = None) -> Migration:
    return Migration(version, "m", Side(f"{version}_m.up.sql", sql, "0" * 64, directives or Directives()), None)


def up(version: int, sql: str = "SELECT 1") -> Run:
    return Run(migration(version, sql), Direction.UP)


effects = st.lists(st.one_of(st.just(ADOPT), st.integers(1, 20).map(up)), max_size=20)


@given(effects, st.integers(1, 5), st.sets(st.integers(1, 20)))
def test_batches_are_the_effects_in_order_and_hold_what_joins_alone(
    given_effects: list[Effect], most: int, joining: set[int]
) -> None:
    cut = list(batches(given_effects, most, lambda run: run.migration.version in joining))

    assert [effect for batch in cut for effect in batch] == given_effects
    for batch in cut:
        assert 1 <= len(batch) <= most
        if len(batch) > 1:
            assert all(isinstance(effect, Run) and effect.migration.version in joining for effect in batch)


@given(effects, st.integers(2, 5))
def test_a_batch_ends_only_where_it_must(given_effects: list[Effect], most: int) -> None:
    cut = list(batches(given_effects, most, lambda run: run.migration.version % 3 > 0))

    for one, other in pairwise(cut):
        both = (*one, *other)
        fits = all(isinstance(effect, Run) and effect.migration.version % 3 > 0 for effect in both)
        assert not fits or len(one) == most


@given(effects, st.integers(0, 19), st.integers(1, 5))
def test_what_leads_from_a_place_on_is_never_nothing_and_never_more_than_was_said(
    given_effects: list[Effect], place: int, most: int
) -> None:
    led = leading(given_effects, place, most, lambda run: run.migration.version % 3 > 0)

    assert list(led) == given_effects[place : place + len(led)]
    assert len(led) <= most
    assert bool(led) is (place < len(given_effects))


def test_what_goes_together_has_only_so_many_characters_in_all() -> None:
    assert joining([up(1, "12345"), up(2, "12345"), up(3, "1")], lambda _: True, 10) == 2
    assert joining([up(1, "12345678901")], lambda _: True, 10) == 0
    assert joining([up(1), ADOPT, up(2)], lambda _: True, 1000) == 1


def test_without_batches_no_file_is_read_for_them() -> None:
    def unread(_: Run) -> bool:
        raise AssertionError("it was read")

    assert list(batches([up(1), up(2)], 1, unread)) == [(up(1),), (up(2),)]


def test_a_batch_ends_before_its_message_grows_too_large() -> None:
    large = "SELECT 1 -- " + "x" * (MOST_CHARACTERS // 2)

    cut = batches([up(1, large), up(2), up(3, large), up(4)], 100, lambda _: True)

    assert [[run.migration.version for run in batch if isinstance(run, Run)] for batch in cut] == [[1, 2], [3, 4]]


def joins(run: Run, sql: str | None = None) -> bool:
    up_side = run.migration.up
    text = sql if sql is not None else "" if up_side is None else up_side.sql
    directives = Directives() if up_side is None else up_side.directives
    return is_joining(run, read_script(text, directives))


def test_what_needs_a_transaction_of_its_own_joins_none() -> None:
    assert joins(up(1))
    assert joins(up(1, "-- nothing but a comment"))
    assert joins(up(1, "BEGIN; SELECT 1; COMMIT"))
    assert not joins(up(1, "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1; COMMIT"))
    assert not joins(up(1, "CREATE INDEX CONCURRENTLY i ON t (a)"))
    assert not joins(up(1, "SELECT 1; COMMIT; SELECT 2"))
    assert not joins(up(1, "Set\n Constraints ALL DEFERRED; SELECT 1"))
    assert not joins(Run(migration(1), Direction.DOWN), "SELECT 1")
    assert not joins(replace(up(1), resume=Progress(1, Direction.UP, ())))


def test_what_says_how_it_is_run_joins_no_batch() -> None:
    for said in (
        Directives(transaction=Transaction.OFF),
        Directives(gate=Gate.OFF),
        Directives(lock_timeout_ms=0),
        Directives(statement_timeout_ms=1),
        Directives(block_budget_ms=0),
    ):
        assert not joins(Run(migration(1, "SELECT 1", said), Direction.UP))


def test_a_version_without_an_up_file_joins_a_batch() -> None:
    (first, *_) = a_bundle(1).migrations

    assert joins(Run(replace(first, up=None), Direction.UP))
