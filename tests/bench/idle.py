"""An idle worker: its connections, the statements that it sends, its memory, and the processor's time that it uses."""

import time
from collections.abc import Mapping
from pathlib import Path

from tests.bench.peers import Migration, Writer
from tests.bench.results import Result, Turn
from tests.bench.worker import quiet, running_worker
from tests.fixtures.cluster import Server

CONNECTIONS, QUERIES, MEMORY, CPU = "connections", "queries a second", "resident MiB", "CPU seconds a minute"

_DATABASE = "bench_idle"
_SESSIONS = 2
_SETTLED_SECONDS = 1.0
_SCHEDULED = 2
_COUNT = "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND application_name LIKE 'tidegate %'"
# What the server logs of each statement, sent as a simple query or by the extended protocol.
_LOGGED = ("LOG:  statement:", "LOG:  execute ")


def run(
    seconds: float,
    server: Server,
    folder: Path,
    program: str,
    environment: Mapping[str, str],
    migrations: list[Migration],
    write: Writer,
) -> list[Result]:
    """Watch a worker that has everything done, for so many seconds."""
    server.psql(f"CREATE DATABASE {_DATABASE} TEMPLATE template0")
    server.psql(f"ALTER DATABASE {_DATABASE} SET log_statement = 'all'")
    folder.mkdir(parents=True)
    write(folder, migrations)
    settings = {**environment, "DB_URL": server.dsn(_DATABASE, sslmode="disable")}
    with running_worker([program, "run", "--source", str(folder)], settings, folder) as (process, _):
        quiet(server, _DATABASE, sessions=_SESSIONS, seconds=_SETTLED_SECONDS)
        sent, used, began = _statements(server), processor(process.pid), time.perf_counter()
        connections = 0
        while (passed := time.perf_counter() - began) < seconds:
            connections = max(connections, int(server.psql(_COUNT.format(database=_DATABASE))))
            time.sleep(min(1.0, seconds - passed))
        passed = time.perf_counter() - began
        used, sent, memory = processor(process.pid) - used, _statements(server) - sent, _resident(process.pid)
    result = Result("tidegate run", [Turn(passed, used, memory)])
    result.figures = {
        CONNECTIONS: connections, QUERIES: sent / passed, MEMORY: memory, CPU: used * 60 / passed,
    }  # fmt: skip
    return [result]


def _statements(server: Server) -> int:
    log = server.log()
    return sum(log.count(words) for words in _LOGGED)


def processor(pid: int) -> float:
    """Seconds that all threads of a process ran, those that have ended too; the ticks of `stat` are too coarse."""
    # What clock_getcpuclockid(3) returns, which Python has for threads alone.
    return time.clock_gettime((~pid << 3) | _SCHEDULED)


def _resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024
