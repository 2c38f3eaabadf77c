"""What a plan shows, and the words in which it is told on a terminal and elsewhere alike."""

from worker.applier.steps import joins
from worker.core.amounts import count_text, size_text
from worker.core.checks.lint import Remark
from worker.core.planning.batch import batches
from worker.core.planning.plan import Adopt, Goal, Run
from worker.core.value import dataclass
from worker.jobs.foresee import Foreseen, SizedLock
from worker.jobs.preview import Preview


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a plan shows; `remarks` is None where no linter was asked for.

    `shows_text` says whether the files are the person's own, given with the command; `batch` is how many migrations
    at most share one transaction.
    """

    goal: Goal
    seen: Preview
    steps: tuple[Foreseen, ...]
    remarks: tuple[Remark, ...] | None
    shows_text: bool
    batch: int

    @property
    def target(self) -> str:
        """The target's name."""
        return self.seen.view.survey.target.name

    @property
    def adopted(self) -> list[int]:
        """The versions that would be taken over from golang-migrate."""
        effects = (effect for effect in self.seen.effects if isinstance(effect, Adopt))
        return [entry.version for effect in effects for entry in effect.entries]

    @property
    def shared(self) -> list[list[int]]:
        """The versions that would share a transaction, by transaction."""
        cut = batches(self.seen.effects, self.batch, joins)
        together = [[effect.migration.version for effect in each if isinstance(effect, Run)] for each in cut]
        return [versions for versions in together if len(versions) > 1]


def size_of(held: SizedLock) -> str:
    """How large a table is, as far as the catalogue knows."""
    if held.size is None:
        return "size unknown"
    rows = "" if held.size.rows is None else f", about {count_text(held.size.rows)} rows"
    return f"{size_text(held.size.size_bytes)}{rows}"


def unknown_text(step: Foreseen) -> str:
    """The lines of which the text does not tell everything."""
    shown = ", ".join(map(str, step.unknown[:3])) + (", …" if len(step.unknown) > 3 else "")  # noqa: PLR2004  a line's room
    return f"unknown, from line{'' if len(step.unknown) == 1 else 's'} {shown}"
