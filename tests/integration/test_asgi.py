"""The ASGI helper in front of a real server: nothing is accepted before the schema is ready."""

import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from uvicorn import Config, Server
from uvicorn.main import STARTUP_FAILURE

from tests.fixtures.gates import make_control_schema, notify, write_row
from tests.fixtures.network import HOST, free_port, http_get
from tests.fixtures.processes import ROOT, Process
from tests.fixtures.servers import Database
from worker.asgi import App, Message, Receive, Send, gate, ready
from worker.errors import ExitCode, TimedOutError, UsageError

_API = """
from worker import asgi

async def plain(scope, receive, send):
    raise AssertionError("nothing may reach it")

{before}
app = asgi.gate(plain, {arguments})
"""


class Lines(logging.Handler):
    """The log's lines, which a test can wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._news = anyio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self._news.set()
        self._news = anyio.Event()

    async def until(self, text: str) -> str:
        with anyio.fail_after(20):
            while True:
                if (found := next((line for line in self.lines if text in line), None)) is not None:
                    return found
                await self._news.wait()


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


async def hello(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def without_lifespan(scope: Message, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await PlainTextResponse("plain")(scope, receive, send)


def application(begun: list[str]) -> Starlette:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        begun.append("startup")
        yield
        begun.append("shutdown")

    return Starlette(routes=[Route("/", hello)], lifespan=lifespan)


@asynccontextmanager
async def served(app: App) -> AsyncIterator[tuple[Server, int]]:
    """A uvicorn as an API would run it, on a free port; stopped at the end of the block."""
    port = free_port()
    server = Server(Config(app, host=HOST, port=port, log_config=None, log_level="info", ws="none", loop="none"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        yield server, port
        server.should_exit = True


async def get(port: int) -> str:
    return (await anyio.to_thread.run_sync(http_get, port)).body


async def test_a_server_accepts_nothing_before_the_schema_is_ready(database: Database, lines: Lines) -> None:
    await make_control_schema(database)
    begun: list[str] = []
    app = gate(application(begun), require="version:1", database=database.dsn, timeout="none")

    async with served(app) as (_, port):
        await lines.until("gate.waiting")
        with pytest.raises(ConnectionRefusedError):
            await get(port)
        assert begun == []
        await write_row(database, 1)
        await notify(database)
        await lines.until("Uvicorn running")
        assert await get(port) == "hello"

    assert begun == ["startup", "shutdown"]
    assert "why=no_row" in await lines.until("gate.waiting")


async def test_an_application_without_a_lifespan_is_held_back_too(
    database: Database, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_control_schema(database)
    await write_row(database, 1)
    monkeypatch.setenv("TIDEGATE_REQUIRE", "version:1")
    monkeypatch.setenv("DB_URL", database.dsn)

    async with served(gate(without_lifespan)) as (_, port):
        await lines.until("Uvicorn running")
        assert await get(port) == "plain"

    assert lines.lines.index(await lines.until("gate.found")) < lines.lines.index(await lines.until("Uvicorn running"))


def started(tmp_path: Path, arguments: str, before: str = "") -> tuple[int, str]:
    """Serve with uvicorn in a process of its own; its exit code and what it wrote."""
    (tmp_path / "api.py").write_text(_API.format(before=before, arguments=arguments), encoding="utf-8")
    env = {"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "uvicorn", "--host", HOST, "--port", str(free_port()), "api:app"]
    process = Process(command, env, tmp_path)
    try:
        return process.wait(30), process.stderr
    finally:
        process.close()


def test_a_time_out_fails_the_start_up_with_the_reason(database: Database, tmp_path: Path) -> None:
    code, said = started(tmp_path, f"require='version:1', database='{database.dsn}', timeout='0'")

    assert code == STARTUP_FAILURE
    assert "version 1 is not ready: the control schema tidegate is not there yet" in said
    assert "Traceback" not in said
    assert "Uvicorn running" not in said


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ("database='postgresql://a@127.0.0.1:1/a'", "nothing says what this application requires"),
        ("require='version:1'", "no database is set"),
        ("require='version:x'", "require got 'version:x'"),
    ],
)
def test_what_is_not_set_or_wrong_fails_the_start_up(tmp_path: Path, arguments: str, wanted: str) -> None:
    code, said = started(tmp_path, arguments)

    assert code == STARTUP_FAILURE
    assert wanted in said
    assert "Traceback" not in said


def test_a_fault_of_the_gate_itself_opens_nothing(tmp_path: Path) -> None:
    broken = "asgi.wait = None"
    code, said = started(tmp_path, "require='version:1', database='postgresql://a@127.0.0.1:1/a'", broken)

    assert code == STARTUP_FAILURE
    assert "the gate failed: TypeError" in said


async def test_a_lifespan_enters_the_block_once_the_directory_is_applied(database: Database, tmp_path: Path) -> None:
    (tmp_path / "1_a.up.sql").write_text("SELECT 1")
    await make_control_schema(database)
    require = f"dir:{tmp_path}"

    with pytest.raises(TimedOutError, match="is not ready"):
        await entered(require, database)
    await write_row(database, 1)
    await entered(require, database)


async def entered(require: str, database: Database) -> None:
    async with ready(require=require, database=database.dsn, timeout="0"):
        return


async def test_without_a_requirement_a_lifespan_raises_a_usage_error(database: Database) -> None:
    with pytest.raises(UsageError, match="nothing says what") as caught:
        async with ready(database=database.dsn):
            pytest.fail("it must not be entered")

    assert caught.value.exit_code is ExitCode.USAGE
