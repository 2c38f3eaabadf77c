"""What the verbs need of a fleet: its file, how its databases are reached, and a worker for it."""

import os
import random
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from worker.cli.app import App
from worker.cli.fleet_file import fleet_origin, read_fleet_file, source_of
from worker.core.connecting.dsn import ConnectionParams
from worker.core.fleet.declared import Fleet, Group
from worker.errors import RefusedError
from worker.fleet.home import Opening
from worker.fleet.terms import Doors, Terms, Until
from worker.fleet.terms import Path as NamePath
from worker.fleet.worker import FleetWorker
from worker.jobs.roster import Place, Server
from worker.jobs.site import Drift, Rivals, Site
from worker.postgres.connection import Purpose, check_session, close, connect
from worker.postgres.fleet import FleetHalf, knows_fleets
from worker.postgres.session import Session
from worker.settings.reading import require_database
from worker.settings.source import Source

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection


class FleetApp:
    """What the verbs need of a fleet, made of the settings."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._path = app.settings.fleet or ""
        self.origin = fleet_origin(app.settings)
        self._database = require_database(app.settings)
        self._home = self._database.migrating

    def read(self) -> Fleet:
        """The fleet's file, read now.

        Raises:
            SettingError: It cannot be read, or is no fleet's file.
        """
        return read_fleet_file(self._app.settings)

    @property
    def path(self) -> str:
        """Where the fleet's file is, as messages call it."""
        return self._path

    @property
    def site(self) -> Site:
        """The site that each target's is made from: other version tables of one database are no rivals there."""
        return replace(self._app.site, rivals=Rivals.IGNORE, drift=Drift.IGNORED)

    @property
    def doors(self) -> Doors:
        """How the fleet is reached."""
        return Doors(self.home, self.target, self.server)

    def worker(self, fleet: Fleet, until: Until, opening: Opening, names: tuple[str, ...] | None = None) -> FleetWorker:
        """A worker for the fleet."""
        poll = self._app.settings.limits.poll_ms / 1000
        terms = Terms(fleet, self._path, self.site, until, names, poll, time.monotonic, random.random)
        return FleetWorker(self.doors, terms, self._app.emit, opening)

    async def home(self) -> Session:
        """A session on the home half."""
        conn = await self._app.connect(Purpose.MIGRATE)
        try:
            return await self._app.open_session(conn)
        except BaseException:
            conn.terminate()
            raise

    def server(self, group: Group) -> Server:
        """Where a group's databases lie; what lies in files is read again."""
        read = self.source(group).read
        params, home = read(), self._home.read()
        own, at_home = _database(params), _database(home)

        def called(database: str) -> str:
            return "" if group.reference is None and database == at_home else group.called(database)

        async def plain(database: str) -> "Connection[Record]":
            name = f"tidegate fleet {self._app.settings.worker}"[:63]
            return await connect(replace(read(), database=database), Purpose.MIGRATE, application_name=name)

        key = ",".join(map(str, params.addresses))
        return Server(key, own, called, plain, read)

    def source(self, group: Group, purpose: Purpose = Purpose.MIGRATE) -> Source:
        """Where a group's connection parameters come from, for migrating or for waiting.

        Raises:
            SettingError: The variable is not set, the file cannot be read, or the URL holds a password.
        """
        own = self._database.waiting if purpose is Purpose.GATE else self._home
        return own if group.reference is None else source_of(group.reference, group.place, own)

    async def target(self, place: Place, path: NamePath) -> Session:
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
