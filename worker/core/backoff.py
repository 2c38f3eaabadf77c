"""Back-off: exponential with full jitter. The caller brings the randomness."""

from worker.core.value import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays in seconds: `first` doubles with every attempt up to `ceiling`."""

    first: float
    ceiling: float

    def delay(self, attempt: int, jitter: float) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 1); `jitter` is in [0, 1).

        The lower half is kept, so that a retry is never immediate.
        """
        full = min(self.ceiling, self.first * 2.0 ** min(attempt - 1, 62))
        return full * (0.5 + jitter / 2)
