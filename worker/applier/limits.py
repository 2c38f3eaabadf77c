"""The limits of a migration, apart from what enforces them, so that settings can be read without loading that."""

from enum import Enum

from worker.core.value import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a migration may wait and run, unless its file says otherwise.

    `lock_timeout_ms` and `statement_timeout_ms` are the server's, 0 for none; `lock_budget` is the number of seconds
    for which locks are waited for, and lock timeouts, deadlocks, serialization failures and attempts that blocked the
    application are retried; `advisory_timeout` is how long, in seconds, the advisory lock is waited for (None: for
    ever); `block_budget_ms` is how long an attempt may keep the application waiting, 0 for no limit; `batch` is how
    many migrations at most share one transaction.
    """

    lock_timeout_ms: int
    statement_timeout_ms: int
    lock_budget: float
    advisory_timeout: float | None
    block_budget_ms: int
    batch: int = 1


class Share(Enum):
    """How much of the lock budget a migration has: half, where a transaction that it shared had the other half."""

    WHOLE = 1.0
    HALF = 0.5
