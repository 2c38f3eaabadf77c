"""The composition root: settings become connections, a site and an emitter."""

import asyncio
import os
import random
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

from worker.applier.limits import Limits
from worker.bundles.directory import local_path, read_directory
from worker.bundles.keys import read_trusted
from worker.bundles.trust import Terms, Trust
from worker.core.backoff import Backoff
from worker.core.bundles.bundle import Bundle, Vet, unsealed
from worker.core.bundles.trust import Policy
from worker.core.checkpoint import Checkpoint, pass_by
from worker.core.events.event import Context, Emitter, Event, Level, Sink
from worker.core.status.sighting import Sighting, overlook
from worker.errors import BundleError, NoDatabaseError, TidegateError, UsageError
from worker.jobs.site import Rivals, Site
from worker.postgres.connection import Purpose, check_session, closing, connect
from worker.postgres.faults import ConnectionLostError, FencedError
from worker.postgres.session import Session, unsaid
from worker.settings.reading import read_settings, require_database

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

    from worker.cli.arguments import Flags
    from worker.core.planning.readiness import Readiness
    from worker.core.status.masking import Mask
    from worker.log import LogSink, Secret
    from worker.settings.values import Settings

_T = TypeVar("_T")
_AGAIN = Backoff(first=0.2, ceiling=3.0)
_ATTEMPTS = 6
_NO_LIMIT_SECONDS = 10.0 * 365 * 24 * 3600


