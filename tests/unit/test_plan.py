"""The plan by example: what is done, in which order, and every reason to refuse."""

from dataclasses import replace

import pytest

from tests.fixtures.plans import a_bundle, applied, checksums, entry, golang, half_down, half_up, steps
from worker.core.bundles.bundle import Bundle, OrderPolicy
from worker.core.bundles.migration import Direction
from worker.core.planning.plan import (
    Adopt,
    Back,
    Entry,
    Goal,
    Latest,
    Next,
    Observed,
    Pending,
    Refused,
    Run,
    To,
    UpToDate,
    VersionRow,
    after,
)
from worker.core.planning.planner import plan

THREE = a_bundle(1, 2, 3)
FIVE = a_bundle(1, 2, 3, 4, 5)


def planned(
    bundle: Bundle, observed: Observed, goal: Goal | None = None, order: OrderPolicy = OrderPolicy.ERROR
) -> list[str]:
    """What a plan that does not refuse has to do, in short."""
    decided = plan(bundle, observed, order, goal or Latest())
    assert not isinstance(decided, Refused), decided
    return steps(decided.effects) if isinstance(decided, Pending) else []


def refused(
    bundle: Bundle, observed: Observed, goal: Goal | None = None, order: OrderPolicy = OrderPolicy.ERROR
) -> Refused:
    decided = plan(bundle, observed, order, goal or Latest())
    assert isinstance(decided, Refused), decided
    return decided


@pytest.mark.parametrize(
    ("observed", "goal", "expected"),
    [
        (applied(), Latest(), ["up 1", "up 2", "up 3", "up 4", "up 5"]),
        (applied(1, 2), Latest(), ["up 3", "up 4", "up 5"]),
        (applied(1, 2), Next(1), ["up 3"]),
        (applied(1, 2), Next(2), ["up 3", "up 4"]),
        (applied(1, 2, 3, 4), Next(7), ["up 5"]),
        (applied(1, 2), To(4), ["up 3", "up 4"]),
        (applied(1, 2, 3, 4), To(2), ["down 4", "down 3"]),
        (applied(1, 2, 3), Back(1), ["down 3"]),
        (applied(1, 2, 3), Back(2), ["down 3", "down 2"]),
        (applied(1, 2, 3), Back(9), ["down 3", "down 2", "down 1"]),
        (applied(1, 2, 3), Back(None), ["down 3", "down 2", "down 1"]),
    ],
)
def test_a_goal_says_what_is_done_and_in_which_order(observed: Observed, goal: Goal, expected: list[str]) -> None:
    assert planned(FIVE, observed, goal) == expected


@pytest.mark.parametrize(
    ("observed", "goal"),
    [
        (applied(1, 2, 3), Latest()),
        (applied(1, 2, 3), Next(4)),
        (applied(1, 2, 3), To(3)),
        (applied(), Back(1)),
        (applied(), Back(None)),
    ],
)
def test_nothing_to_do_is_up_to_date(observed: Observed, goal: Goal) -> None:
    assert plan(THREE, observed, OrderPolicy.ERROR, goal) == UpToDate()


def test_a_database_newer_than_the_bundle_is_up_to_date() -> None:
    assert plan(THREE, applied(1, 2, 3, 4, 5), OrderPolicy.ERROR, Latest()) == UpToDate()


@pytest.mark.parametrize(
    ("order", "expected"), [(OrderPolicy.APPLY, ["up 2", "up 4", "up 5"]), (OrderPolicy.SKIP, ["up 4", "up 5"])]
)
def test_a_late_version_is_applied_or_skipped_where_the_policy_says_so(order: OrderPolicy, expected: list[str]) -> None:
    assert planned(FIVE, applied(1, 3), order=order) == expected


def test_a_late_version_is_refused_where_the_policy_says_nothing_else() -> None:
    why = refused(FIVE, applied(1, 3))
    assert (why.reason, why.message) == ("order", "version 2 is pending, but 3 is already applied")
    assert "TIDEGATE_ORDER" in why.hint


