"""Tells migrations that ran together: asked for once for several messages, told while the next one is under way."""

from collections.abc import Sequence

from worker.applier.messages import Work
from worker.applier.run import Applier
from worker.applier.steps import durations_of, tell_done

_SECONDS = 0.25


class Telling:
    """What is applied and not told yet, in order; how long each took is read from the ledger."""

    def __init__(self, applier: Applier) -> None:
        self._applier = applier
        self._clock = applier.held.session.clock
        self._asked_at = self._clock()
        self._works: list[Work] = []
        self._durations: dict[int, float] = {}

    async def soon(self, works: Sequence[Work]) -> None:
        """Have these told, too; the ledger is asked now and then, in a round trip that the server idles in.

        Raises:
            ConnectionLostError: The connection broke.
        """
        self._works.extend(works)
        if self._clock() - self._asked_at >= _SECONDS:
            await self._ask()

    async def now(self, works: Sequence[Work] = ()) -> list[int]:
        """Tell everything, and these as far as they are applied; returns which of these are recorded.

        Raises:
            ConnectionLostError: The connection broke.
        """
        self._works.extend(works)
        if any(work.migration.version not in self._durations for work in self._works):
            await self._ask()
        recorded = [work.migration.version for work in works if work.migration.version in self._durations]
        self.tell()
        self._works.clear()
        return recorded

    def tell(self) -> None:
        """Tell those that the ledger was asked for."""
        if not self._durations:
            return
        tell_done(self._applier.held.session.emit, self._works, self._durations)
        self._works = [work for work in self._works if work.migration.version not in self._durations]
        self._durations.clear()

    async def _ask(self) -> None:
        self._durations.update(await durations_of(self._applier, self._works))
        self._asked_at = self._clock()
