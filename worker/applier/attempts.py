"""Sends a migration's messages: once, or, where only a whole new attempt can mend what went wrong, again."""

from collections.abc import Callable

import anyio
import asyncpg

from worker.applier.locate import failed
from worker.applier.messages import Message, Work
from worker.applier.send import send, start_anew
from worker.core.backoff import Backoff
from worker.core.events import MigrationRetried
from worker.core.script import Segment
from worker.postgres.faults import Fault, fault_of

_RETRY = Backoff(first=0.05, ceiling=5.0)


class Attempts:
    """The messages of one migration; `retries` and `lock_wait` (seconds) tell what the repeated ones came to."""

    def __init__(self, work: Work, budget: float) -> None:
        self.work = work
        self._session = work.held.session
        self._budget = budget
        self.retries = 0
        self.lock_wait = 0.0

    async def once(self, segment: Segment | None, message: Message) -> None:
        """Send a message that belongs to `segment`, None meaning that only our own records are in it.

        Raises:
            MigrationFailedError: The server refused it, and where.
        """
        try:
            await send(self.work.held, message.text)
        except asyncpg.PostgresError as error:
            raise await failed(self.work, segment, message, error) from error

    async def transact(self, segment: Segment | None, compose: Callable[[], Message]) -> None:
        """Send a whole transaction; lock timeouts, deadlocks and serialization failures are retried for the budget.

        It is composed anew each time, since it records how long the migration took.

        Raises:
            MigrationFailedError: The server refused it, and where; nothing of it was committed.
        """
        deadline = self._session.clock() + self._budget
        attempt = 0
        while True:
            began, message = self._session.clock(), compose()
            try:
                await send(self.work.held, message.text)
            except asyncpg.PostgresError as error:
                now = self._session.clock()
                if fault_of(error, self._session.conn) is not Fault.REPEATABLE or now >= deadline:
                    raise await failed(self.work, segment, message, error) from error
                attempt += 1
                self.lock_wait += now - began
                await self._pause(attempt, error, deadline - now)
                await start_anew(self.work.held, segment)
            else:
                return

    async def _pause(self, attempt: int, error: asyncpg.PostgresError, left: float) -> None:
        self.retries += 1
        delay = min(left, _RETRY.delay(attempt, self._session.jitter()))
        version = self.work.migration.version
        self._session.emit(MigrationRetried(version, error.sqlstate or "", self.retries, delay))
        await anyio.sleep(delay)
