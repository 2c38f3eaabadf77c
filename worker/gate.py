"""The gate: waits until a target is ready for what an application requires, and says what it waits for.

It opens on the readiness row alone, which is all that its role need read. The session idles outside any transaction,
where it holds no snapshot that a concurrent index build would wait for.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import Enum
from typing import TYPE_CHECKING

import asyncpg

from worker.core.backoff import Backoff
from worker.core.bundles.bundle import Bundle
from worker.core.duration import format_duration
from worker.core.events.event import Emitter
from worker.core.events.events import GateFound, GateOpened, GateWaiting
from worker.core.planning.job import SETTLED
from worker.core.planning.readiness import (
    Identity,
    NotReady,
    OfDirectory,
    Readiness,
    Ready,
    Requirement,
    Verdict,
    Why,
    judge,
    required_versions,
)
from worker.core.target import quote_identifier
from worker.core.value import dataclass, replace
from worker.errors import JobFailedError, NoDatabaseError, RefusedError, TimedOutError, UsageError
from worker.postgres.connection import FAREWELL_S, closing
from worker.postgres.faults import Fault, fault_of, message_of
from worker.postgres.surroundings import Surroundings, read_job, read_surroundings
from worker.postgres.target_half import read_readiness

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

Asking = Callable[["Connection[Record]"], AbstractAsyncContextManager[None]]
"""How a gate asks its server something."""

POLL_SECONDS = 2.0
"""The longest pause between two looks; a notification makes it shorter, and none is relied upon."""

REMIND_SECONDS = 30.0
"""A reason that does not change is said again after so long."""

LOOK_SECONDS = 10.0
"""A look without an answer for so long means that the connection is dead."""

# undefined_table, invalid_schema_name, insufficient_privilege
_NOT_THERE = frozenset({"42P01", "3F000", "42501"})
_RECONNECT = Backoff(first=0.25, ceiling=POLL_SECONDS)
_HINTS = Backoff(first=0.05, ceiling=1.0)


class OnFailure(Enum):
    """What a failed job means to a wait: a worker may retry it, or nobody will."""

    WAIT = "wait"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Gate:
    """What is waited for, and where.

    `connect` opens a connection for `Purpose.GATE`, and reads its parameters each time. `target` None is the only
    target of the database. `timeout` is in seconds, None waits for ever and 0 looks once; `poll` is at most
    `POLL_SECONDS`. `clock` gives monotonic seconds, `jitter` numbers in [0, 1).
    """

    connect: "Callable[[], Awaitable[Connection[Record]]]"
    control: str
    requirement: Requirement
    target: str | None
    timeout: float | None
    on_failure: OnFailure
    emit: Emitter
    clock: Callable[[], float]
    jitter: Callable[[], float]
    poll: float = POLL_SECONDS


@dataclass(frozen=True, slots=True)
class Unmet:
    """Why the gate is closed: a stable word, one line, and what a person can do about it."""

    why: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


def directory_requirement(bundle: Bundle, source: str) -> OfDirectory:
    """Require every migration of a directory that does not say `gate=off`; `source` is its path, for messages."""
    return OfDirectory(required_versions(bundle.migrations), source)


async def wait(gate: Gate) -> None:
    """Return once the requirement is met; no connection is left behind.

    Raises:
        TimedOutError: The time is up; the message holds the last reason.
        JobFailedError: The job of the wanted bundle failed, and that is to end the wait.
        UsageError: The database has several targets, and none was named; or a setting cannot work.
        RefusedError: A pooler refuses the connection's options.
    """
    waiting = _Waiting(gate)
    is_open = await waiting.once() if gate.timeout == 0 else await waiting.until_open()
    if not is_open:
        raise waiting.timed_out()
    requirement, waited = str(gate.requirement), gate.clock() - waiting.began
    gate.emit(GateOpened(requirement, waited) if waiting.was_held else GateFound(requirement))


class _Waiting:
    """One wait: looks, tells why the gate is closed, and remembers what it told."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._told: Unmet | None = None
        self._told_at = 0.0
        self.began = gate.clock()

    @property
    def was_held(self) -> bool:
        """Whether anything was to be waited for."""
        return self._told is not None

    async def once(self) -> bool:
        """Look once; only connecting and an answer have limits of their own."""
        return await self._attend(self._is_open)

    async def until_open(self) -> bool:
        """Look until the gate is open or the time is up, over as many connections as it takes."""
        # asyncio's own limit: a gate that is open at the first look does without anyio, which is slow to load.
        limit = asyncio.timeout(self._gate.timeout)
        try:
            async with limit:
                await self._until_open()
        except TimeoutError:
            if not limit.expired():
                raise
        return not limit.expired()

    async def _until_open(self) -> None:
        failures = 0
        while not await self._attend(self._watch):
            failures += 1
            await asyncio.sleep(min(self._gate.poll, _RECONNECT.delay(failures, self._gate.jitter())))

    def timed_out(self) -> TimedOutError:
        """The error for the time being up."""
        requirement, timeout = self._gate.requirement, self._gate.timeout
        reason = self._told or Unmet("no_answer", "the database has not answered yet")
        if not timeout:
            return TimedOutError(f"{requirement} is not ready: {reason.message}", hint=reason.hint)
        waited = format_duration(round(timeout * 1000))
        return TimedOutError(f"waited {waited} for {requirement}: {reason.message}", hint=reason.hint)

    async def _attend(self, work: "Callable[[Connection[Record]], Awaitable[bool]]") -> bool:
        """Connect and do `work`; a database that cannot be had, or is lost, is a reason to wait."""
        try:
            conn = await self._gate.connect()
        except (NoDatabaseError, RefusedError) as error:
            if error.reason == "pooler":
                raise
            self._tell(Unmet(error.reason, error.message, error.hint))
            return False
        try:
            async with closing(conn, FAREWELL_S):
                return await work(conn)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._tell(_lost(error))
            return False

    async def _watch(self, conn: "Connection[Record]") -> bool:
        """Return once the gate is open: after a look, or a LISTEN where it works, and looks at every wake."""
        return await self._is_open(conn) or await self._listen(conn)

    async def _listen(self, conn: "Connection[Record]") -> bool:
        import anyio  # noqa: PLC0415  slow to load, and a gate that is open at the first look does without

        from worker.postgres.listener import Bell, subscribe  # noqa: PLC0415  the same
        from worker.postgres.statements import keep  # noqa: PLC0415  the same

        bell = Bell()
        async with _asking(conn):
            around = await read_surroundings(conn, self._gate.control)
        asking: Asking = _asking
        if around.hears:
            with anyio.fail_after(LOOK_SECONDS):
                await subscribe(conn, f"{self._gate.control}_ready", bell.ring, bell.ring)
            # It is the server itself: the look at which the gate opens is one round trip of a statement that it knows.
            asking = _asking_directly
            keep(conn)
        # The row may have come between the first look and LISTEN, so the next look is not put off.
        hints = 0
        while not await self._is_open(conn, asking):
            with anyio.move_on_after(self._gate.poll * (0.75 + self._gate.jitter() / 4)) as polled:
                await bell.heard()
            # Anybody may ring, at any rate, and each look costs: the more often it was for nothing, the later the next.
            hints = 0 if polled.cancelled_caught else hints + 1
            if hints > 1:
                await anyio.sleep(_HINTS.delay(hints - 1, self._gate.jitter()))
        return True

    async def _is_open(self, conn: "Connection[Record]", asking: Asking | None = None) -> bool:
        """Look, and tell why the gate is closed where it is."""
        reason = await look(conn, self._gate, asking)
        if reason is not None:
            self._tell(reason)
        return reason is None

    def _tell(self, reason: Unmet) -> None:
        now = self._gate.clock()
        if reason != self._told or now - self._told_at >= REMIND_SECONDS:
            self._told, self._told_at = reason, now
            self._gate.emit(GateWaiting(str(self._gate.requirement), reason.why, str(reason)))


