"""What a worker's look at the catalogue finds, as events."""

from typing import ClassVar

from worker.core.events.event import Event, Level
from worker.core.value import dataclass


@dataclass(frozen=True, slots=True)
class DriftFound(Event):
    """Objects are not what they were after the bundle: how many by now, and the names of those that are new to it."""

    level: ClassVar[Level] = Level.WARNING
    objects: int
    found: str
    since_bundle: str


@dataclass(frozen=True, slots=True)
class DriftGone(Event):
    """Objects are right again: how many still are not, and the names of those that are."""

    objects: int
    gone: str


@dataclass(frozen=True, slots=True)
class FingerprintSkipped(Event):
    """The catalogue could not be taken after a job, which went on without; drift is not known until the next one."""

    level: ClassVar[Level] = Level.WARNING
    message: str
