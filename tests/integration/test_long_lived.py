"""What goes on until it is interrupted, or waits, looks for garbage as Python does by itself."""

import gc
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from tests.fixtures.command_line import call, files
from tests.fixtures.servers import Database
from worker.cli.app import App
from worker.cli.arguments import parse
from worker.cli.show.looks import looks

_SHORT = (100_000, 10, 10)
"""What a command that ends soon is given."""


@pytest.fixture
def usual() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    gc.set_threshold(*_SHORT)
    yield before
    gc.set_threshold(*before)


def test_status_watch_does(database: Database, usual: tuple[int, int, int]) -> None:
    async def look() -> None:
        async with aclosing(looks(App(parse(["status", "--database", database.dsn])[1]))) as each_look:
            await anext(each_look)

    anyio.run(look)
    assert gc.get_threshold() == usual


def test_publish_wait_does_and_publish_without_it_does_not(
    database: Database, tmp_path: Path, usual: tuple[int, int, int]
) -> None:
    folder = files(tmp_path, _1_a="CREATE TABLE a (a int);")
    call("up", "--source", folder, DB_URL=database.dsn).is_fine()
    call("publish", folder, DB_URL=database.dsn).is_fine()
    assert gc.get_threshold() == _SHORT
    call("publish", folder, "--wait", DB_URL=database.dsn).is_fine("is ready for")
    assert gc.get_threshold() == usual
