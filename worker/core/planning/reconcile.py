"""What a round, or a command, comes to at a target: nothing, to mend its readiness row, or to work.

The same question is asked of an unlocked look, of further ones while the lock is waited for, under the lock, and once
the fence is raised. Only the last answer leads to a write.
"""

from enum import Enum
from typing import assert_never

from worker.core.planning.job import SETTLED, JobState
from worker.core.planning.plan import Plan, Refused, UpToDate
from worker.core.value import dataclass


class Insistence(Enum):
    """Whether a person asked, now, or a worker does its round and leaves alone what waits for a person."""

    COMMAND = "command"
    ROUND = "round"


class Scope(Enum):
    """Whether all of a bundle is asked for, or something besides: another goal, or the end of a pin."""

    ALL = "all"
    BESIDES = "besides"


@dataclass(frozen=True, slots=True)
class Asked:
    """The question."""

    insistence: Insistence
    scope: Scope


class Subject(Enum):
    """What is to be applied: nothing is published, the wanted bundle, or another one that a person gave."""

    NOTHING = "nothing"
    WANTED = "wanted"
    OTHER = "other"


class Row(Enum):
    """The readiness row: never written, no longer true, true, or true with all done and the job ended well."""

    MISSING = "missing"
    STALE = "stale"
    TRUE = "true"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class JobSeen:
    """The wanted bundle's job: its state, and the reason if it did not end well."""

    state: JobState
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A target as it was seen; `paused` says why workers leave it alone, `plan` is None before files were read."""

    subject: Subject
    row: Row
    paused: str | None = None
    job: JobSeen | None = None
    plan: Plan | None = None


class Action(Enum):
    """What to do; `PLAN` asks again with a plan, `STAMP` writes the readiness row and nothing else."""

    NOTHING = "nothing"
    PLAN = "plan"
    STAMP = "stamp"
    WORK = "work"


@dataclass(frozen=True, slots=True)
class Next:
    """What to do next; `why` says why the target is left as it is, where that is not because all is done."""

    action: Action
    why: str | None = None


# A refusal of the plan goes away with its cause, and the next plan sees that; any other reason needs a person.
_PASSING = frozenset({"dirty", "version_table", "diverged", "unrelated", "checksum", "order"})


def next_action(asked: Asked, seen: Seen) -> Next:
    """Decide what to do about a target."""
    if seen.subject is Subject.NOTHING:
        return _left(seen, "nothing is published")
    if asked.insistence is Insistence.ROUND and seen.paused is not None:
        return _left(seen, seen.paused)
    if asked.scope is Scope.ALL and seen.subject is Subject.WANTED and seen.row is Row.SETTLED:
        return Next(Action.NOTHING)
    if seen.plan is None:
        return Next(Action.PLAN)
    match asked.insistence:
        case Insistence.ROUND:
            why = _why_waiting(seen.job, seen.plan)
            return Next(Action.WORK) if why is None else _left(seen, why)
        case Insistence.COMMAND:
            done = asked.scope is Scope.ALL and _is_done(seen)
            return Next(Action.NOTHING if done else Action.WORK)
        case _:
            assert_never(asked.insistence)


def _is_done(seen: Seen) -> bool:
    """Tell that a bundle which is not wanted is applied, and that the row says what is true: an older image's."""
    is_true = seen.row in {Row.TRUE, Row.SETTLED}
    return seen.subject is Subject.OTHER and is_true and isinstance(seen.plan, UpToDate)


def _why_waiting(job: JobSeen | None, decided: Plan) -> str | None:
    """Why a worker does not try again: the job waits for a person, and what stopped it is still so."""
    if job is None or job.state not in SETTLED or isinstance(decided, UpToDate):
        return None
    passing = job.state is JobState.REFUSED and job.reason in _PASSING
    if passing and not isinstance(decided, Refused):
        return None
    return f"its job is {job.state.value}; it waits for tidegate retry, or for another bundle"


def _left(seen: Seen, why: str) -> Next:
    """Nothing is applied; but a row that states what is no longer so keeps every gate closed, or one open."""
    return Next(Action.STAMP if seen.row is Row.STALE else Action.NOTHING, why)
