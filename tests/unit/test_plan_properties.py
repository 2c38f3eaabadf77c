"""What holds of every plan, whatever the bundle, the database, the policy and the goal."""

from dataclasses import dataclass, replace
from typing import assert_never

from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.fixtures.plans import a_bundle, applied, entry
from worker.core.bundles.bundle import Bundle, OrderPolicy
from worker.core.bundles.migration import Direction
from worker.core.planning.plan import (
    Adopt,
    Back,
    Effect,
    Entry,
    Goal,
    Latest,
    Next,
    Observed,
    Pending,
    Plan,
    Progress,
    Refused,
    Run,
    To,
    UpToDate,
    VersionRow,
    after,
)
from worker.core.planning.planner import plan

HIGHEST = 9
numbers = st.integers(0, HIGHEST)
sets = st.frozensets(numbers, max_size=7)
bundles = st.builds(lambda versions, downs: a_bundle(*versions, downs=versions & downs), sets.filter(bool), sets)
policies = st.sampled_from(OrderPolicy)
goals: st.SearchStrategy[Goal] = st.one_of(
    st.just(Latest()),
    st.integers(1, 9).map(Next),
    numbers.map(To),
    (st.none() | st.integers(1, 9)).map(Back),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One question to the planner."""

    bundle: Bundle
    observed: Observed
    order: OrderPolicy
    goal: Goal

    @property
    def plan(self) -> Plan:
        return plan(self.bundle, self.observed, self.order, self.goal)

    def then(self, effect: Effect) -> "Case":
        """The question that is left once the effect is done."""
        goal = self.goal
        match goal:
            case Next(count) if isinstance(effect, Run):
                goal = Next(count - 1)
            case Back(count) if isinstance(effect, Run) and count is not None:
                goal = Back(count - 1)
            case Latest() | Next() | To() | Back():
                pass
            case _:
                assert_never(goal)
        return replace(self, observed=after(self.observed, effect), goal=goal)


@st.composite
def sound(draw: st.DrawFn) -> Observed:
    """A database that only Tidegate and a well-meaning golang-migrate have changed."""
    versions = draw(sets)
    observed = applied(*versions)
    if draw(st.booleans()):
        direction = draw(st.sampled_from(Direction))
        version = draw(numbers)
        assume((version in versions) is (direction is Direction.DOWN))
        return applied(*versions, half_done=Progress(version, direction, draw(st.sampled_from([(), ("d1",)]))))
    if draw(st.booleans()):
        return replace(observed, recorded=VersionRow(draw(st.integers(max(versions, default=0), HIGHEST)), dirty=False))
    return observed


@st.composite
def unsound(draw: st.DrawFn) -> Observed:
    """A database that says anything at all."""
    ledger = tuple(
        draw(st.sampled_from([entry(version), Entry(version, "", None), Entry(version, "x", "f" * 64)]))
        for version in sorted(draw(sets))
    )
    recorded = draw(st.none() | st.builds(VersionRow, st.integers(-1, HIGHEST), st.booleans()))
    progress = draw(st.none() | st.builds(Progress, numbers, st.sampled_from(Direction), st.just(("d1",))))
    return Observed(ledger, recorded, progress, draw(st.sampled_from([(), ("public.other",)])))


cases = st.builds(Case, bundles, sound(), policies, goals)
wild_cases = st.builds(Case, bundles, unsound(), policies, goals)


def effects_of(decided: Plan) -> tuple[Effect, ...]:
    return decided.effects if isinstance(decided, Pending) else ()


@given(cases)
# Once 4 is undone, and nothing but 0 and 2 is left, the bundle that is to bring 3 has nothing to do with the ledger.
@example(Case(a_bundle(1, 3, 4), applied(0, 2, 4), OrderPolicy.APPLY, To(3)))
@example(Case(a_bundle(4), applied(0, 2, 4), OrderPolicy.APPLY, To(2)))
@example(Case(a_bundle(4), applied(0, 2, 4), OrderPolicy.APPLY, Back(1)))
def test_planning_again_after_any_prefix_of_the_effects_yields_exactly_the_rest(case: Case) -> None:
    rest = effects_of(case.plan)
    while rest:
        case, rest = case.then(rest[0]), rest[1:]
        assert effects_of(case.plan) == rest
        assert isinstance(case.plan, Pending if rest else UpToDate)


@given(cases | wild_cases)
def test_every_question_has_an_answer_and_every_refusal_a_reason_and_a_hint(case: Case) -> None:
    match decided := case.plan:
        case Pending(effects):
            assert effects
        case Refused(reason, message, hint):
            assert all((reason, message, hint))
            assert "\n" not in message
            assert "\n" not in hint
        case UpToDate():
            pass
        case _:
            assert_never(decided)


@given(cases | wild_cases)
def test_nothing_is_up_to_date_while_one_of_its_own_is_half_done_or_the_version_table_disagrees(case: Case) -> None:
    if case.plan == UpToDate():
        recorded, progress = case.observed.recorded, case.observed.progress
        if progress is not None:
            assert (progress.direction, case.bundle.get(progress.version)) == (Direction.UP, None)
            return
        assert (None if recorded is None else recorded.version) == case.observed.highest
        assert recorded is None or not recorded.dirty


@given(cases | wild_cases)
def test_no_version_is_run_twice(case: Case) -> None:
    runs = [effect.migration.version for effect in effects_of(case.plan) if isinstance(effect, Run)]
    assert len(runs) == len(set(runs))


@given(cases | wild_cases)
def test_nothing_applied_is_applied_again_and_nothing_else_is_undone(case: Case) -> None:
    observed = case.observed
    for effect in effects_of(case.plan):
        match effect:
            case Adopt(entries):
                assert observed.versions.isdisjoint(one.version for one in entries)
            case Run(migration, direction):
                assert (migration.version in observed.versions) is (direction is Direction.DOWN)
        observed = after(observed, effect)


@given(cases | wild_cases)
def test_ups_ascend_and_downs_descend_behind_what_is_resumed(case: Case) -> None:
    runs = [effect for effect in effects_of(case.plan) if isinstance(effect, Run)]
    if case.observed.progress is not None:
        assert [run.resume for run in runs if run.resume is not None] == [case.observed.progress][: len(runs)]
        runs = runs[1:]
    assert all(run.resume is None for run in runs)
    ups = [run.migration.version for run in runs if run.direction is Direction.UP]
    downs = [run.migration.version for run in runs if run.direction is Direction.DOWN]
    assert ups == sorted(ups)
    assert downs == sorted(downs, reverse=True)


@given(cases | wild_cases)
def test_adoption_comes_first_and_only_once(case: Case) -> None:
    kinds = [isinstance(effect, Adopt) for effect in effects_of(case.plan)]
    assert not any(kinds[1:])


@given(cases | wild_cases)
def test_a_version_that_is_the_goal_is_the_highest_at_the_end(case: Case) -> None:
    observed = case.observed
    for effect in effects_of(case.plan):
        observed = after(observed, effect)
    if isinstance(case.goal, To) and not isinstance(case.plan, Refused):
        assert observed.highest == case.goal.version
        assert observed.recorded == VersionRow(case.goal.version, dirty=False)


@given(cases)
def test_late_versions_run_only_where_the_policy_lets_them(case: Case) -> None:
    observed = case.observed
    for effect in effects_of(case.plan):
        if isinstance(effect, Run) and effect.direction is Direction.UP and effect.resume is None:
            is_late = observed.highest is not None and effect.migration.version < observed.highest
            assert not is_late or case.order is OrderPolicy.APPLY
        observed = after(observed, effect)
