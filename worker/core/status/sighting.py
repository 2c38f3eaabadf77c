"""What is seen of a migration from outside while it runs: whom it waits for, who waits for it, how far it has come."""

from typing import TYPE_CHECKING

from worker.core.value import dataclass

if TYPE_CHECKING:
    from worker.core.running.blocking import Blocker, Waiter


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the server says that a long command has come; each phase counts anew.

    `command` is the server's word (`CREATE INDEX CONCURRENTLY`), `phase` too. `unit` says what `done` and `total`
    count: blocks, rows, lockers, bytes. A `total` of 0 is not known.
    """

    command: str
    phase: str
    done: int
    total: int
    unit: str

    @property
    def ratio(self) -> float | None:
        """The finished part of the phase, from 0 to 1, if it is known."""
        return min(1.0, self.done / self.total) if self.total > 0 else None


@dataclass(frozen=True, slots=True)
class Sighting:
    """One look at a migration under way; of `behind`, who waits longest comes first."""

    version: int
    ahead: "Blocker | None" = None
    behind: "tuple[Waiter, ...]" = ()
    progress: Progress | None = None


def overlook(_sighting: Sighting) -> None:
    """Take no notice."""