def test_an_empty_ledger_beside_a_version_adopts_what_leads_up_to_it() -> None:
    decided = plan(FIVE, golang(3), OrderPolicy.ERROR, Latest())
    assert isinstance(decided, Pending)
    assert decided.effects[0] == Adopt((entry(1), entry(2), entry(3)))
    assert steps(decided.effects) == ["adopt 1 2 3", "up 4", "up 5"]
    assert [run.migration.version for run in decided.runs] == [4, 5]


def test_what_golang_migrate_did_since_is_adopted_upwards() -> None:
    assert planned(FIVE, golang(4, ledger=(1, 2))) == ["adopt 3 4", "up 5"]


def test_adoption_does_not_take_a_late_version_for_applied() -> None:
    assert planned(FIVE, golang(4, ledger=(1, 3)), order=OrderPolicy.APPLY) == ["adopt 4", "up 2", "up 5"]


def test_a_version_that_the_bundle_does_not_have_is_adopted_without_a_checksum() -> None:
    decided = plan(THREE, golang(7), OrderPolicy.ERROR, Latest())
    assert decided == Pending((Adopt((entry(1), entry(2), entry(3), Entry(7, "", None))),))


def test_what_was_adopted_can_be_undone() -> None:
    assert planned(THREE, golang(2), Back(1)) == ["adopt 1 2", "down 2"]


def test_a_version_table_that_shares_nothing_with_the_bundle_is_not_adopted() -> None:
    why = refused(a_bundle(20, 21), golang(7))
    assert (why.reason, why.message) == (
        "unrelated",
        "the version table is at 7, and the bundle has no migration up to there",
    )
    assert "different applications" in why.hint


def test_a_bundle_that_shares_no_version_with_the_ledger_is_refused() -> None:
    why = refused(a_bundle(20, 21), applied(1, 2, 3))
    assert (why.reason, why.message) == (
        "unrelated",
        "the bundle shares no version with the 3 applied ones (highest 3)",
    )
    assert "different applications" in why.hint


def test_files_that_were_changed_since_are_refused_by_name() -> None:
    ledger = tuple(replace(one, checksum="0" * 64) for one in applied(1, 2, 3, 4, 5).ledger)
    why = refused(FIVE, Observed(ledger, VersionRow(5, dirty=False)))
    assert (why.reason, why.message) == (
        "checksum",
        "1_m1.up.sql, 2_m2.up.sql, 3_m3.up.sql and 2 more: changed since it was applied",
    )
    assert "new migration" in why.hint
    assert "tidegate admin repair --accept 1 --why TEXT" in why.hint


def test_a_version_that_was_applied_without_a_file_takes_any_file() -> None:
    observed = Observed((Entry(1, "", None),), VersionRow(1, dirty=False))
    assert planned(THREE, observed) == ["up 2", "up 3"]


def test_an_up_file_that_is_missing_by_now_does_not_contradict_the_ledger() -> None:
    only_down = replace(THREE, migrations=(replace(THREE.migrations[0], up=None), *THREE.migrations[1:]))
    assert planned(only_down, applied(1, 2)) == ["up 3"]


def test_a_version_table_that_was_moved_back_is_refused() -> None:
    why = refused(THREE, golang(1, ledger=(1, 2, 3)))
    assert (why.reason, why.message) == (
        "diverged",
        "the version table says 1, but the ledger's highest version is 3: another program moved it back",
    )
    assert "tidegate force 1 or tidegate force 3" in why.hint
    assert "tidegate admin adopt" in why.hint


def test_a_version_table_that_was_emptied_is_refused() -> None:
    why = refused(THREE, replace(applied(1, 2), recorded=None))
    assert why.reason == "diverged"
    assert "says nothing" in why.message
    assert "tidegate force -1 or tidegate force 2" in why.hint


