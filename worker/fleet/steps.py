"""The steps of a target that may go the short way, and the one message that they make."""

from collections.abc import Sequence

from worker.applier import messages
from worker.applier.limits import Limits
from worker.applier.messages import Timeouts, Work
from worker.applier.run import read
from worker.core.bundles.migration import Direction, Directives
from worker.core.planning.plan import Observed, Pending, Plan, Run, after
from worker.core.sql.script import Mode, Script
from worker.core.value import dataclass
from worker.errors import TidegateError
from worker.jobs.look import View
from worker.postgres.lock import Held

_MAX_CHARACTERS = 1_000_000
_PLAIN = Directives()
# The last commit, which waits for the disk, has the log of all that went before it written too.
_UNHURRIED = "SET LOCAL synchronous_commit = off"


@dataclass(frozen=True, slots=True)
class Step:
    """A migration that is to be run upwards, its text classified, and what is observed once it is done."""

    run: Run
    script: Script
    then: Observed

    @property
    def statements(self) -> int:
        """How many statements its file has."""
        return sum(len(segment.statements) for segment in self.script.segments)


def steps_of(view: View, plan: Plan) -> tuple[Step, ...]:
    """What is to be run, or nothing where some of it has to go the usual way.

    That is whatever asks for more than a transaction of its own, and a target that is pinned or was copied.
    """
    if not isinstance(plan, Pending) or _is_special(view):
        return ()
    observed, steps = view.observation.observed, []
    for effect in plan.effects:
        if not (isinstance(effect, Run) and _is_plain(effect)):
            return ()
        script = _script(effect)
        if script is None:
            return ()
        observed = after(observed, effect)
        steps.append(Step(effect, script, observed))
    return tuple(steps) if sum(map(_characters, steps)) <= _MAX_CHARACTERS else ()


def message_of(held: Held, label: str, steps: Sequence[Step], limits: Limits, around: tuple[str, str]) -> str:
    """The message: each step is a transaction with its fence and records.

    `around` is SQL that goes into the first transaction before the step, and into the last one behind it.
    """
    since, clock = None, held.session.clock
    timeouts = Timeouts(limits.lock_timeout_ms, 0, limits.statement_timeout_ms)
    texts = [around[0]] if around[0] else []
    for step in steps:
        also = (around[1] if step is steps[-1] else _UNHURRIED,)
        migration, mode, highest = step.run.migration, step.script.mode, step.then.highest
        work = Work(held, migration, Direction.UP, mode, label, highest, clock(), also, since)
        since = messages.recorded_at_sql(held, migration.version)
        texts.append(messages.final(work, next(iter(step.script.segments), None), timeouts).text)
    return ";\n".join(texts)


def _is_special(view: View) -> bool:
    row = view.observation.readiness
    is_copied = row is not None and row.identity != view.survey.identity
    return is_copied or view.observation.pinned is not None or view.observation.observed.progress is not None


def _is_plain(effect: Run) -> bool:
    up = effect.migration.up
    said = _PLAIN if up is None else up.directives
    return effect.direction is Direction.UP and effect.resume is None and effect.lender is None and said == _PLAIN


def _script(effect: Run) -> Script | None:
    try:
        script = read(effect.migration, effect.direction)
    except TidegateError:
        return None
    is_plain = not any(segment.begin for segment in script.segments)
    return script if script.mode is not Mode.JOURNALLED and is_plain else None


def _characters(step: Step) -> int:
    up = step.run.migration.up
    return 0 if up is None else len(up.sql)
