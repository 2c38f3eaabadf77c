"""The steps of a target that may go the short way."""

from worker.applier.pipeline import MOST_CHARACTERS
from worker.applier.steps import joins
from worker.core.planning.batch import joining
from worker.core.planning.plan import Effect, Observed, Pending, Plan, Run, after
from worker.core.value import dataclass
from worker.errors import TidegateError
from worker.jobs.look import View


@dataclass(frozen=True, slots=True)
class Step:
    """A migration that is to be run upwards, and what is observed once it is done."""

    run: Run
    then: Observed


def steps_of(view: View, plan: Plan) -> tuple[Step, ...]:
    """What is to be run, or nothing where some of it has to go the usual way.

    That is whatever asks for more than a transaction of its own, and a target that is pinned or was copied.
    """
    if not isinstance(plan, Pending) or _is_special(view):
        return ()
    observed, steps = view.observation.observed, []
    for effect in _plain(plan.effects):
        observed = after(observed, effect)
        steps.append(Step(effect, observed))
    return tuple(steps)


def _is_special(view: View) -> bool:
    row = view.observation.readiness
    is_copied = row is not None and row.identity != view.survey.identity
    return is_copied or view.observation.pinned is not None or view.observation.observed.progress is not None


def _plain(effects: tuple[Effect, ...]) -> tuple[Run, ...]:
    """The effects, where one message can hold all of them and each is a plain migration of the bundle."""
    runs = tuple(effect for effect in effects if isinstance(effect, Run) and effect.lender is None)
    try:
        can = len(runs) == len(effects) == joining(effects, joins, MOST_CHARACTERS)
    except TidegateError:
        can = False
    return runs if can else ()
