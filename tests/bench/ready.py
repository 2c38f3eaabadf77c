"""Publish to ready: from the COMMIT of a publication to the end of a waiting `tidegate wait`, and to `/readyz`.

Each publication adds one small migration to a bundle; before it the worker has been idle. The floor is what psql takes
on an open session for such a file and one commit more, the publisher's; a worker and a gate on bare asyncpg show how
near to it the driver comes. All take turns.

Each question at `/readyz` takes the worker's own time, nearly a millisecond: so it is asked every two of them, and not
before most of what the turn before took is over. That can make a turn look longer than it was, and never shorter.
"""

import asyncio
import http.client
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.ready_floors import bare_worker, psql_session
from tests.bench.results import Result, Turn
from tests.bench.worker import ending, quiet, running_worker
from tests.fixtures.cluster import Server
from tests.fixtures.network import HOST

if TYPE_CHECKING:
    import asyncpg

FLOOR, AT_WAIT, AT_READYZ = "psql, open session", "at tidegate wait", "at /readyz"
BARE_GATE, BARE_NOTICE = "bare asyncpg, until a process ends", "bare asyncpg, until it is told"

_DATABASE = "bench_ready"
_IDLE_SECONDS = 0.1
_LIMIT_SECONDS = 60
_POLL_SECONDS = 0.002
_UNASKED = 0.8
_WORKERS_SESSIONS = 2
_PUBLISH = "SELECT outcome FROM tidegate.publish('schema_migrations', $1, $2, $3)"
_TABLE = "CREATE TABLE {name} (id bigint PRIMARY KEY, name text NOT NULL);\n"


def run(publications: int, server: Server, folder: Path, program: str, environment: Mapping[str, str]) -> list[Result]:
    """So many publications for each of the two ways to wait, and as many turns of the floor."""
    results = {name: Result(name) for name in (AT_WAIT, AT_READYZ, BARE_GATE, BARE_NOTICE, FLOOR)}
    server.psql(f"CREATE DATABASE {_DATABASE} TEMPLATE template0")
    settings = {**environment, "DB_URL": server.dsn(_DATABASE, sslmode="disable")}
    folder.mkdir(parents=True)
    first = _lines(1)
    (folder / "000001_t1.up.sql").write_text(first["000001_t1.up.sql"], encoding="utf-8")
    command = [program, "run", "--source", str(folder)]
    readyz = 0.0
    with (
        running_worker(command, settings, folder) as (_, port),
        psql_session(server, folder) as psql,
        bare_worker(server, folder) as bare,
        _Publisher(server).opened() as publisher,
    ):
        for number in range(publications + 1):
            gate, notice = bare.turn(number + 1, _TABLE.format(name=f"bare_{number}"))
            readyz = _at_readyz(publisher, server, port, readyz * _UNASKED)
            taken = {
                FLOOR: psql.turn(number, _TABLE.format(name=f"floor_{number}")),
                BARE_GATE: gate,
                BARE_NOTICE: notice,
                AT_WAIT: _at_wait(publisher, server, [program, "wait"], settings),
                AT_READYZ: readyz,
            }
            if number:
                for name, seconds in taken.items():
                    results[name].turns.append(Turn(seconds))
    return list(results.values())


def _lines(count: int) -> dict[str, str]:
    return {f"{n:06}_t{n}.up.sql": _TABLE.format(name=f"t{n}") for n in range(1, count + 1)}


@dataclass
class _Publisher:
    """An open session that publishes one migration more each time."""

    server: Server
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    versions: int = 1
    _conn: "asyncpg.Connection[asyncpg.Record] | None" = None

    @contextmanager
    def opened(self) -> Iterator["_Publisher"]:
        self._conn = self.loop.run_until_complete(self.server.connect(_DATABASE))
        try:
            yield self
        finally:
            self.loop.run_until_complete(self._conn.close())
            self.loop.close()

    def next_label(self) -> str:
        return f"release-{self.versions + 1}"

    def publish(self) -> float:
        """Publish; returns when its COMMIT was sent."""
        label = self.next_label()
        self.versions += 1
        return self.loop.run_until_complete(self._publish(label))

    async def _publish(self, label: str) -> float:
        assert self._conn is not None
        files = _lines(self.versions)
        await self._conn.execute("BEGIN")
        await self._conn.fetchval(_PUBLISH, label, list(files), [text.encode() for text in files.values()])
        began = time.perf_counter()
        await self._conn.execute("COMMIT")
        return began

    def check(self) -> None:
        """Whether the migration is there; what says ready without it counts for nothing.

        It is asked at once, on the open session: a program to start would leave time to catch up.
        """
        assert self._conn is not None
        sql = f"SELECT to_regclass('public.t{self.versions}') IS NOT NULL"
        if not self.loop.run_until_complete(self._conn.fetchval(sql)):
            raise AssertionError(f"ready for version {self.versions} without its table")


def _at_wait(publisher: _Publisher, server: Server, command: list[str], settings: Mapping[str, str]) -> float:
    wait = [*command, "--bundle", publisher.next_label(), "--timeout", f"{_LIMIT_SECONDS}s"]
    process = subprocess.Popen(wait, env=settings, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with ending(process):
        # It has looked, listens, has looked again, and idles.
        quiet(server, _DATABASE, sessions=_WORKERS_SESSIONS + 1, seconds=_IDLE_SECONDS)
        began = publisher.publish()
        _, status = os.waitpid(process.pid, 0)
        ended = time.perf_counter()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise AssertionError(f"tidegate wait: exit {process.returncode}")
    publisher.check()
    return ended - began


def _at_readyz(publisher: _Publisher, server: Server, port: int, unasked: float) -> float:
    """The seconds until it says yes; for so many of them it is not asked."""
    path = f"/readyz?bundle={publisher.next_label()}"
    quiet(server, _DATABASE, sessions=_WORKERS_SESSIONS, seconds=_IDLE_SECONDS)
    connection = http.client.HTTPConnection(HOST, port, timeout=_LIMIT_SECONDS)
    if _status(connection, path) != http.HTTPStatus.SERVICE_UNAVAILABLE:
        raise AssertionError(f"{path} is ready before it was published")
    began = publisher.publish()
    time.sleep(unasked)
    while _status(connection, path) != http.HTTPStatus.OK:
        if time.perf_counter() - began > _LIMIT_SECONDS:
            raise TimeoutError(f"{path} is not ready within {_LIMIT_SECONDS} s")
        time.sleep(_POLL_SECONDS)
    ended = time.perf_counter()
    publisher.check()
    connection.close()
    return ended - began


def _status(connection: http.client.HTTPConnection, path: str) -> int:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status