def test_dirt_that_golang_migrate_left_is_refused_with_the_way_out() -> None:
    why = refused(THREE, golang(2, dirty=True, ledger=(1,)))
    assert (why.reason, why.message) == (
        "dirty",
        "the version table is dirty at version 2: a run of golang-migrate failed there",
    )
    assert "tidegate force 2" in why.hint


def test_an_empty_version_table_beside_another_golang_migrate_table_is_refused() -> None:
    why = refused(THREE, Observed(rivals=("public.schema_migrations",)))
    assert why.reason == "version_table"
    assert "public.schema_migrations holds a golang-migrate version" in why.message
    assert "DB_MIGRATIONS_TABLE" in why.hint
    assert "--new-table" in why.hint


def test_a_half_done_migration_is_resumed_and_comes_first() -> None:
    decided = plan(THREE, applied(1, half_done=half_up(2)), OrderPolicy.ERROR, Latest())
    assert isinstance(decided, Pending)
    assert decided.effects[0] == Run(THREE.migrations[1], Direction.UP, half_up(2))
    assert steps(decided.effects) == ["again up 2", "up 3"]


def test_a_half_undone_migration_is_resumed_and_comes_first() -> None:
    assert planned(THREE, applied(1, 2, 3, half_done=half_down(3)), Back(2)) == ["again down 3", "down 2"]


def test_a_half_done_late_version_comes_before_lower_ones() -> None:
    assert planned(FIVE, applied(1, 4, half_done=half_up(3)), order=OrderPolicy.APPLY) == [
        "again up 3",
        "up 2",
        "up 5",
    ]


@pytest.mark.parametrize("order", list(OrderPolicy))
def test_a_half_done_late_version_is_finished_whatever_the_policy_says_by_now(order: OrderPolicy) -> None:
    assert planned(FIVE, applied(1, 2, 4, half_done=half_up(3)), order=order) == ["again up 3", "up 5"]


def test_one_step_is_the_half_done_one() -> None:
    assert planned(FIVE, applied(1, 4, half_done=half_up(3)), Next(1), OrderPolicy.APPLY) == ["again up 3"]


def test_a_version_below_a_half_done_one_is_late() -> None:
    observed = applied(1, half_done=half_up(3))
    assert refused(FIVE, observed).message == "version 2 is pending, but 3 is already half done"
    assert planned(FIVE, observed, order=OrderPolicy.SKIP) == ["again up 3", "up 4", "up 5"]
    assert planned(FIVE, observed, order=OrderPolicy.APPLY) == ["again up 3", "up 2", "up 4", "up 5"]


@pytest.mark.parametrize(
    ("bundle", "observed", "goal"),
    [
        (a_bundle(1, 2, 4), applied(1, half_done=half_up(3)), Latest()),
        (THREE, applied(1, 2, half_done=half_up(3)), Back(1)),
        (THREE, applied(1, 2, half_done=half_up(3)), To(2)),
        (THREE, applied(1, half_done=half_up(3)), To(2)),
        (THREE, applied(1, 2, half_done=half_down(2)), Latest()),
        # Nothing else is pending, and yet the schema is not what the ledger says.
        (THREE, applied(1, 2, 3, half_done=half_down(3)), Latest()),
    ],
)
def test_nothing_is_done_without_the_half_done_migration(bundle: Bundle, observed: Observed, goal: Goal) -> None:
    assert observed.progress is not None
    why = refused(bundle, observed, goal, OrderPolicy.APPLY)
    assert why.reason == "half_done"
    assert f"migration {observed.progress.version} ({observed.progress.direction.value}) is half done" in why.message
    assert f"tidegate force {observed.progress.version}" in why.hint


def test_an_older_image_has_nothing_to_do_with_what_a_newer_one_began() -> None:
    assert plan(THREE, applied(1, 2, 3, half_done=half_up(4)), OrderPolicy.ERROR, Latest()) == UpToDate()


