"""How many targets of a fleet are in each state."""

from worker.core.value import dataclass


@dataclass(frozen=True, slots=True)
class Count:
    """So many targets of a line are in a state; `wanted` is the label that the line wants."""

    line: str
    wanted: str | None
    state: str
    targets: int