async def look(conn: "Connection[Record]", gate: Gate, asking: Asking | None = None) -> Unmet | None:
    """Read the row and say why the gate is closed, or None where it is open; it is asked in a transaction by default.

    Raises:
        JobFailedError: The job failed, and that is to end the wait.
        UsageError: There are several targets, and none was named.
        asyncpg.PostgresError: The connection is lost, or the server has dropped a statement that was kept on it.
    """
    try:
        async with (asking or _asking)(conn):
            rows = await read_readiness(conn, gate.control, gate.target)
    except RefusedError as error:
        return Unmet(error.reason, error.message, error.hint)
    except asyncpg.InvalidSQLStatementNameError:
        # Each look on this connection would fail like this one.
        raise
    except asyncpg.PostgresError as error:
        if fault_of(error, conn) is Fault.CONNECTION_LOST:
            raise
        return await _refused(conn, gate, error)
    if gate.target is None and len(rows) > 1:
        names = ", ".join(sorted(name for name, _, _ in rows))
        raise UsageError(f"this database has {len(rows)} targets: {names}", hint="name the one that is meant")
    verdict = _verdict(rows, gate.requirement)
    if isinstance(verdict, Ready):
        return None
    return await _with_job(conn, gate, Unmet(verdict.why.value, verdict.message))


