"""A fleet on the command line: its file, how its databases are reached, and the summary of what came of it."""

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from worker.board import Board
from worker.cli.app import App
from worker.cli.fleet_summary import LIMIT, Summary, print_summary
from worker.core.bundles.bundle import Bundle
from worker.core.bundles.wanted import Intent, Kept, KeptBecause, PublishDecision
from worker.core.connecting.dsn import ConnectionParams, LiteralPassword, parse_dsn
from worker.core.events.event import Outcome
from worker.core.events.events import JobFailed
from worker.core.fleet.declared import Fleet, Group, Reference
from worker.core.fleet.file import read_fleet
from worker.errors import ExitCode, RefusedError, SettingError, UsageError
from worker.fleet.home import HomeSeat, Opening
from worker.fleet.terms import Doors, Terms, Until
from worker.fleet.terms import Path as NamePath
from worker.fleet.worker import FleetWorker
from worker.jobs.offer import publish_to_line
from worker.jobs.roster import Place, Server
from worker.jobs.site import Drift, Rivals, Site
from worker.postgres.connection import Purpose, check_session, close, connect
from worker.postgres.fleet import FleetHalf, knows_fleets
from worker.postgres.listener import listen
from worker.postgres.password import read_secret_file
from worker.postgres.session import Session
from worker.settings.reading import require_database
from worker.settings.source import Source, UrlFile

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

_MAX_BYTES = 64 * 1024 * 1024
PROBE_SECONDS = 30.0


class FleetApp:
    """What the verbs need of a fleet, made of the settings."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._path = app.settings.fleet or ""
        self.origin = next(each.origin for each in app.settings.in_force if each.name == "fleet")
        self._home = require_database(app.settings).migrating

    def read(self) -> Fleet:
        """The fleet's file, read now.

        Raises:
            SettingError: It cannot be read, or is no fleet's file.
        """
        try:
            with Path(self._path).open("rb") as file:
                text = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise SettingError(
                f"{self.origin}: {self._path} cannot be read: {error.strerror}", hint="it takes a TOML file"
            ) from error
        if len(text) > _MAX_BYTES:
            raise SettingError(f"{self.origin}: {self._path} is larger than {_MAX_BYTES} bytes", hint="use queries")
        return read_fleet(text, self._path)

    @property
    def site(self) -> Site:
        """The site that each target's is made from: other version tables of one database are no rivals there."""
        return replace(self._app.site, rivals=Rivals.IGNORE, drift=Drift.IGNORED)

    def worker(self, fleet: Fleet, until: Until, opening: Opening, names: tuple[str, ...] | None = None) -> FleetWorker:
        """A worker for the fleet."""
        poll = self._app.settings.limits.poll_ms / 1000
        terms = Terms(fleet, self._path, self.site, until, names, poll, time.monotonic, random.random)
        return FleetWorker(Doors(self.home, self._target, self._server), terms, self._app.emit, opening)

    async def summary(self, fleet: Fleet) -> Summary:
        """How the fleet stands, by the home half alone.

        Raises:
            RefusedError: It knows of no fleet.
        """
        async with self._app.session() as session:
            half = await known_half(session)
            return Summary(await half.counts(fleet.sources), await half.troubled(fleet.sources, LIMIT))

    async def home(self) -> Session:
        """A session on the home half."""
        conn = await self._app.connect(Purpose.MIGRATE)
        try:
            return await self._app.open_session(conn)
        except BaseException:
            conn.terminate()
            raise

    def _server(self, group: Group) -> Server:
        """Where a group's databases lie; what lies in files is read again."""
        read = self._read(group)
        params, home = read(), self._home.read()
        own, at_home = _database(params), _database(home)

        def called(database: str) -> str:
            return "" if group.reference is None and database == at_home else group.called(database)

        async def plain(database: str) -> "Connection[Record]":
            name = f"tidegate fleet {self._app.settings.worker}"[:63]
            return await connect(replace(read(), database=database), Purpose.MIGRATE, application_name=name)

        key = ",".join(map(str, params.addresses))
        return Server(key, own, called, plain, read)

    def _read(self, group: Group) -> Callable[[], ConnectionParams]:
        if group.reference is None:
            return self._home.read
        return _source(group.reference, group.place, self._home).read

    async def _target(self, place: Place, path: NamePath) -> Session:
        """A session on a target's database, with one on the home half beside it where that lies elsewhere."""
        session = await self._open(place, path)
        if place.is_home:
            return session
        try:
            home = await self.home()
        except BaseException:
            await close(session.conn)
            raise
        return replace(session, home=home.conn)

    async def _open(self, place: Place, path: NamePath) -> Session:
        params = replace(place.server.params(), database=place.database)
        if path is NamePath.SAID:
            # What a migration resets its own search_path to: it then fails rather than hit another schema.
            params = replace(params, server_settings=(*params.server_settings, ("search_path", "")))
        app, name = self._app, f"tidegate migrate {self._app.settings.worker}"[:63]
        conn = await connect(params, Purpose.MIGRATE, application_name=name)
        try:
            role = await check_session(conn, params)
        except BaseException:
            conn.terminate()
            raise
        second = partial(
            connect, params, Purpose.CONTROL, application_name=f"tidegate control {app.settings.worker}"[:63]
        )
        return Session(
            conn, app.settings.control.schema, app.settings.worker, role, app.emit, time.monotonic, random.random,
            second=second, passing=app.passing,
        )  # fmt: skip


def _database(params: ConnectionParams) -> str:
    return params.database or params.user or os.environ.get("USER", "")


