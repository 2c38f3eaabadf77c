"""Why a target that was named was not brought to what is wanted, though nothing is wrong with itself."""

from collections.abc import Iterable

from worker.core.status.fleet_status import Halt
from worker.core.value import dataclass
from worker.errors import ExitCode
from worker.postgres.fleet_targets import Outcome


@dataclass(frozen=True, slots=True)
class Left:
    """A target that was left as it is, why, and what to do; `code` is what it alone would exit with."""

    target: str
    line: str
    state: str
    message: str
    hint: str
    code: ExitCode = ExitCode.REFUSED


def left_of(outcomes: Iterable[Outcome], halts: Iterable[Halt]) -> tuple[Left, ...]:
    """Those that were left as they are."""
    halted = {halt.line: halt for halt in halts}
    found = (_left(each, halted.get(each.line)) for each in outcomes)
    return tuple(left for left in found if left is not None)


def _left(each: Outcome, halt: Halt | None) -> Left | None:
    go_on = f"tidegate resume --target {each.name}"
    match each.state:
        case "paused":
            return Left(each.name, each.line, each.state, f"paused by {each.paused_by}", go_on)
        case "left_alone":
            return Left(each.name, each.line, each.state, each.why or "left alone", go_on)
        case "running":
            code = ExitCode.TIMED_OUT
            return Left(each.name, each.line, each.state, "another worker is at it", "look at tidegate status", code)
        case "due":
            return _not_begun(each, halt)
        case _:
            return None


def _not_begun(each: Outcome, halt: Halt | None) -> Left:
    if each.wanted is None:
        why, hint = f"nothing is published for the line {each.line}", "tidegate publish says what it is brought to"
        # As for a single target: there is nothing to do.
        return Left(each.name, each.line, each.state, why, hint, ExitCode.OK)
    if halt is None:
        return Left(each.name, each.line, each.state, "it was not begun", "run it again")
    why = f"the line {halt.line} is halted: {halt.failures} ended badly, and {halt.budget} may"
    return Left(each.name, each.line, each.state, why, "mend what failed, then tidegate retry or resume")
