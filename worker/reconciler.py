"""The long-running loop: look, decide, act; woken by NOTIFY, by a poll behind it, and by its own retries.

A notification is only a hint: every round reads the tables. Between rounds the worker holds no lock and no
transaction; its one working connection idles, so that a published bundle finds it open.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio

from worker.board import Board
from worker.core.backoff import Backoff
from worker.core.bundles.bundle import Bundle
from worker.core.events.event import Emitter, Event, Outcome
from worker.core.events.events import (
    DatabaseChanged,
    DatabaseRefused,
    DatabaseUnreachable,
    JobFailed,
    TargetPaused,
    WorkerWoken,
)
from worker.core.planning.reconcile import Insistence
from worker.core.value import dataclass
from worker.errors import (
    BundleError,
    InDoubtError,
    MigrationFailedError,
    NoDatabaseError,
    RefusedError,
    SettingError,
    TidegateError,
    TimedOutError,
)
from worker.jobs.bring import Sights, bring
from worker.jobs.drift import DriftWatch
from worker.jobs.look import Control, View, glance, glance_whole, look
from worker.jobs.readiness import is_settled
from worker.jobs.retention import Retention
from worker.jobs.site import Report, Request, Result, Site
from worker.jobs.status import panorama_of, target_status
from worker.jobs.warm import warm
from worker.postgres.connection import close
from worker.postgres.faults import FencedError, told
from worker.postgres.listener import listen
from worker.postgres.session import DrainedError, Session
from worker.postgres.survey import Survey

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

    from worker.core.status.drift import Verdict
    from worker.core.status.snapshot import Panorama, TargetStatus

_RETRY = Backoff(first=0.25, ceiling=15.0)
# A person mends these in the database, or a failover does, and the worker then goes on by itself with what it was
# started to offer.
_MENDED_IN_PLACE = frozenset(
    {"privilege", "owner", "setting", "dirty", "version_table", "diverged", "standby", "pooler"}
    | {"untrusted", "foreign_value"}
)
_FOR_A_PERSON = frozenset({"login", "no_such_database", "setting"})
# A secret that is rotated is wrong for a moment.
_PERSISTENT = 6
_PROBE_SECONDS = 30.0
_HINTS = Backoff(first=0.05, ceiling=2.0)
_PANORAMA_SECONDS = 60.0
# So many polls in a row only glance: the next one looks at rights, owners and triggers again.
_GLANCES = 2


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When a round comes without being woken: every `poll` seconds, in a random half of it.

    `drift` is how many seconds lie between two looks for drift, None for no look.
    """

    poll: float
    clock: Callable[[], float]
    jitter: Callable[[], float]
    drift: float | None = None


@dataclass(frozen=True, slots=True)
class Doors:
    """How the reconciler reaches the database: a session to work on, and a connection to listen on."""

    session: Callable[[], Awaitable[Session]]
    listener: "Callable[[], Awaitable[Connection[Record]]]"