def test_dirt_of_golang_migrate_is_not_excused_by_our_own_journal_of_another_version() -> None:
    observed = replace(applied(1, half_done=half_up(2)), recorded=VersionRow(5, dirty=True))
    assert refused(FIVE, observed).reason == "dirty"


@pytest.mark.parametrize("recorded", [None, VersionRow(1, dirty=False), VersionRow(2, dirty=False)])
def test_a_half_done_migration_is_not_resumed_once_another_program_cleared_its_dirt(
    recorded: VersionRow | None,
) -> None:
    why = refused(THREE, replace(applied(1, half_done=half_up(2)), recorded=recorded))
    assert why.reason == "diverged"
    assert "migration 2 (up) is half done" in why.message
    assert "tidegate force 2" in why.hint
    assert f"tidegate force {-1 if recorded is None else recorded.version}" in why.hint


@pytest.mark.parametrize("observed", [applied(), applied(1, 3), applied(1, 2, 3, 5)])
def test_a_version_that_does_not_exist_is_no_goal_in_either_direction(observed: Observed) -> None:
    why = refused(a_bundle(1, 2, 3, 5), observed, To(4))
    assert (why.reason, why.message, why.hint) == (
        "no_version",
        "the bundle has no migration 4",
        "tidegate plan lists what it has",
    )


def test_going_back_to_a_version_that_was_passed_over_applies_it() -> None:
    assert planned(FIVE, applied(1, 3, 4), To(2)) == ["down 4", "down 3", "up 2"]


@pytest.mark.parametrize("order", list(OrderPolicy))
def test_going_back_to_an_applied_version_runs_nothing_below_it(order: OrderPolicy) -> None:
    assert planned(FIVE, applied(1, 3, 4), To(3), order) == ["down 4"]
    assert planned(FIVE, applied(1, 3), To(3), order) == []


def test_a_version_without_a_down_side_is_undone_in_the_records() -> None:
    decided = plan(a_bundle(1, 2, downs=()), applied(1, 2), OrderPolicy.ERROR, Back(1))
    assert isinstance(decided, Pending)
    (run,) = decided.runs
    assert (run.migration.version, run.direction, run.migration.down) == (2, Direction.DOWN, None)


@pytest.mark.parametrize("goal", [Back(1), To(3)])
def test_what_the_bundle_does_not_have_cannot_be_undone(goal: Goal) -> None:
    why = refused(THREE, applied(1, 2, 3, 7), goal)
    assert (why.reason, why.message) == (
        "no_down",
        "version 7 is applied, but no bundle here or published has it as it was applied",
    )
    assert "--source" in why.hint


def test_after_an_up_the_ledger_and_the_version_table_say_so() -> None:
    observed = after(applied(1, half_done=half_up(2)), Run(THREE.migrations[1], Direction.UP, half_up(2)))
    assert observed == applied(1, 2)
    assert checksums(observed) == {1: entry(1).checksum, 2: entry(2).checksum}


def test_after_a_late_up_the_version_table_keeps_the_highest() -> None:
    assert after(applied(1, 3), Run(THREE.migrations[1], Direction.UP)) == applied(1, 2, 3)


def test_after_the_last_down_the_version_table_is_empty() -> None:
    assert after(applied(1), Run(THREE.migrations[0], Direction.DOWN)) == Observed()


def test_after_an_adoption_the_version_table_is_as_it_was() -> None:
    assert after(golang(2), Adopt((entry(1), entry(2)))) == applied(1, 2)


@pytest.mark.parametrize("order", OrderPolicy)
def test_the_ledger_is_gone_through_a_few_times_however_much_it_holds(
    order: OrderPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    versions = Observed.versions.fget
    assert versions is not None
    monkeypatch.setattr(Observed, "versions", property(lambda self: asked.append(self) or versions(self)))
    many = range(1, 501)
    decided = plan(a_bundle(*many), applied(*many[:-1]), order, Latest())
    assert isinstance(decided, Pending)
    assert len(asked) < 20
