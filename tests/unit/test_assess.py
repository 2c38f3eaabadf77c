"""The readiness row that a target's state makes, and that the gate's rule reads it as it was meant."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.plans import applied, golang, half_down, half_up
from tests.fixtures.statuses import ELSEWHERE, HERE
from worker.core.planning.assess import Wanted, assess, kept, lasting_labels, version_table, wanted_elsewhere
from worker.core.planning.plan import Observed, VersionRow
from worker.core.planning.readiness import AtLeast, NotReady, OfBundle, Readiness, Ready, VersionTable, judge

WANTED = Wanted("1.4.0", (1, 2, 3, 4), frozenset({1, 2, 4}), None)
BUNDLES = {"1.3.0": (1, 2), "1.4.0": (1, 2, 4)}
version_sets = st.frozensets(st.integers(0, 8))


def row(observed: Observed, wanted: Wanted | None = WANTED) -> Readiness:
    return assess(wanted, BUNDLES, observed, HERE, epoch=4)


@st.composite
def wants(draw: st.DrawFn) -> Wanted:
    versions = draw(version_sets.filter(bool))
    return Wanted("1.4.0", tuple(sorted(versions)), versions & draw(version_sets), draw(st.none() | st.integers(0, 8)))


def test_the_row_tells_what_the_gate_waits_for_from_what_it_does_not() -> None:
    assert row(applied(1, 2)) == Readiness(
        bundle="1.4.0",
        versions=(1, 2),
        lowest_pending=4,
        deferred=(3,),
        bundles=("1.3.0",),
        serves=None,
        version_table=VersionTable.CLEAN,
        identity=HERE,
        epoch=4,
    )


def test_a_deferred_migration_keeps_no_gate_closed() -> None:
    stated = row(applied(1, 2, 4))
    assert (stated.lowest_pending, stated.deferred, stated.bundles) == (None, (3,), ("1.3.0", "1.4.0"))
    assert judge(AtLeast(4), stated, HERE) == Ready()


def test_with_nothing_wanted_nothing_is_pending() -> None:
    stated = row(applied(1, 2), wanted=None)
    assert (stated.bundle, stated.lowest_pending, stated.deferred, stated.serves) == (None, None, (), None)
    assert stated.bundles == ("1.3.0",)


def test_versions_that_the_bundle_does_not_have_are_stated_too() -> None:
    assert row(applied(1, 2, 3, 4, 9)).versions == (1, 2, 3, 4, 9)


def test_a_bundle_that_declares_older_ones_no_longer_served_takes_them_out() -> None:
    stated = row(applied(1, 2, 3, 4), replace(WANTED, serves=3))
    assert (stated.serves, stated.bundles) == (3, ("1.4.0",))


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        (applied(), VersionTable.CLEAN),
        (applied(1, 2), VersionTable.CLEAN),
        (golang(2, dirty=True, ledger=(1, 2)), VersionTable.DIRTY),
        (golang(3, ledger=(1, 2)), VersionTable.DIVERGED),
        (golang(1, ledger=(1, 2)), VersionTable.DIVERGED),
        (replace(applied(1), recorded=None), VersionTable.DIVERGED),
        (golang(1), VersionTable.DIVERGED),
        # The dirt of our own journal is accounted for, and no other.
        (applied(1, half_done=half_up(2)), VersionTable.CLEAN),
        (applied(1, 2, half_done=half_down(2)), VersionTable.CLEAN),
        (replace(applied(1, half_done=half_up(2)), recorded=VersionRow(3, dirty=True)), VersionTable.DIRTY),
        (replace(applied(1, half_done=half_up(2)), recorded=VersionRow(2, dirty=False)), VersionTable.DIVERGED),
    ],
)
def test_the_version_table_is_believed_where_it_agrees_with_the_ledger(
    observed: Observed, expected: VersionTable
) -> None:
    assert version_table(observed) is expected


@given(wants(), version_sets)
def test_applied_and_pending_versions_are_the_wanted_ones_and_never_both(wanted: Wanted, versions: set[int]) -> None:
    stated = row(applied(*versions), wanted)
    missing = set(wanted.versions) - versions
    assert set(stated.deferred) == missing - wanted.required
    assert stated.lowest_pending == min(missing & wanted.required, default=None)
    assert stated.versions == tuple(sorted(versions))


@given(wants(), version_sets, st.integers(0, 8))
def test_applying_a_version_never_takes_a_bundle_away(wanted: Wanted, versions: frozenset[int], more: int) -> None:
    before, later = row(applied(*versions), wanted), row(applied(*versions, more), wanted)
    assert set(before.bundles) <= set(later.bundles)


@given(wants(), version_sets)
def test_the_gate_opens_for_every_bundle_that_the_row_names_and_no_other(wanted: Wanted, versions: set[int]) -> None:
    stated = row(applied(*versions), wanted)
    for label, required in BUNDLES.items():
        verdict = judge(OfBundle(label), stated, HERE)
        served = wanted.serves is None or max(required) >= wanted.serves
        assert isinstance(verdict, NotReady) is not (versions.issuperset(required) and served)


FLEET = replace(WANTED, label="fleet-2")
"""What a fleet wants, whose home half knows its own labels and no other."""


def of_fleet(observed: Observed, wanted: Wanted = FLEET) -> Readiness:
    """The row as a fleet's job left it."""
    return assess(wanted, {"fleet-1": (1,), "fleet-2": (1, 2)}, observed, HERE, epoch=3)


