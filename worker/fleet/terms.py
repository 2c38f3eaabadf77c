"""What a fleet's worker goes by, and how it reaches what it works at."""

from collections.abc import Awaitable, Callable
from enum import Enum

from worker.core.fleet.declared import Fleet, Group
from worker.core.value import dataclass
from worker.jobs.roster import Place, Server
from worker.jobs.site import Site
from worker.postgres.session import Session


class Until(Enum):
    """When a fleet's worker ends: once nothing is due any more, or when it is told to."""

    DONE = "done"
    STOPPED = "stopped"


class Path(Enum):
    """Whether a target's session looks names up in schemas that the fleet says, or as its role does by itself."""

    SAID = "said"
    USUAL = "usual"


@dataclass(frozen=True, slots=True)
class Doors:
    """How a fleet is reached: the home half, a target's database, and the server of a group."""

    home: Callable[[], Awaitable[Session]]
    target: Callable[[Place, Path], Awaitable[Session]]
    server: Callable[[Group], Server]


@dataclass(frozen=True, slots=True)
class Terms:
    """What it goes by; `origin` is what messages call the fleet's file, `names` picks targets of it, None all.

    `site` is what every target's is made from; `poll` is in seconds.
    """

    fleet: Fleet
    origin: str
    site: Site
    until: Until
    names: tuple[str, ...] | None
    poll: float
    clock: Callable[[], float]
    jitter: Callable[[], float]
