"""How a fleet stands, for a person and for a machine, and the exit code that follows from it."""

from collections import Counter
from collections.abc import Iterable

from worker.cli.fleet.left import Left
from worker.cli.output import print_json, print_line
from worker.core.fleet.count import Count
from worker.core.status.masking import Mask
from worker.core.value import dataclass
from worker.errors import ExitCode, TidegateError
from worker.postgres.fleet import End, Troubled

LIMIT = 100
"""So many targets that need a person are shown; all of them are counted."""

_EXITS = {
    End.FAILED.value: ExitCode.FAILED,
    End.IN_DOUBT.value: ExitCode.IN_DOUBT,
    End.REFUSED.value: ExitCode.REFUSED,
    End.UNREACHABLE.value: ExitCode.NO_DATABASE,
    End.WAITING.value: ExitCode.TIMED_OUT,
}
_WORST = (
    ExitCode.FAILED,
    ExitCode.IN_DOUBT,
    ExitCode.REFUSED,
    ExitCode.USAGE,
    ExitCode.NO_DATABASE,
    ExitCode.TIMED_OUT,
)


@dataclass(frozen=True, slots=True)
class Summary:
    """The fleet's targets by line and state, those that need a person, the groups that are wrong, what was done.

    `judged` are the states that the exit code is of, where targets were named; None for all. `left` are those of the
    named ones that were left as they are.
    """

    counts: tuple[Count, ...]
    troubled: tuple[Troubled, ...]
    wrong: tuple[tuple[str, TidegateError], ...] = ()
    applied: int = 0
    migrations: int = 0
    judged: frozenset[str] | None = None
    left: tuple[Left, ...] = ()

    @property
    def states(self) -> dict[str, int]:
        """How many targets are in each state."""
        states: Counter[str] = Counter()
        for count in self.counts:
            states[count.state] += count.targets
        return dict(states)

    @property
    def exit_code(self) -> ExitCode:
        """The worst of what came of the targets: 1, 6, 3, 2, 5, 4, in this order."""
        states = self.states if self.judged is None else self.judged
        found = {_EXITS[state] for state in states if state in _EXITS}
        found |= {error.exit_code for _, error in self.wrong} | {each.code for each in self.left}
        return next((code for code in _WORST if code in found), ExitCode.OK)


def print_summary(summary: Summary, mask: Mask, *, as_json: bool) -> None:
    """Print it; what a server or a file said can repeat a secret."""
    if as_json:
        print_json(_document(summary, mask))
        return
    for line in _lines(summary):
        print_line(mask(line))


def counted(number: int, noun: str) -> str:
    """`1 target`, `2 targets`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _document(summary: Summary, mask: Mask) -> dict[str, object]:
    return {
        "targets": sum(summary.states.values()),
        "states": summary.states,
        "lines": [
            {"line": c.line, "wanted": c.wanted, "state": c.state, "targets": c.targets} for c in summary.counts
        ],
        "applied": summary.applied,
        "migrations": summary.migrations,
        "troubled": [
            {
                "target": each.name, "line": each.line, "state": each.outcome, "reason": each.problem.reason,
                "message": mask(each.problem.message), "hint": mask(each.problem.hint),
            }
            for each in summary.troubled
        ],
        "left": [
            {
                "target": each.target, "line": each.line, "state": each.state,
                "message": mask(each.message), "hint": mask(each.hint),
            }
            for each in summary.left
        ],
        "misdeclared": [
            {"group": group, "message": mask(e.message), "hint": mask(e.hint)} for group, e in summary.wrong
        ],
    }  # fmt: skip


def _lines(summary: Summary) -> Iterable[str]:
    for group, error in summary.wrong:
        yield f"misdeclared  {group}: {error.message}"
        yield f"             {error.hint}"
    for each in summary.troubled:
        yield f"{each.outcome:11}  {each.name}: {each.problem.message}"
        yield f"             {each.problem.hint}"
    known = {each.name for each in summary.troubled}
    for left in summary.left:
        if left.target not in known:
            yield f"{left.state:11}  {left.target}: {left.message}"
            yield f"             {left.hint}"
    troubled = sum(count for state, count in summary.states.items() if state in _EXITS or state == "left_alone")
    if troubled > len(summary.troubled):
        yield f"… and {troubled - len(summary.troubled)} more"
    for count in summary.counts:
        yield f"{count.line}: {count.targets} {count.state.replace('_', ' ')}, bundle {count.wanted or 'none'}"
    total = sum(summary.states.values())
    done = f"; {summary.migrations} migrations run in {summary.applied} of them" if summary.applied else ""
    yield f"{total} targets{done}"
