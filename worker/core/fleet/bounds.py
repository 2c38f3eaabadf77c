"""How much of a fleet is done at once, and how much of it may fail."""

from collections.abc import Mapping

from worker.core.value import dataclass

_PERCENT = 100.0


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """How many targets of a line may end badly before the rest is left alone: a number, or a share in percent."""

    failures: int | None = None
    percent: float | None = None

    def allowed(self, targets: int) -> int | None:
        """The number of bad ends that halts a line of so many targets, None for never; at least one."""
        if self.percent is not None:
            return max(1, int(targets * self.percent / _PERCENT))
        return self.failures


@dataclass(frozen=True, slots=True)
class Bounds:
    """Connections of one process that migrate: in all, to one database, to one server."""

    workers: int = 8
    per_database: int = 4
    per_server: int = 16


def free_seats(bounds: Bounds, seated: Mapping[str, int], server: Mapping[str, str], database: str) -> int:
    """How many more connections may go to a database.

    `seated` says how many go to each database now, `server` on which server each lies.
    """
    there = sum(count for each, count in seated.items() if server.get(each) == server.get(database))
    return max(
        0,
        min(
            bounds.workers - sum(seated.values()),
            bounds.per_server - there,
            bounds.per_database - seated.get(database, 0),
        ),
    )
