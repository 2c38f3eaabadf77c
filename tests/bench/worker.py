"""A `tidegate run` of the installed wheel, as the benchmark measures it: started, asked, and ended by its own pid."""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.fixtures.cluster import Server
from tests.fixtures.network import free_port, http_get

_START_SECONDS = 60.0
_END_SECONDS = 30.0
_LOOK_SECONDS = 0.02
_QUIET = """
SELECT count(*) = {sessions} AND bool_and(state = 'idle' AND state_change < clock_timestamp() - interval '{quiet} s')
FROM pg_stat_activity WHERE datname = '{database}' AND application_name LIKE 'tidegate %'
"""


@contextmanager
def running_worker(
    command: list[str], environment: Mapping[str, str], folder: Path
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A worker and its port, for as long as the block runs.

    Raises:
        AssertionError: It ended before it answered; says its last line.
        TimeoutError: It does not answer within a minute.
    """
    port = free_port()
    settings = {**environment, "TIDEGATE_HTTP_PORT": str(port)}
    said = folder / "worker.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            command, env=settings, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    with ending(process):
        until(lambda: process.poll() is not None or _answers(port), "the worker answers")
        if process.returncode is not None:
            lines = said.read_text(encoding="utf-8", errors="replace").splitlines() or ["without a word"]
            raise AssertionError(f"the worker ended with {process.returncode}: {lines[-1][:160]}")
        yield process, port


@contextmanager
def ending(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Have a process ended at the end of the block, however that comes about; it is killed where asking is no use."""
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    try:
        return http_get(port, "/startupz").status == http_get(port, "/readyz").status
    except OSError:
        return False


def quiet(server: Server, database: str, *, sessions: int, seconds: float) -> None:
    """Wait until there are so many sessions of ours, and none has done anything for so long."""
    sql = _QUIET.format(sessions=sessions, quiet=seconds, database=database)
    until(lambda: server.psql(sql) == "t", f"{sessions} idle sessions")


def until(check: Callable[[], bool], what: str) -> None:
    """Ask again and again until it is so.

    Raises:
        TimeoutError: It is not so within a minute.
    """
    deadline = time.monotonic() + _START_SECONDS
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {_START_SECONDS:g} s: {what}")
        time.sleep(_LOOK_SECONDS)
