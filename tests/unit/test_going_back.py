"""Going back with a bundle that lacks what is to be undone: who lends it, and what the plan makes of that."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.plans import a_bundle, applied, entry, golang, half_down, steps
from worker.core.bundles.bundle import OrderPolicy
from worker.core.bundles.wanted import Published
from worker.core.planning.lender import lenders
from worker.core.planning.plan import (
    Back,
    Borrowed,
    Entry,
    Goal,
    Latest,
    Next,
    Observed,
    Pending,
    Refused,
    To,
    VersionRow,
)
from worker.core.planning.planner import lacking, plan

THREE = a_bundle(1, 2, 3)
FIVE = a_bundle(1, 2, 3, 4, 5)


def lent(*versions: int) -> dict[int, Borrowed]:
    return {version: Borrowed(a_bundle(version).migrations[0], "5.0") for version in versions}


def a_published(number: int, *versions: int, label: str | None = None, withdrawn: bool = False) -> Published:
    sums = a_bundle(*versions).checksums
    return Published(number, label or f"{number}.0", f"{number:064}", number, withdrawn, sums)


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        (Back(1), ["down 5"]),
        (Back(3), ["down 5", "down 4", "down 3"]),
        (Back(None), ["down 5", "down 4", "down 3", "down 2", "down 1"]),
        (To(4), ["down 5"]),
        (To(2), ["down 5", "down 4", "down 3"]),
    ],
)
def test_what_the_bundle_lacks_is_undone_with_what_is_lent(goal: Goal, expected: list[str]) -> None:
    decided = plan(THREE, applied(1, 2, 3, 4, 5), OrderPolicy.ERROR, goal, lent(4, 5))
    assert isinstance(decided, Pending)
    assert steps(decided.effects) == expected
    assert {run.migration.version: run.lender for run in decided.runs if run.lender} == {
        version: "5.0" for version in decided.undone if version > 3
    }


def test_what_the_bundle_has_is_not_borrowed() -> None:
    decided = plan(FIVE, applied(1, 2, 3, 4, 5), OrderPolicy.ERROR, Back(2), lent(4, 5))
    assert isinstance(decided, Pending)
    assert [run.lender for run in decided.runs] == [None, None]


def test_a_version_is_the_goal_where_the_ledger_alone_knows_it() -> None:
    decided = plan(THREE, applied(1, 2, 3, 4, 5), OrderPolicy.ERROR, To(4), lent(5))
    assert isinstance(decided, Pending)
    assert steps(decided.effects) == ["down 5"]
    unknown = plan(THREE, applied(1, 2, 3, 5), OrderPolicy.ERROR, To(4), lent(5))
    assert isinstance(unknown, Refused)
    assert unknown.reason == "no_version"


def test_a_half_undone_migration_that_was_lent_is_resumed() -> None:
    observed = applied(1, 2, 3, 4, half_done=half_down(4))
    decided = plan(THREE, observed, OrderPolicy.ERROR, Back(1), lent(4))
    assert isinstance(decided, Pending)
    assert steps(decided.effects) == ["again down 4"]


def test_nothing_lent_is_applied() -> None:
    assert isinstance(plan(THREE, applied(1, 2), OrderPolicy.ERROR, To(4), lent(4)), Refused)


@pytest.mark.parametrize(
    ("observed", "goal", "expected"),
    [
        (applied(1, 2, 3, 4, 5), Back(1), (5,)),
        (applied(1, 2, 3, 4, 5), Back(3), (4, 5)),
        (applied(1, 2, 3, 4, 5), To(4), (5,)),
        (applied(1, 2, 3), Back(2), ()),
        (applied(1, 2, 3, 4, 5), Latest(), ()),
        (applied(1, 2, 3, 4, 5), Next(1), ()),
        # What another program did since is recorded first, and can then be undone.
        (golang(4, ledger=(1, 2, 3)), Back(1), (4,)),
        (golang(2, ledger=(1, 2, 3, 4)), Back(1), ()),
    ],
)
def test_what_is_lacking_is_what_would_be_undone_and_the_bundle_does_not_have(
    observed: Observed, goal: Goal, expected: tuple[int, ...]
) -> None:
    assert tuple(one.version for one in lacking(THREE, observed, goal)) == expected


@given(st.frozensets(st.integers(1, 9), min_size=1), st.frozensets(st.integers(1, 9)), st.integers(1, 9))
def test_lending_what_is_lacking_always_makes_the_way_back_whole(
    known: frozenset[int], more: frozenset[int], count: int
) -> None:
    bundle, observed = a_bundle(*known), applied(*known, *more)
    missing = lacking(bundle, observed, Back(count))
    decided = plan(bundle, observed, OrderPolicy.ERROR, Back(count), lent(*(one.version for one in missing)))
    assert isinstance(decided, Pending)
    assert list(decided.undone) == sorted(observed.versions, reverse=True)[:count]


def test_what_another_program_applied_and_nobody_has_is_refused_with_both_ways_out() -> None:
    observed = Observed((*applied(1, 2, 3).ledger, Entry(7, "", None)), VersionRow(7, dirty=False))
    why = plan(THREE, observed, OrderPolicy.ERROR, Back(1))
    assert isinstance(why, Refused)
    assert (why.reason, why.message) == (
        "no_down",
        "version 7 was applied by another program, and no bundle here or published has it",
    )
    assert "--source" in why.hint
    assert "migrate goto 3" in why.hint
    assert "tidegate admin adopt" in why.hint


def test_the_bundle_that_the_ledger_names_lends_first() -> None:
    bundles = [a_published(1, 1, 2, 3), a_published(2, 1, 2, 3, 4), a_published(3, 1, 2, 3, 4, 5)]
    assert lenders(entry(3), "2.0", bundles)[0] == bundles[1]


def test_the_newest_that_fits_lends_where_the_ledger_names_none_that_does() -> None:
    bundles = [a_published(1, 1, 4), a_published(2, 1, 4, 5), a_published(3, 1)]
    assert lenders(entry(4), "gone", bundles)[0] == bundles[1]
    assert lenders(entry(4), "3.0", bundles)[0] == bundles[1]


def test_a_withdrawn_bundle_lends() -> None:
    withdrawn = a_published(2, 1, 4, withdrawn=True)
    assert lenders(entry(4), "2.0", [a_published(1, 1), withdrawn])[0] == withdrawn


def test_a_file_that_is_not_the_one_applied_lends_nothing() -> None:
    changed = replace(entry(4), checksum="0" * 64)
    bundles = [a_published(1, 1, 4), a_published(2, 4)]
    assert lenders(changed, "1.0", bundles) == []


def test_any_file_fits_where_no_checksum_is_recorded() -> None:
    adopted = Entry(4, "", None)
    assert lenders(adopted, "1.0", [a_published(1, 1), a_published(2, 1, 4)])[0] == a_published(2, 1, 4)
