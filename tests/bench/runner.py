"""Runs a workload: the tools take turns, each turn is a whole process, and a result counts once it has been checked."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from itertools import count
from pathlib import Path
from statistics import median

import asyncpg

from tests.bench import idle, ready
from tests.bench.delay import delaying
from tests.bench.peers import BARE, READING, TIDEGATE, Call, Peer
from tests.bench.process import Process, TroubleError, beside, clean
from tests.bench.results import Disk, Result, Turn
from tests.bench.workloads import Kind, Workload
from tests.fixtures.cluster import Server

_TIMES = 200
_LOOKING = (BARE, READING)
_GIB = 1024**3
_NUMBERS = count(1)
# What a worker or a wait does that does not do its work: the other workloads are measured and reported all the same.
IN_VAIN = (AssertionError, OSError, HTTPException, asyncpg.PostgresError, asyncpg.InterfaceError)


def run(workload: Workload, server: Server, folder: Path) -> list[Result]:
    """Let the tools take turns; one that is missing or fails is named, and has no more turns."""
    if workload.kind in {Kind.READY, Kind.IDLE}:
        return _watched(workload, server, folder / f"worker-{next(_NUMBERS)}")
    with _at(server, workload.delay_ms) as port:
        runs = [_Run(workload, peer, server, port, folder / f"tool-{next(_NUMBERS)}") for peer in workload.peers]
        for number in range(workload.turns):
            for each in runs:
                each.take(is_counted=number > 0)
    return [each.result for each in runs]


def _watched(workload: Workload, server: Server, home: Path) -> list[Result]:
    """What is not a matter of processes from start to exit: a worker."""
    program = TIDEGATE.find()
    if program is None:
        return [Result("tidegate run", trouble="missing")]
    try:
        if workload.kind is Kind.READY:
            return ready.run(workload.turns - 1, server, home, program, clean())
        migrations = list(workload.load.make())
        return idle.run(workload.seconds, server, home, program, clean(), migrations, TIDEGATE.write)
    except IN_VAIN as trouble:
        return [Result("tidegate run", trouble=str(trouble)[:160] or type(trouble).__name__)]


@contextmanager
def _at(server: Server, delay_ms: float) -> Iterator[int]:
    if not delay_ms:
        yield server.port
        return
    with delaying(server.port, delay_ms) as port:
        yield port


class _Run:
    """One tool in one workload."""

    def __init__(self, workload: Workload, peer: Peer, server: Server, port: int, home: Path) -> None:
        self.peer = peer
        self.result = Result(peer.name, targets=workload.load.targets)
        self._spent = 0.0
        self._workload = workload
        self._server = server
        self._port = port
        self._home = home
        self._database = ""

    def take(self, *, is_counted: bool) -> None:
        """Take a turn, unless the tool is in trouble, or has spent its time and has a turn that counts."""
        if self.result.trouble or (self.result.turns and self._spent >= self._workload.seconds):
            return
        try:
            turn = self._turn()
        except TroubleError as trouble:
            self.result.trouble, self.result.turns = str(trouble), []
            return
        self._spent += turn.wall
        self.result.load = os.getloadavg()[0]
        # The first turn warms up what a long one warms up itself.
        if is_counted or self._spent >= self._workload.seconds:
            self.result.turns.append(turn)

    def _turn(self) -> Turn:
        """One turn, checked.

        Raises:
            TroubleError: The tool is missing or failed, or the database is not as it should be.
        """
        if self.peer.find() is None:
            raise TroubleError("missing")
        if not self._home.exists():
            self._home.mkdir(parents=True)
            self.peer.write(self._home, self._workload.load.make())
        if self._workload.kind is Kind.NOTHING:
            self._prepare_once()
        else:
            self._database = self._new_database()
        is_crowd = self._workload.kind is Kind.CROWD
        turn = beside(self._server.pid, self._crowd if is_crowd else lambda: self._process(self.peer.call))
        self._check()
        return turn

    def _prepare_once(self) -> None:
        if not self._database:
            self._database = self._new_database()
            self._process(self.peer.prepare or self.peer.call)

    def _new_database(self) -> str:
        """A new one, which stays until the server goes.

        An ext4 without a journal is slow to make files for minutes after others were removed: a database that is
        dropped behind one turn would be paid for in the next.
        """
        name = f"bench_{next(_NUMBERS)}"
        self._server.psql(f"CREATE DATABASE {name} TEMPLATE template0")
        if self._workload.load.before:
            self._server.psql(self._workload.load.before, database=name)
        return name

    def _process(self, call: Call) -> Turn:
        return self._ready(call).begin().wait_for()

    def _crowd(self) -> Turn:
        """Several processes at once: the time until the last one ended, and all have to end well."""
        crowd = [self._ready(self.peer.call) for _ in range(self.peer.crowd)]
        began = time.perf_counter()
        failed, turns = [], []
        try:
            for process in crowd:
                process.begin()
            for process in crowd:
                try:
                    turns.append(process.wait_for())
                except TroubleError as trouble:
                    failed.append(str(trouble))
        except BaseException:
            for process in crowd:
                process.end()
            raise
        if failed:
            raise TroubleError(f"{len(failed)} of {self.peer.crowd} processes failed: {failed[0]}")
        return Turn(time.perf_counter() - began, sum(turn.cpu for turn in turns), max(turn.memory for turn in turns))

    def _url(self) -> str:
        url = self._server.dsn(self._database, sslmode="disable")
        return url.replace(f":{self._server.port}/", f":{self._port}/")

    def _ready(self, call: Call) -> Process:
        url = self._url()
        environment = {**clean(), "DATABASE_URL": url, "BENCH_URL": url, **self.peer.environment}
        return Process(call(self.peer.find() or "", self._home, url), environment, self._home, self._workload.limit)

    def _check(self) -> None:
        """The schema is there, and the tool says so."""
        if self.peer in _LOOKING:
            return
        load = self._workload.load
        names = self._server.psql(load.databases, database=self._database).splitlines()
        sql = f"SELECT {load.holds}, ({self.peer.recorded or f'SELECT {load.count}'});\n"
        script = "".join(f"\\connect {name}\n{sql}" for name in names)
        found = self._server.psql(script, database=self._database).splitlines()
        expected = [f"t|{load.count}"] * load.database_count
        if found != expected:
            wrong = next((each for each in found if each not in expected), f"{len(found)} databases")
            raise TroubleError(f"left {wrong}, and t|{load.count} in {len(expected)} would be right")


def lacking(gibibytes: int) -> str:
    """What to say where so much room is not left for the servers' folders; nothing where it is."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free / _GIB
    return f"{folder} has {free:.1f} GiB left, and {gibibytes} are needed for the time" if free < gibibytes else ""


async def disk_of(server: Server) -> Disk:
    """How quick the disk is on an open session, in the median: all that is compared depends on it."""
    conn = await server.connect("postgres")
    await conn.execute("CREATE TABLE commits (number int)")
    commits = [await _seconds(conn, "COMMIT", f"BEGIN; INSERT INTO commits VALUES ({n})") for n in range(_TIMES)]
    unhurried = "SET synchronous_commit = off"
    tables = [await _seconds(conn, f"CREATE TABLE tables_{n} (number int)", unhurried) for n in range(_TIMES)]
    await conn.close()
    return Disk(median(commits), median(tables))


async def _seconds(conn: "asyncpg.Connection[asyncpg.Record]", sql: str, before: str) -> float:
    await conn.execute(before)
    began = time.perf_counter()
    await conn.execute(sql)
    return time.perf_counter() - began
