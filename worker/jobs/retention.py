"""Has old events of jobs removed by whoever runs for long, now and then, while there is nothing to do."""

from collections.abc import Callable

from worker.core.checks.privileges import grant_of_forgetting
from worker.core.events.events import JobEventsKept
from worker.errors import TidegateError
from worker.postgres.retention import forget_events
from worker.postgres.session import Session

_FIRST_SECONDS = 3600.0
_DAY_SECONDS = 86_400.0


class Retention:
    """Removes them once a day, for the first time about an hour after the start.

    `clock` gives monotonic seconds, `jitter` numbers in [0, 1).
    """

    def __init__(self, clock: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._clock = clock
        self._jitter = jitter
        self._is_told = False
        self._due = self._after(_FIRST_SECONDS)

    async def heed(self, session: Session) -> None:
        """Remove some where it is time, by one short statement, and more the next time where these were not all.

        What keeps from it disturbs nobody: it is tried again the next day, and a missing right is told once. To be
        called where it was looked just before for triggers of others on the table.
        """
        if self._clock() < self._due:
            return
        is_more = False
        try:
            is_more = await forget_events(session)
        except TidegateError as error:
            self._tell(session, error)
        if not is_more:
            self._due = self._after(_DAY_SECONDS)

    def _tell(self, session: Session, error: TidegateError) -> None:
        if error.reason == "privilege" and not self._is_told:
            self._is_told = True
            session.emit(JobEventsKept(grant_of_forgetting(session.control, session.role)))

    def _after(self, seconds: float) -> float:
        return self._clock() + seconds * (0.75 + self._jitter() / 2)
