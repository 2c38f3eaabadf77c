"""Who waits for whom around a migration, for how long, and what to say where that was too long."""

from enum import Enum

from worker.core.duration import format_duration
from worker.core.value import dataclass


class Kind(Enum):
    """What a migration can wait for."""

    CLIENT = "client"
    AUTOVACUUM = "autovacuum"
    WRAPAROUND = "autovacuum to prevent wraparound"
    PREPARED = "prepared transaction"


@dataclass(frozen=True, slots=True)
class Blocker:
    """Whom a migration waits for; `state` and `since`, when its transaction began, can be `unknown`.

    `query_seconds` is how long ago it began what it runs, or ran last. A role without pg_read_all_stats sees none of
    the three of another role's session.
    """

    pid: int
    kind: Kind
    role: str
    application: str
    state: str
    since: str
    query_seconds: float | None = None

    def __str__(self) -> str:
        match self.kind:
            case Kind.CLIENT:
                who = f"role {self.role}, application {self.application or 'unnamed'}, backend {self.pid}"
                return f"{who}, {self.state}, in a transaction since {self.since}"
            case Kind.PREPARED:
                return "a prepared transaction"
            case Kind.AUTOVACUUM | Kind.WRAPAROUND:
                return f"an {self.kind.value}, backend {self.pid}"

    @property
    def remedy(self) -> str:
        """What a person can do about it."""
        match self.kind:
            case Kind.CLIENT:
                return f"let it end, or end it with SELECT pg_terminate_backend({self.pid})"
            case Kind.PREPARED:
                return "find it in pg_prepared_xacts, and say COMMIT PREPARED or ROLLBACK PREPARED"
            case Kind.WRAPAROUND:
                return "let it finish: the server does not let it give way"
            case Kind.AUTOVACUUM:
                return "let it finish"


@dataclass(frozen=True, slots=True)
class Waiter:
    """A session of the application that waits behind a migration, for so many seconds by now."""

    pid: int
    role: str
    application: str
    seconds: float

    def __str__(self) -> str:
        return f"role {self.role}, application {self.application or 'unnamed'}, backend {self.pid}"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time that goes on without a break from one look to the next, in seconds; `total` is of those that ended."""

    total: float = 0.0
    since: float | None = None
    until: float = 0.0

    @property
    def length(self) -> float:
        """How long it has gone on; 0 while it does not."""
        return 0.0 if self.since is None else self.until - self.since

    def seen(self, now: float, began: float | None) -> "Stretch":
        """What another look makes of it: it goes on, having begun at `began` at the latest, or, for None, does not."""
        if began is None:
            return Stretch(self.total + self.length)
        return Stretch(self.total, began if self.since is None else self.since, now)

    def ended(self, now: float) -> float:
        """Seconds in all, if what went on at the last look went on until `now`."""
        return self.total if self.since is None else self.total + now - self.since


class Overrun(Enum):
    """Why a statement is cancelled."""

    APP_BLOCKED = "app_blocked"
    WAITED = "waited"


@dataclass(frozen=True, slots=True)
class Allowance:
    """How long, in seconds, one message may keep the application waiting, and wait for others; None is for ever."""

    blocking: float | None = None
    waiting: float | None = None

    def overrun(self, blocked: Stretch, waits: Stretch) -> Overrun | None:
        """What it has overrun, if anything."""
        if self.blocking is not None and blocked.length > self.blocking:
            return Overrun.APP_BLOCKED
        if self.waiting is not None and waits.length > self.waiting:
            return Overrun.WAITED
        return None


Words = tuple[str, str]
"""A message and a hint."""


def never_free(blocker: Blocker | None, budget: float, attempts: int, left: str) -> Words:
    """Say that a lock was not to be had for `budget` seconds, and how that `left` the database."""
    who = "nobody saw by whom" if blocker is None else f"it is held by {blocker}"
    remedy = "look at pg_locks for who holds it" if blocker is None else blocker.remedy
    message = f"a lock was not to be had within {_duration(budget)}, in {_times(attempts)}: {who}; {left}"
    return message, f"{remedy}; then tidegate retry or up; TIDEGATE_LOCK_BUDGET says for how long to try"


def kept_waiting(waiter: Waiter | None, seconds: float, limit: float, attempts: int, left: str) -> Words:
    """Say that a migration made the application wait for too long each time, and how that `left` the database."""
    who = "somebody" if waiter is None else str(waiter)
    message = (
        f"it kept the application waiting for {seconds:.1f} s ({who}), and {_duration(limit)} is the limit; "
        f"it was cancelled in {_times(attempts)}, and {left}"
    )
    hint = (
        "run it when the application is quiet, or cut it into smaller steps, and then tidegate retry or up; "
        "TIDEGATE_BLOCK_BUDGET, or block_budget in the file, is the limit"
    )
    return message, hint


def stopped(statement_ms: int, seconds: float) -> Words:
    """Say why the server cancelled a statement of an attempt that took so many seconds."""
    if statement_ms and seconds * 1000 >= statement_ms:
        return (
            f"a statement ran for longer than the {format_duration(statement_ms)} that it may",
            "TIDEGATE_STATEMENT_TIMEOUT, or statement_timeout in the file, says how long; then tidegate retry or up",
        )
    return "somebody cancelled it, with pg_cancel_backend() or the like", "tidegate retry or up tries it again"


def _times(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"


def _duration(seconds: float) -> str:
    return format_duration(round(seconds * 1000))
