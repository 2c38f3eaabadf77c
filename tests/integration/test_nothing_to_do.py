"""A command that finds nothing to do is on the way of every pod: what it loads, asks and writes stays little."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.command_line import call, content
from tests.fixtures.relay import beside
from tests.fixtures.servers import Database
from tests.fixtures.wire import Wire

# Each takes longer to load than a look takes.
_NOT_LOADED = {
    "anyio",
    "prometheus_client",
    "shutil",
    "starlette",
    "structlog",
    "tomllib",
    "uvicorn",
    "worker.applier.run",
    "worker.cli.confirm",
    "worker.cli.excerpt",
    "worker.cli.progress",
    "worker.core.sql",
    "worker.core.status.snapshot",
    "worker.doctor",
    "worker.http",
    "worker.jobs.attempt",
    "worker.metrics",
    "worker.reconciler",
}
_TELL_MODULES = (
    "import sys; from worker.cli import main; code = main(sys.argv[1:]); print(*sys.modules); sys.exit(code)"
)
_MOST_ROUND_TRIPS = 6

verbs = pytest.mark.parametrize("verb", [["up"], ["wait", "--timeout", "0"]], ids=["up", "wait"])


@pytest.fixture
def applied(database: Database, tmp_path: Path) -> Path:
    """A directory of which everything is applied."""
    for version in range(1, 4):
        (tmp_path / f"{version}_table.up.sql").write_text(f"CREATE TABLE t{version} (id bigint)")
    call("up", "--source", tmp_path, "--database", database.dsn).is_fine()
    return tmp_path


@verbs
def test_what_is_slow_to_load_is_not_loaded(database: Database, applied: Path, verb: list[str]) -> None:
    arguments = [*verb, "--source", str(applied), "--database", database.dsn]
    loaded = subprocess.run(
        [sys.executable, "-c", _TELL_MODULES, *arguments], check=True, capture_output=True, text=True
    ).stdout.split()

    assert _NOT_LOADED.isdisjoint(loaded)
    assert "asyncpg" in loaded


@verbs
def test_it_takes_few_round_trips_and_writes_nothing(database: Database, applied: Path, verb: list[str]) -> None:
    before = content(database)
    wire = Wire(database.server.port)
    with beside(wire):
        call(*verb, "--source", applied, "--database", wire.leading_to(database)).is_fine()

    assert wire.accepted == 1
    assert 0 < wire.ready - 1 <= _MOST_ROUND_TRIPS
    assert content(database) == before