def _source(reference: Reference, place: str, home: Source) -> Source:
    """Where a group's connection string is.

    Raises:
        SettingError: The variable is not set, the file cannot be read, or the URL holds a password.
    """
    options, timeout = home.options, home.connect_timeout_ms
    match reference.kind:
        case "env":
            text = os.environ.get(reference.value)
            if not text:
                raise SettingError(f"{place}: {reference.value} is not set", hint="set it to a Postgres URL")
            return Source(parse_dsn(text, reference.value), options, timeout)
        case "file":
            read_secret_file(reference.value, place)
            return Source(UrlFile(place, reference.value), options, timeout)
        case _:
            dsn = parse_dsn(reference.value, f"{place}, database")
            if isinstance(dsn.params.password, LiteralPassword):
                raise SettingError(
                    f"{place}: the database's URL holds a password",
                    hint='a fleet\'s file holds no secrets: write database = { env = "NAME" } or { file = "/path" }',
                )
            return Source(dsn, options, timeout)


async def up(app: App, names: tuple[str, ...] | None, *, as_json: bool) -> ExitCode:
    """Bring all targets of the fleet to what is wanted, once, and say what came of it.

    Raises:
        UsageError: A target was named that the fleet does not have.
        RefusedError: The directory is not what a line may be led to.
    """
    own = FleetApp(app)
    fleet, bundle = own.read(), app.source()

    async def begin(half: HomeSeat) -> None:
        await check_names(half, fleet.sources, names)
        if bundle is not None:
            for line in fleet.lines:
                _check_kept(await publish_to_line(half.session, own.site, line, bundle, Intent.AUTOMATIC), line, bundle)
        await half.retry(fleet.sources, names)

    worker = own.worker(fleet, Until.DONE, begin, names)
    await worker.run()
    wrong = tuple((group.place, error) for group, error in worker.wrong)
    summary = replace(
        await own.summary(fleet), wrong=wrong, applied=worker.slots.applied, migrations=worker.slots.migrations
    )
    print_summary(summary, as_json=as_json)
    return summary.exit_code


async def check_names(half: FleetHalf, sources: Sequence[str], names: Sequence[str] | None) -> None:
    """Refuse names that are no targets of the fleet.

    Raises:
        UsageError: One of them is not; names it.
    """
    if names is None:
        return
    known = await half.named(sources, names)
    for name in names:
        if name not in known:
            raise UsageError(f"--target {name}: the fleet has no such target", hint="see tidegate status --fleet")


def _check_kept(decision: PublishDecision, line: str, bundle: Bundle) -> None:
    """Refuse a directory that the line is not led to; an older one changes nothing, and what is wanted is applied."""
    if isinstance(decision, Kept) and decision.because is not KeptBecause.OLDER:
        raise RefusedError(
            f"the line {line} is not led to bundle {bundle.label}, which is {decision.because.value.replace('_', ' ')}",
            hint="tidegate publish says that it is meant, for each line",
            reason="diverged",
        )


async def known_half(session: Session) -> FleetHalf:
    """The fleet's part of the home half.

    Raises:
        RefusedError: The control schema is not there, or older than fleets.
    """
    if not await knows_fleets(session):
        raise RefusedError(
            f"the control schema {session.control} knows of no fleet",
            hint="tidegate up --fleet, or tidegate admin upgrade, brings it up to that",
            reason="control_schema",
        )
    return FleetHalf(session)


async def status(app: App, *, as_json: bool) -> ExitCode:
    """Say how the fleet stands, by the home half alone; nothing is written."""
    own = FleetApp(app)
    print_summary(await own.summary(own.read()), as_json=as_json)
    return ExitCode.OK


async def steer(app: App, verb: str, names: tuple[str, ...] | None) -> str:
    """Pause, resume or retry targets of the fleet, all of them where none is named.

    Raises:
        UsageError: A target was named that the fleet does not have.
    """
    sources = FleetApp(app).read().sources
    async with app.session() as session:
        half = await known_half(session)
        await check_names(half, sources, names)
        if verb == "retry":
            found = await half.retry(sources, names)
        else:
            found = await half.steer(sources, names, paused=verb == "pause")
        await half.wake()
    what = {"retry": "to be tried again", "pause": "paused", "resume": "resumed"}[verb]
    return f"{len(found)} targets {what}; the workers are told"


def crew(app: App, board: Board) -> FleetWorker:
    """The worker of `tidegate run --fleet`, whose directory is offered to each line."""
    own = FleetApp(app)
    fleet, bundle = own.read(), app.source()

    async def offer(half: HomeSeat) -> None:
        for line in fleet.lines if bundle is not None else ():
            await _offered(half.session, own.site, line, bundle)

    worker = own.worker(fleet, Until.STOPPED, offer)
    worker.looked = lambda: board.fleet_reached(worker.counts)
    worker.away = board.unreachable
    return worker


async def _offered(session: Session, site: Site, line: str, bundle: Bundle | None) -> None:
    if bundle is None:
        return
    try:
        await publish_to_line(session, site, line, bundle, Intent.AUTOMATIC)
    except RefusedError as error:
        session.emit(JobFailed(Outcome.REFUSED, error.reason, error.message, error.hint, 0, 0.0))


async def work(app: App, worker: FleetWorker) -> None:
    """Run the worker, woken by NOTIFY."""
    hear = partial(
        listen, partial(app.connect, Purpose.LISTEN), f"{app.settings.control.schema}_wake", worker.wake, app.emit,
        clock=time.monotonic, jitter=random.random, probe_interval=PROBE_SECONDS,
    )  # fmt: skip
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hear)
        await worker.run()
        tasks.cancel_scope.cancel()
