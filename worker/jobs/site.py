"""What a job is about: where it works, what is asked for, and what came of it."""

from enum import Enum

from worker.applier.limits import Limits
from worker.bundles.trust import OFF, Trust
from worker.core.bundles.bundle import Bundle, OrderPolicy
from worker.core.planning.plan import Goal, Latest
from worker.core.planning.readiness import Readiness
from worker.core.planning.reconcile import Insistence
from worker.core.target import Target
from worker.core.value import dataclass

LATEST = Latest()

Shelf = dict[str, Bundle]
"""Bundles that were read, by their digests."""


class Rivals(Enum):
    """What another golang-migrate table means beside an empty version table."""

    REFUSE = "refuse"
    IGNORE = "ignore"


class Drift(Enum):
    """Whether each job takes the fingerprint of the catalogue: one of a database, whose price grows with its tables."""

    FOUND = "found"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Site:
    """A target as the settings name it; `schema` None is the session's current one, `line` None the table's name.

    `database` is what the home half calls the target's database, None where it is the home's own.
    """

    schema: str | None
    table: str
    line: str | None
    order: OrderPolicy | None
    readers: tuple[str, ...]
    rivals: Rivals
    limits: Limits
    trust: Trust = OFF
    database: str | None = None
    drift: Drift = Drift.FOUND

    def home_name(self, target: Target) -> str:
        """What the home half calls the target; `database` is None where the target lies in the home's own."""
        return target.name if self.database is None else f"{self.database}/{target.name}"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: a goal, and perhaps a bundle that is offered for it.

    `pin` names the command that pins the target, None lets a pinned one go where a person asked. `agreed` are the
    versions that a person was shown and agreed to undo, None where that was not asked. What is read of the wanted
    bundle is put on the `shelf`, for the next target.
    """

    insistence: Insistence
    goal: Goal = LATEST
    offer: Bundle | None = None
    pin: str | None = None
    agreed: tuple[int, ...] | None = None
    shelf: Shelf | None = None


class Result(Enum):
    """What came of a request."""

    APPLIED = "applied"
    UP_TO_DATE = "up_to_date"
    NOTHING_WANTED = "nothing_wanted"
    LEFT_ALONE = "left_alone"


@dataclass(frozen=True, slots=True)
class Report:
    """What was done; `applied` are versions in the order in which they were run, `why` says why nothing was."""

    result: Result
    target: Target
    bundle: str | None
    applied: tuple[int, ...] = ()
    adopted: int = 0
    version: int | None = None
    readiness: Readiness | None = None
    why: str | None = None