class App:
    """Everything that a verb needs, made of the settings when it is asked for.

    `passing` is called at each checkpoint of a run; no setting reaches it. `sighted` is told what is seen of a
    migration while it runs, `stated` a readiness row that was written.
    """

    passing: Callable[[Checkpoint], None] = staticmethod(pass_by)
    sighted: Callable[[Sighting], None] = staticmethod(overlook)
    stated: "Callable[[str, Readiness], None]" = staticmethod(unsaid)

    def __init__(self, flags: "Flags") -> None:
        self.settings: Settings = read_settings(os.environ, flags.settings, worker=_worker_name())
        self.extra_sinks: tuple[Sink, ...] = ()

    @cached_property
    def log(self) -> "LogSink":
        """The log on standard error."""
        from worker.log import LogFormat, log_sink  # noqa: PLC0415  most commands that find nothing to do say nothing

        log = self.settings.log
        return log_sink(
            stream=sys.stderr,
            log_format=LogFormat(log.format.value),
            level=Level(log.level.value),
            worker=self.settings.worker,
            secrets=self.secrets(),
        )

    def _log(self, event: Event, context: Context) -> None:
        self.log(event, context)

    def secrets(self) -> "tuple[Secret, ...]":
        """Every password that a connection was or will be made with; one in a file is read at each line."""
        from worker.cli.secrets import secrets_of  # noqa: PLC0415  most commands that find nothing to do say nothing

        return secrets_of(self.settings)

    @cached_property
    def mask(self) -> "Mask":
        """Takes those secrets out of a text that is shown."""
        from worker.log import Redactor  # noqa: PLC0415  most commands that find nothing to do say nothing

        return Redactor(self.secrets()).mask

    @cached_property
    def emit(self) -> Emitter:
        """Hands events to the log and to whatever the verb added."""
        return Emitter((self._log, *self.extra_sinks))

    @property
    def gate_target(self) -> str | None:
        """What the readiness row of the target is called, None where no fleet says so."""
        return None

    async def moved(self) -> None:
        """A person brought the target elsewhere; a fleet has to be told."""

    @cached_property
    def site(self) -> Site:
        """The target that the settings name."""
        target, limits = self.settings.target, self.settings.limits
        return Site(
            schema=target.version_table.schema,
            table=target.version_table.table,
            line=target.line,
            order=target.order,
            readers=self.settings.control.readers,
            rivals=Rivals.IGNORE if target.new_table else Rivals.REFUSE,
            limits=Limits(
                lock_timeout_ms=limits.lock_ms or 0,
                statement_timeout_ms=limits.statement_ms or 0,
                lock_budget=_NO_LIMIT_SECONDS if limits.lock_budget_ms is None else limits.lock_budget_ms / 1000,
                advisory_timeout=None if limits.advisory_ms is None else limits.advisory_ms / 1000,
                block_budget_ms=limits.block_budget_ms or 0,
                batch=target.batch,
            ),
            trust=self.trust,
        )

    @cached_property
    def trust(self) -> Trust:
        """Whom the settings trust; the keys are read whenever they are needed, so that they can be changed."""
        return self.trust_under(self.settings.trust.policy)

    def trust_under(self, policy: Policy) -> Trust:
        """The same under another policy."""
        said = self.settings.trust
        terms = Terms(policy, said.audience or "", self.settings.target.line, said.min_sequence)
        return Trust(terms, partial(read_trusted, said.keys), time.time, self._doubt)

    def _doubt(self, why: str) -> None:
        from worker.core.events.events import BundleDoubted  # noqa: PLC0415  only where there is one

        self.emit(BundleDoubted(why))

    def source(self) -> Bundle | None:
        """The directory that was given, read now, if it is trusted."""
        self.trust.ready()
        source = self.settings.target.source
        if source is None:
            return None
        bundle = self.read(source, "source", self.settings.target.label, self.trust.vet)
        self.trust.offered(bundle)
        return bundle

    def read(self, path: str, setting: str, label: str | None = None, vet: Vet = unsealed) -> Bundle:
        """Read the directory that a setting names.

        Raises:
            BundleError: It holds no usable bundle; names the flag or the variable too.
        """
        try:
            return read_directory(local_path(path), label, vet)
        except BundleError as error:
            origin = next(each.origin for each in self.settings.in_force if each.name == setting)
            raise BundleError(f"{origin}: {error.message}", hint=error.hint) from error

    def required_source(self) -> Bundle:
        """The directory that was given, read now.

        Raises:
            UsageError: None was given.
        """
        bundle = self.source()
        if bundle is None:
            raise UsageError("no directory of migrations was given", hint="say --source DIR, or set DB_SCHEMA_DIR")
        return bundle

    async def connect(self, purpose: Purpose) -> "Connection[Record]":
        """Open a connection; what lies in files is read again."""
        database = require_database(self.settings)
        params = (database.waiting if purpose is Purpose.GATE else database.migrating).read()
        name = f"tidegate {purpose.value} {self.settings.worker}"[:63]
        return await connect(params, purpose, application_name=name)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A session on a connection of its own, on a server where migrating is safe."""
        async with closing(await self.connect(Purpose.MIGRATE)) as conn:
            yield await self.open_session(conn)

    async def open_session(self, conn: "Connection[Record]") -> Session:
        """Make a session of a connection, once it is known to be safe."""
        params = require_database(self.settings).migrating.read()
        role = await check_session(conn, params)
        control, worker = self.settings.control.schema, self.settings.worker
        second = partial(self.connect, Purpose.CONTROL)
        return Session(
            conn, control, worker, role, self.emit, time.monotonic, random.random,
            second=second, passing=self.passing, sighted=self.sighted, stated=self.stated,
        )  # fmt: skip

    async def with_session(self, work: Callable[[Session], Awaitable[_T]]) -> _T:
        """Do `work` on a session; after a lost connection or a takeover, look again on another one.

        Raises:
            NoDatabaseError: The database cannot be reached, or was lost too often.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                async with self.session() as session:
                    return await work(session)
            except (ConnectionLostError, FencedError):
                if attempt == _ATTEMPTS:
                    raise
            except NoDatabaseError:
                # A server that was there a moment ago is likely to be back in another one.
                if attempt in {1, _ATTEMPTS}:
                    raise
            await asyncio.sleep(_AGAIN.delay(attempt, random.random()))  # noqa: S311  jitter, not a secret


def masking(flags: "Flags") -> Callable[[str], str]:
    """What masks the secrets of these flags and of the environment in a text; settings in error have none."""
    try:
        return App(flags).mask
    except TidegateError:
        return str


def _worker_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"
