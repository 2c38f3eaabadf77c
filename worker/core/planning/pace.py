"""How many migrations go into the next message, by how long the last ones took."""

from worker.core.value import dataclass

MOST = 64
"""Of one message."""

AIM_SECONDS = 0.1
"""What a message is to take: little beside a round trip and a commit for each, and soon told."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How many migrations go into the next message; it begins with one, so that a slow one is seen by itself."""

    size: int = 1

    def after(self, sent: int, seconds: float) -> "Pace":
        """The pace once so many took so long together: up to twice as many, if they are as quick."""
        fitting = MOST if seconds <= 0 else min(MOST, AIM_SECONDS * sent / seconds)
        return Pace(max(1, min(2 * sent, int(fitting))))
