"""What happens to a fleet, as events."""

from typing import ClassVar

from worker.core.events.event import Event, Level
from worker.core.value import dataclass


@dataclass(frozen=True, slots=True)
class FleetChanged(Event):
    """Other targets are declared than before: so many were written, so many are gone."""

    written: int
    gone: int


@dataclass(frozen=True, slots=True)
class FleetMisdeclared(Event):
    """What a group of the fleet declares could not be read; its targets stay as they were."""

    level: ClassVar[Level] = Level.ERROR
    group: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class FleetHalted(Event):
    """So many targets of a line ended badly that the rest is left alone until retry or resume."""

    level: ClassVar[Level] = Level.ERROR
    line: str
    failures: int
    budget: int


@dataclass(frozen=True, slots=True)
class TargetLeft(Event):
    """A worker is no longer at a target of its fleet: whatever was not told to its end there was cut off."""

    level: ClassVar[Level] = Level.DEBUG
