"""What publish to ready is compared with, in a database of its own: there its tables are no drift."""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.peers import BARE, floor
from tests.bench.process import clean
from tests.bench.worker import ending
from tests.fixtures.cluster import Server

if TYPE_CHECKING:
    import asyncpg

_DATABASE = "bench_ready_floor"
_BARE_DATABASE = "bench_ready_bare"
_LIMIT_SECONDS = 60
_TABLES = "CREATE TABLE floor_published (label int, body text); CREATE TABLE floor_ready (label int)"
_PUBLISH = "INSERT INTO floor_published VALUES ($1, $2)"
_WORKER, _GATE = floor("worker", "working"), floor("gate", "waiting")


@dataclass(frozen=True, slots=True)
class PsqlSession:
    """psql on an open session: it runs such a file, and commits once more."""

    psql: "subprocess.Popen[str]"
    folder: Path

    def turn(self, number: int, body: str) -> float:
        """The seconds that both take."""
        assert self.psql.stdin is not None
        assert self.psql.stdout is not None
        file = self.folder / f"floor_{number}.sql"
        file.write_text(body, encoding="utf-8")
        began = time.perf_counter()
        self.psql.stdin.write(f"\\i {file}\nINSERT INTO floor_commits VALUES ({number});\n\\echo done {number}\n")
        self.psql.stdin.flush()
        said = self.psql.stdout.readline()
        ended = time.perf_counter()
        if said.strip() != f"done {number}":
            raise AssertionError(f"psql said {said!r}")
        return ended - began


@contextmanager
def psql_session(server: Server, folder: Path) -> Iterator[PsqlSession]:
    """An open session of psql."""
    server.psql(f"CREATE DATABASE {_DATABASE} TEMPLATE template0")
    server.psql("CREATE TABLE floor_commits (number int)", database=_DATABASE)
    command = [str(server.clients / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-"]
    with subprocess.Popen(
        [*command, "-d", server.dsn(_DATABASE, sslmode="disable")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as psql:  # fmt: skip
        yield PsqlSession(psql, folder)
        assert psql.stdin is not None
        psql.stdin.close()


@dataclass(frozen=True, slots=True)
class BareWorker:
    """A worker on bare asyncpg that idles, and what is published to it."""

    loop: asyncio.AbstractEventLoop
    conn: "asyncpg.Connection[asyncpg.Record]"
    folder: Path
    url: str

    def turn(self, label: int, body: str) -> tuple[float, float]:
        """The seconds from the COMMIT of a publication until a process that waits for it has ended, and until one
        that listens is told.
        """
        with _started(_GATE.call(_python(), self.folder, ""), self.url, str(label)) as gate:
            began, told = self.loop.run_until_complete(self._published(label, body))
            # At once, without the waiting that Popen does in steps.
            _, status = os.waitpid(gate.pid, 0)
            ended = time.perf_counter()
            gate.returncode = os.waitstatus_to_exitcode(status)
        if gate.returncode != 0:
            raise AssertionError(f"the bare gate: exit {gate.returncode}")
        return ended - began, told - began

    async def _published(self, label: int, body: str) -> tuple[float, float]:
        told: asyncio.Queue[float] = asyncio.Queue()

        def listen(*_: object) -> None:
            told.put_nowait(time.perf_counter())

        await self.conn.add_listener("floor_ready", listen)
        await self.conn.execute("BEGIN")
        await self.conn.execute(_PUBLISH, label, body)
        await self.conn.execute("NOTIFY floor_published")
        began = time.perf_counter()
        await self.conn.execute("COMMIT")
        noticed = await asyncio.wait_for(told.get(), _LIMIT_SECONDS)
        await self.conn.remove_listener("floor_ready", listen)
        return began, noticed


@contextmanager
def bare_worker(server: Server, folder: Path) -> Iterator[BareWorker]:
    """A worker that runs what is published."""
    server.psql(f"CREATE DATABASE {_BARE_DATABASE} TEMPLATE template0")
    server.psql(_TABLES, database=_BARE_DATABASE)
    url, loop = server.dsn(_BARE_DATABASE, sslmode="disable"), asyncio.new_event_loop()
    with _started(_WORKER.call(_python(), folder, ""), url):
        conn = loop.run_until_complete(server.connect(_BARE_DATABASE))
        try:
            yield BareWorker(loop, conn, folder, url)
        finally:
            loop.run_until_complete(conn.close())
            loop.close()


def _python() -> str:
    return BARE.find() or "python"


@contextmanager
def _started(command: list[str], url: str, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    """A process that has said that it is ready."""
    environment = {**clean(), **_WORKER.environment, "DATABASE_URL": url}
    with subprocess.Popen([*command, *arguments], env=environment, stdout=subprocess.PIPE) as process, ending(process):
        assert process.stdout is not None
        if process.stdout.readline() != b"READY\n":
            raise AssertionError(f"{command[1]} did not begin")
        yield process