def labels(observed: Observed, before: Readiness, wanted: Wanted | None = WANTED) -> tuple[str, ...]:
    return kept(row(observed, wanted), before, BUNDLES).bundles


def test_a_label_of_another_home_half_stays_beside_the_own_ones_while_all_that_its_row_stated_is_applied() -> None:
    assert labels(applied(1, 2), of_fleet(applied(1, 2))) == ("1.3.0", "fleet-1", "fleet-2")
    assert labels(applied(1, 2, 4), of_fleet(applied(1, 2))) == ("1.3.0", "1.4.0", "fleet-1", "fleet-2")


@pytest.mark.parametrize("left", [applied(), applied(1), applied(2, 3, 4)])
def test_with_a_version_that_is_undone_the_labels_of_another_home_half_go(left: Observed) -> None:
    assert not [label for label in labels(left, of_fleet(applied(1, 2))) if label in {"fleet-1", "fleet-2"}]


def test_a_row_of_another_database_says_nothing_of_this_one() -> None:
    copied = replace(of_fleet(applied(1, 2)), identity=ELSEWHERE)
    assert labels(applied(1, 2), copied) == ("1.3.0",)
    assert wanted_elsewhere(copied, BUNDLES, HERE) is None


@pytest.mark.parametrize(
    ("before", "now", "stays"),
    [(None, None, True), (2, None, True), (2, 2, True), (2, 1, True), (None, 1, False), (1, 2, False)],
)
def test_whether_a_bundle_of_another_home_half_is_still_served_is_not_known_once_the_floor_has_risen(
    before: int | None, now: int | None, *, stays: bool
) -> None:
    stated = labels(applied(1, 2), of_fleet(applied(1, 2), replace(FLEET, serves=before)), replace(WANTED, serves=now))
    assert ("fleet-2" in stated) is stays


def test_a_label_that_is_known_here_too_is_judged_by_its_own_versions() -> None:
    stated = assess(FLEET, {"1.4.0": (1,)}, applied(1, 2), HERE, epoch=3)
    assert (stated.bundles, labels(applied(1, 2), stated)) == (("1.4.0",), ("1.3.0",))


@given(version_sets, st.lists(version_sets, min_size=1, max_size=6))
def test_whatever_is_applied_and_undone_a_kept_label_is_met(
    required: frozenset[int], ways: list[frozenset[int]]
) -> None:
    stands = assess(FLEET, {"fleet-2": tuple(required)}, applied(*required), HERE, epoch=3)
    for versions in ways:
        stands = kept(row(applied(*versions)), stands, BUNDLES)
        assert stands == kept(row(applied(*versions)), stands, BUNDLES), "once more it is the same"
        assert "fleet-2" not in stands.bundles or versions >= required


@given(
    wants(), wants(), st.dictionaries(st.sampled_from("abcdef"), version_sets), version_sets, version_sets, version_sets
)
def test_a_label_that_the_row_states_need_not_be_weighed_again_where_more_is_applied(
    first: Wanted,
    then: Wanted,
    required: dict[str, frozenset[int]],
    stated: frozenset[int],
    begun: frozenset[int],
    more: frozenset[int],
) -> None:
    bundles = {label: tuple(sorted(versions)) for label, versions in required.items()}
    before = assess(first, bundles, applied(*stated), HERE, epoch=3)
    lasting = lasting_labels(before, HERE, begun, then.serves)
    others = {label: versions for label, versions in bundles.items() if label not in lasting}
    now = applied(*(begun | more))

    assert kept(assess(then, others, now, HERE, epoch=4), before, others) == assess(then, bundles, now, HERE, epoch=4)


@given(wants(), version_sets)
def test_with_nothing_wanted_here_a_row_by_another_home_half_stays_as_it_is(wanted: Wanted, versions: set[int]) -> None:
    observed = applied(*versions)
    stated = replace(of_fleet(observed, wanted), bundle="fleet-2")
    again = assess(wanted_elsewhere(stated, BUNDLES, HERE), {}, observed, HERE, epoch=3)
    # The row holds the lowest version that is waited for, and so the other ones are not known.
    assert kept(again, stated, {}) == stated


def test_what_is_undone_of_what_another_home_half_wants_is_waited_for() -> None:
    stated = of_fleet(applied(1, 2, 4), replace(FLEET, serves=1))
    again = assess(wanted_elsewhere(stated, BUNDLES, HERE), BUNDLES, applied(1), HERE, epoch=5)
    assert (again.bundle, again.lowest_pending, again.deferred, again.serves) == ("fleet-2", 2, (3,), 1)
    assert judge(AtLeast(1), again, HERE) == Ready()


@pytest.mark.parametrize("stated", [None, row(applied(1)), replace(row(applied(1)), bundle=None)])
def test_a_row_of_this_home_half_tells_of_no_other(stated: Readiness | None) -> None:
    assert wanted_elsewhere(stated, BUNDLES, HERE) is None
