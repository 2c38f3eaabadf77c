"""Runs a workload: the tools take turns, each turn is a whole process, and a result counts once it has been checked."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.bench.delay import delaying
from tests.bench.peers import BARE, Call, Peer
from tests.bench.workloads import Kind, Workload
from tests.fixtures.cluster import Server

_TIMEOUT_SECONDS = 600
_CROWD = 8
_NUMBERS = count(1)


@dataclass(frozen=True, slots=True)
class Turn:
    """One counted turn: seconds from start to exit, the processor's seconds, the most memory in MiB."""

    wall: float
    cpu: float
    memory: float


@dataclass(slots=True)
class Result:
    """What came of one tool in one workload: its turns, or why it has none."""

    peer: str
    turns: list[Turn] = field(default_factory=list)
    trouble: str = ""


class _TroubleError(Exception):
    """A tool did not do what was asked of it."""


def run(workload: Workload, server: Server, folder: Path) -> list[Result]:
    """Let the tools take turns; one that is missing or fails is named, and has no more turns."""
    results = {peer.name: Result(peer.name) for peer in workload.peers}
    with _at(server, workload.delay_ms) as port:
        runs = [_Run(workload, peer, server, port, folder / f"{peer.name}-{next(_NUMBERS)}") for peer in workload.peers]
        for number in range(workload.turns):
            for each in runs:
                result = results[each.peer.name]
                if not result.trouble:
                    _take(each, result, is_counted=number > 0)
    return list(results.values())


def _take(each: "_Run", result: Result, *, is_counted: bool) -> None:
    try:
        turn = each.turn()
    except _TroubleError as trouble:
        result.trouble, result.turns = str(trouble), []
    else:
        result.turns += [turn] if is_counted else []


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
        self._workload = workload
        self._server = server
        self._port = port
        self._home = home
        self._database = ""

    def turn(self) -> Turn:
        """One turn, checked.

        Raises:
            _TroubleError: The tool is missing or failed, or the database is not as it should be.
        """
        if self.peer.find() is None:
            raise _TroubleError("missing")
        if not self._home.exists():
            self._home.mkdir(parents=True)
            self.peer.write(self._home, self._workload.load.make())
        match self._workload.kind:
            case Kind.NOTHING:
                self._prepare_once()
                turn = self._process(self.peer.call)
            case Kind.APPLY | Kind.CROWD:
                self._database = self._new_database()
                turn = self._crowd() if self._workload.kind is Kind.CROWD else self._process(self.peer.call)
        self._check()
        if self._workload.kind is not Kind.NOTHING:
            self._server.psql(f"DROP DATABASE {self._database} WITH (FORCE)")
        return turn

    def _prepare_once(self) -> None:
        if not self._database:
            self._database = self._new_database()
            self._process(self.peer.prepare or self.peer.call)

    def _new_database(self) -> str:
        name = f"bench_{next(_NUMBERS)}"
        self._server.psql(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    def _process(self, call: Call) -> Turn:
        return self._started(call).wait_for()

    def _crowd(self) -> Turn:
        """Eight processes at once: the time until the last one ended, and all have to end well."""
        began = time.perf_counter()
        crowd = [self._started(self.peer.call) for _ in range(_CROWD)]
        failed, turns = [], []
        for process in crowd:
            try:
                turns.append(process.wait_for())
            except _TroubleError as trouble:
                failed.append(str(trouble))
        if failed:
            raise _TroubleError(f"{len(failed)} of {_CROWD} processes failed: {failed[0]}")
        return Turn(time.perf_counter() - began, sum(turn.cpu for turn in turns), max(turn.memory for turn in turns))

    def _url(self) -> str:
        url = self._server.dsn(self._database, sslmode="disable")
        return url.replace(f":{self._server.port}/", f":{self._port}/")

    def _started(self, call: Call) -> "_Process":
        url = self._url()
        environment = {**_clean(), "DATABASE_URL": url, "BENCH_URL": url, **self.peer.environment}
        return _Process(call(self.peer.find() or "", self._home, url), environment, self._home)

    def _check(self) -> None:
        """The schema is there, and the tool says so."""
        if self.peer is BARE:
            return
        expected = self._workload.load.count
        sql = f"SELECT {self._workload.load.holds}, ({self.peer.recorded or f'SELECT {expected}'})"
        found = self._server.psql(sql, database=self._database)
        if found != f"t|{expected}":
            raise _TroubleError(f"left {found}, and t|{expected} would be right")


class _Process:
    """A tool's process, from its start."""

    def __init__(self, command: list[str], environment: dict[str, str], home: Path) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed when the process has been waited for
        self._began = time.perf_counter()
        self._process = subprocess.Popen(
            command, env=environment, cwd=home, stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output
        )

    def wait_for(self) -> Turn:
        """Wait for its end.

        Raises:
            _TroubleError: It failed, and its last line.
        """
        with self._output:
            # Neither poll() nor wait() tells what the process used.
            _, status, usage = os.wait4(self._process.pid, 0)
            wall = time.perf_counter() - self._began
            self._process.returncode = code = os.waitstatus_to_exitcode(status)
            if code != 0:
                self._output.seek(0)
                lines = self._output.read().decode(errors="replace").strip().splitlines() or ["without a word"]
                raise _TroubleError(f"exit {code}: {lines[-1][:160]}")
        return Turn(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _clean() -> dict[str, str]:
    """The environment without settings of any of the tools, and with bytecode, as an installation has it."""
    ours = ("DB_", "PG", "TIDEGATE_", "DATABASE_URL", "PYTHON", "GOOSE_", "DBMATE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