class Reconciler:
    """Brings one target to what is wanted, for as long as it runs."""

    def __init__(self, doors: Doors, site: Site, offer: Bundle | None, board: Board, rhythm: Rhythm) -> None:
        self._doors = doors
        self._site = site
        self._offer = offer
        self._board = board
        self._rhythm = rhythm
        self._session: Session | None = None
        self._failures = 0
        self._refusals = 0
        self._told: str | None = None
        self._place: str | None = None
        self._known: dict[str, str] = {}
        self._panorama: Panorama | None = None
        self._panorama_of: tuple[object, ...] = ()
        self._panorama_at = float("-inf")
        self._hints = 0
        self._view: View | None = None
        self._is_done = False
        self._glances = 0
        self._warm: Connection[Record] | None = None
        self._draining = False
        self._verdict: Verdict | None = None
        self._drift = DriftWatch(rhythm.drift, rhythm.clock, rhythm.jitter)
        self._retention = Retention(rhythm.clock, rhythm.jitter)
        self._scope = anyio.CancelScope()
        self._wake, self._woken = anyio.create_memory_object_stream[str](1)

    async def run(self, channel: str, emit: Emitter) -> None:
        """Run until drained or cancelled; leaves no connection behind."""
        rhythm = self._rhythm
        hear = partial(
            listen, self._doors.listener, channel, self.wake, emit,
            clock=rhythm.clock, jitter=rhythm.jitter, probe_interval=_PROBE_SECONDS,
        )  # fmt: skip
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hear)
                with self._scope:
                    await self._rounds(emit)
                tasks.cancel_scope.cancel()
        finally:
            await self._hang_up()
            self._wake.close()
            self._woken.close()

    def wake(self, source: str) -> None:
        """Ask for a round soon; one that is asked for already is enough."""
        with suppress(anyio.WouldBlock, anyio.ClosedResourceError):
            self._wake.send_nowait(source)

    def drain(self) -> None:
        """Begin no further migration: the one that runs under the lock goes on, anything else ends now."""
        self._draining = True
        if self._board.holds_lock:
            self.wake("drain")
        else:
            self._scope.cancel()

    async def _rounds(self, emit: Emitter) -> None:
        source = "start"
        while not self._draining:
            emit(WorkerWoken(source))
            pause = await self._round(source, emit)
            source = "retry" if self._failures else "poll"
            with anyio.move_on_after(pause):
                source = await self._woken.receive()
            await self._weigh(source)

    async def _weigh(self, source: str) -> None:
        """Take a hint at once, but the next ones more and more slowly, as long as they come to nothing.

        Anybody may send one, at any rate, and each costs a look; what is sent meanwhile is one hint together.
        """
        self._hints = self._hints + 1 if source == "notify" else 0
        if self._hints > 1:
            await anyio.sleep(_HINTS.delay(self._hints - 1, self._rhythm.jitter()))

    async def _round(self, source: str, emit: Emitter) -> float:
        """One round; returns the seconds after which the next one comes by itself."""
        try:
            before, now = self._view, await self._glance(source)
            if now is None or source == "notify" or now != before:
                await self._reconcile(now if source == "notify" and now != before else None, emit)
            else:
                self._show(now)
            await self._look_around()
        except (NoDatabaseError, SettingError, FencedError, TimedOutError) as error:
            await self._hang_up()
            return self._tried_in_vain(error, emit)
        except (MigrationFailedError, RefusedError, InDoubtError, BundleError) as error:
            await self._stopped(error, emit)
        except DrainedError:
            return 0.0
        self._failures = self._refusals = 0
        return self._rhythm.poll * (0.5 + self._rhythm.jitter() / 2)

    async def _glance(self, source: str) -> View | None:
        """See what changed since the last whole look, if that found nothing to do and may still be relied upon.

        An offer that was refused and kept needs a whole one: it is published behind that.
        """
        before, session = self._view, self._session
        if self._offer is not None:
            return None
        if before is None or session is None or session.conn.is_closed() or not self._is_done:
            return None
        if source not in {"poll", "notify"} or (source == "poll" and self._glances >= _GLANCES):
            return None
        async with told(session, "looking at the target"):
            # What a notification brings is worked on: who may, and who could interfere, is asked with it.
            now = await (glance_whole if source == "notify" else glance)(session, self._site, before)
        self._glances += 1
        return now

    async def _reconcile(self, known: View | None, emit: Emitter) -> None:
        """Bring about what is wanted; where a glance showed news, it is the first look."""
        self._is_done, self._glances = False, 0
        session = await self._connected()
        async with told(session, "looking at the target"):
            request = Request(Insistence.ROUND, offer=self._offer)
            report = await bring(session, self._site, request, sights=Sights(partial(self._saw, session), known))
            self._offer = None
            self._board.settled()
            self._tell(report, emit)
        self._is_done = report.result is Result.UP_TO_DATE
        if self._is_done and known is None and self._may_write:
            await self._retention.heed(session)
        if report.result is Result.APPLIED:
            self._hints = 0
            # A migration can leave more in a session than a reset finds: the next job begins with a fresh one.
            await self._hang_up()

    async def _look_around(self) -> None:
        """Look again where a job has changed something, and read what is only shown, for which nobody waits.

        Whatever comes next then finds a session that has looked before: a new server process is slow at first. While
        the worker drains, nothing comes next.
        """
        if self._draining:
            return
        session = await self._connected()
        async with told(session, "looking at the target"):
            if self._board.is_stale:
                await self._look(session)
            if self._view is not None:
                await self._read_besides(session, self._view)
                self._board.read_besides(self._status(self._view))
                await self._warm_up(session, self._view)

    @property
    def _may_write(self) -> bool:
        return self._view is not None and self._view.survey.standing.may_write

    async def _warm_up(self, session: Session, view: View) -> None:
        # An older control schema lacks what some of the statements name, and who may not write has no use for them.
        is_apt = view.control is Control.CURRENT and self._may_write
        if self._warm is not session.conn and self._is_done and is_apt:
            await warm(session, self._site, view)
            self._warm = session.conn

    async def _look(self, session: Session) -> None:
        view = await look(session, self._site)
        self._is_done = is_settled(view, self._site)
        await self._saw(session, view)

    async def _saw(self, session: Session, view: View) -> None:
        """Put a view on the board; what is shown besides waits until the round is over, unless it is the first."""
        self._notice(session, view.survey)
        self._view, self._known = view, {"target": view.survey.target.name}
        if self._panorama is None:
            await self._read_besides(session, view)
        self._show(view)

    def _show(self, view: View) -> None:
        self._board.reached(self._status(view))

    def _status(self, view: View) -> "TargetStatus":
        return replace(target_status(view, self._panorama), drift=self._verdict)

    async def _read_besides(self, session: Session, view: View) -> None:
        """Read what is shown besides, where something changed, or it is old."""
        job, recorded = view.job, view.observation
        changes = (view.wanted, job, recorded.epoch, recorded.readiness, recorded.pinned, view.paused)
        now = self._rhythm.clock()
        if changes != self._panorama_of or now - self._panorama_at >= _PANORAMA_SECONDS:
            self._panorama = await panorama_of(session, view)
            self._panorama_of, self._panorama_at = changes, now
        self._verdict = await self._drift.look(session, view)

    def _notice(self, session: Session, seen: Survey) -> None:
        """Say so where another server answers than before, or the same one after a promotion or a recovery."""
        before, self._place = self._place, f"{seen.identity}, timeline {seen.timeline}"
        if before not in {None, self._place}:
            session.emit(DatabaseChanged(str(before), self._place))

    async def _stopped(self, error: TidegateError, emit: Emitter) -> None:
        """A person is needed; the job says so already if it came as far as having one."""
        if error.reason not in _MENDED_IN_PLACE:
            self._offer = None
        if error.message != self._told and not self._board.tells(error):
            refused = JobFailed(Outcome.REFUSED, error.reason, error.message, error.hint, 0, 0.0)
            emit.bind(**self._known)(refused)
        self._told = error.message
        await self._hang_up()
        try:
            await self._look_around()
        except TidegateError as again:
            self._board.unreachable(again.message)
            await self._hang_up()
        # The look says whether the old bundle is settled, not whether what was refused can be done by now: the next
        # round tries it again, whatever has it come.
        self._is_done = False

    def _tried_in_vain(self, error: TidegateError, emit: Emitter) -> float:
        self._failures += 1
        self._refusals = self._refusals + 1 if error.reason in _FOR_A_PERSON else 0
        delay = _RETRY.delay(self._failures, self._rhythm.jitter())
        if isinstance(error, FencedError):
            # Another worker was quicker, and has left something to do or not. Twice in a row is no race any more.
            return 0.0 if self._failures == 1 else delay
        self._board.unreachable(error.message)
        # The lock's own event told of a lock that was not free in time.
        if error.reason != "lock_timeout":
            emit(_lost(error, self._refusals, delay))
        return delay

    def _tell(self, report: Report, emit: Emitter) -> None:
        if report.why is not None and report.why != self._told:
            emit.bind(target=report.target.name)(TargetPaused(report.why))
        self._told = report.why

    async def _connected(self) -> Session:
        if self._session is None or self._session.conn.is_closed():
            self._session = replace(await self._doors.session(), draining=lambda: self._draining)
        return self._session

    async def _hang_up(self) -> None:
        session, self._session, self._view, self._warm = self._session, None, None, None
        if session is not None:
            await close(session.conn)
        self._board.released()


def _lost(error: TidegateError, refusals: int, delay: float) -> Event:
    """What to tell of a database that is away: a person is asked for only where waiting has not helped."""
    if refusals >= _PERSISTENT:
        return DatabaseRefused(error.message, error.hint, refusals, delay)
    return DatabaseUnreachable(error.message, delay)
