"""The gate's one rule: every verdict, and what must hold whatever the row says."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.statuses import ELSEWHERE, HERE, a_row
from worker.core.bundles.migration import Directives, Gate, Migration, Side
from worker.core.planning.readiness import (
    AtLeast,
    NotReady,
    OfBundle,
    OfDirectory,
    Readiness,
    Ready,
    Requirement,
    VersionTable,
    Why,
    judge,
    required_versions,
    served_bundles,
)

LABELS = ("1.3.0", "1.4.0", "1.5.0")
version_numbers = st.integers(0, 8)
version_sets = st.frozensets(version_numbers).map(lambda numbers: tuple(sorted(numbers)))
requirements: st.SearchStrategy[Requirement] = st.one_of(
    version_numbers.map(AtLeast),
    st.sampled_from(LABELS).map(OfBundle),
    version_sets.map(lambda numbers: OfDirectory(numbers, "./migrations")),
)
rows = st.builds(
    Readiness,
    bundle=st.none() | st.sampled_from(LABELS),
    versions=version_sets,
    lowest_pending=st.none() | version_numbers,
    deferred=version_sets,
    bundles=st.frozensets(st.sampled_from(LABELS)).map(lambda labels: tuple(sorted(labels))),
    serves=st.none() | version_numbers,
    version_table=st.sampled_from(VersionTable),
    identity=st.sampled_from((HERE, ELSEWHERE)),
    epoch=st.integers(1, 9),
)
clean_rows = rows.map(lambda row: replace(row, version_table=VersionTable.CLEAN, identity=HERE))


@given(requirements, st.none() | rows)
def test_every_requirement_gets_a_verdict_and_every_no_has_a_one_line_message(
    requirement: Requirement, row: Readiness | None
) -> None:
    verdict = judge(requirement, row, HERE)
    if isinstance(verdict, NotReady):
        assert verdict.message
        assert "\n" not in verdict.message
    else:
        assert verdict == Ready()


@given(requirements, clean_rows, version_sets, st.frozensets(st.sampled_from(LABELS)))
def test_applying_more_never_closes_what_was_open(
    requirement: Requirement, row: Readiness, more: tuple[int, ...], labels: frozenset[str]
) -> None:
    if judge(requirement, row, HERE) == Ready():
        further = replace(
            row,
            versions=tuple(sorted({*row.versions, *more})),
            deferred=tuple(version for version in row.deferred if version not in more),
            bundles=tuple(sorted({*row.bundles, *labels})),
        )
        assert judge(requirement, further, HERE) == Ready()


@given(version_numbers, clean_rows, version_numbers)
def test_a_pending_version_at_or_below_the_required_one_is_never_ready(
    required: int, row: Readiness, pending: int
) -> None:
    verdict = judge(AtLeast(required), replace(row, lowest_pending=min(pending, required)), HERE)
    assert isinstance(verdict, NotReady)


@given(version_numbers, clean_rows, st.integers(1, 5))
def test_what_is_pending_above_the_required_version_changes_nothing(required: int, row: Readiness, above: int) -> None:
    alone = judge(AtLeast(required), replace(row, lowest_pending=None), HERE)
    assert judge(AtLeast(required), replace(row, lowest_pending=required + above), HERE) == alone


@given(requirements, rows)
def test_a_row_of_another_identity_is_never_ready(requirement: Requirement, row: Readiness) -> None:
    verdict = judge(requirement, replace(row, identity=ELSEWHERE), HERE)
    assert isinstance(verdict, NotReady)
    assert verdict.why is Why.IDENTITY


@given(requirements, rows, st.sampled_from((VersionTable.DIRTY, VersionTable.DIVERGED)))
def test_a_version_table_that_is_not_clean_is_never_ready(
    requirement: Requirement, row: Readiness, table: VersionTable
) -> None:
    assert isinstance(judge(requirement, replace(row, version_table=table), HERE), NotReady)


@pytest.mark.parametrize(
    ("requirement", "row", "why"),
    [
        (AtLeast(3), None, Why.NO_ROW),
        (AtLeast(3), a_row(identity=ELSEWHERE), Why.IDENTITY),
        (AtLeast(3), a_row(version_table=VersionTable.DIRTY), Why.VERSION_TABLE),
        (AtLeast(3), a_row(version_table=VersionTable.DIVERGED), Why.VERSION_TABLE),
        (AtLeast(3), a_row(), None),
        (AtLeast(4), a_row(), Why.NOT_APPLIED),
        (AtLeast(2), a_row(serves=3), Why.NOT_SERVED),
        (AtLeast(3), a_row(serves=3), None),
        (AtLeast(3), a_row(versions=(1, 3), lowest_pending=2), Why.PENDING),
        (AtLeast(3), a_row(lowest_pending=4), None),
        (AtLeast(4), a_row(deferred=(4,)), None),
        (OfBundle("1.4.0"), a_row(), None),
        (OfBundle("1.5.0"), a_row(), Why.NOT_APPLIED),
        (OfDirectory((1, 3), "./m"), a_row(), None),
        (OfDirectory((1, 4), "./m"), a_row(), Why.NOT_APPLIED),
        (OfDirectory((1, 2), "./m"), a_row(serves=3), Why.NOT_SERVED),
        (OfDirectory((), "./m"), a_row(serves=3), None),
    ],
)
def test_a_requirement_is_judged_by_the_row(requirement: Requirement, row: Readiness | None, why: Why | None) -> None:
    verdict = judge(requirement, row, HERE)
    assert (verdict.why if isinstance(verdict, NotReady) else None) is why


def test_a_requirement_says_what_it_is() -> None:
    assert str(AtLeast(3)) == "version 3"
    assert str(OfBundle("1.4.0")) == "bundle 1.4.0"
    assert str(OfDirectory((1,), "./m")) == "the migrations of ./m"


def test_the_gate_does_not_wait_for_a_migration_that_opted_out_but_for_one_without_an_up_side() -> None:
    index = Side("2_index.up.sql", "", "", Directives(gate=Gate.OFF))
    table = Side("1_table.up.sql", "", "", Directives())
    migrations = (Migration(1, "table", table, None), Migration(2, "index", index, None), Migration(3, "x", None, None))
    assert required_versions(migrations) == (1, 3)


def test_a_bundle_is_served_when_all_of_it_is_applied_and_it_reaches_the_oldest_that_is_served() -> None:
    bundles = {"b": (1, 2), "a": (1,), "c": (1, 2, 3), "empty": ()}
    assert served_bundles(bundles, frozenset({1, 2}), None) == ("a", "b", "empty")
    assert served_bundles(bundles, frozenset({1, 2}), 2) == ("b", "empty")
