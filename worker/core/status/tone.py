"""How a headline sounds, and what it says."""

from enum import Enum

from worker.core.value import dataclass


class Tone(Enum):
    """How it stands: all is well, it works, it waits, a person is needed, or there is nothing to tell yet."""

    GOOD = "good"
    BUSY = "busy"
    WAITING = "waiting"
    BAD = "bad"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Summary:
    """A title of a few words, one sentence, and what a person can do; the last is empty where nothing is to be done."""

    tone: Tone
    title: str
    detail: str
    advice: str = ""