def _verdict(rows: tuple[tuple[str, Readiness, Identity], ...], requirement: Requirement) -> Verdict:
    if not rows:
        return NotReady(Why.NO_ROW, "the target has no readiness row yet")
    _, row, here = rows[0]
    return judge(requirement, row, here)


async def _refused(conn: "Connection[Record]", gate: Gate, error: asyncpg.PostgresError) -> Unmet:
    if error.sqlstate in _NOT_THERE:
        async with _asking(conn):
            reason = lacking(await read_surroundings(conn, gate.control), gate.control)
        if reason is not None:
            return reason
    return Unmet("database", f"readiness cannot be read: {message_of(error)} [{error.sqlstate}]")


def lacking(around: Surroundings, control: str) -> Unmet | None:
    """Say what keeps the role from the readiness row: no schema, no table, or a grant; None for nothing."""
    if not around.has_schema:
        return Unmet("no_schema", f"the control schema {control} is not there yet")
    schema, role = quote_identifier(control), quote_identifier(around.role)
    if not around.may_use_schema:
        grant = f"GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON {schema}.readiness TO {role};"
        return Unmet("privilege", f"role {around.role} may not use the schema {control}", f"run as its owner: {grant}")
    if not around.has_readiness:
        return Unmet("no_table", f"the table {control}.readiness is not there yet")
    if not around.may_read_readiness:
        grant = f"GRANT SELECT ON {schema}.readiness TO {role};"
        return Unmet("privilege", f"role {around.role} may not read {control}.readiness", f"run as its owner: {grant}")
    return None


async def _with_job(conn: "Connection[Record]", gate: Gate, reason: Unmet) -> Unmet:
    """Add what the job of the wanted bundle says, where the role may read it."""
    async with _asking(conn):
        around = await read_surroundings(conn, gate.control)
        job = await read_job(conn, gate.control, gate.target) if around.may_read_jobs else None
    if job is not None and job.state in SETTLED:
        words = f"the job for bundle {job.bundle} is {job.state.value}: {job.message or 'no message'}"
        if gate.on_failure is OnFailure.FAIL:
            raise JobFailedError(f"{reason.message}; {words}", hint="see the worker's log, then `tidegate retry`")
        return Unmet("job_failed", f"{reason.message}; {words}")
    if gate.on_failure is OnFailure.FAIL and not around.may_read_jobs:
        return replace(
            reason, hint=f"a failed job would not be seen: role {around.role} may not read {gate.control}.job"
        )
    return reason


@asynccontextmanager
async def _asking(conn: "Connection[Record]") -> AsyncIterator[None]:
    """Ask in a short transaction: through a pooler, a query's messages would else reach several server processes."""
    transaction = conn.transaction(isolation="read_committed", readonly=True)
    async with asyncio.timeout(LOOK_SECONDS):
        try:
            await transaction.start()
            yield
            await transaction.commit()
        except asyncpg.PostgresError:
            if not conn.is_closed():
                await transaction.rollback()
            raise
        except BaseException:
            # A cancelled query may have no answer for ever, and a rollback would wait for it.
            conn.terminate()
            raise


@asynccontextmanager
async def _asking_directly(conn: "Connection[Record]") -> AsyncIterator[None]:
    """Ask without a transaction, where no pooler stands in between."""
    async with asyncio.timeout(LOOK_SECONDS):
        try:
            yield
        except asyncpg.PostgresError:
            raise
        except BaseException:
            # As above: there may be no answer for ever.
            conn.terminate()
            raise


def _lost(error: BaseException) -> Unmet:
    if isinstance(error, TimeoutError):
        return Unmet("connection_lost", f"the database did not answer within {LOOK_SECONDS:g} s")
    if isinstance(error, asyncpg.InvalidSQLStatementNameError):
        return Unmet("connection_lost", "the server has dropped what was prepared on the connection")
    return Unmet("connection_lost", "the connection to the database was lost")
