"""`tidegate run`: the worker, with its HTTP face, its signals, and a private Postgres if asked for."""

import argparse
import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskStatus

from worker import __version__
from worker.board import Board
from worker.bundles.shipped import shipped
from worker.cli import stay
from worker.cli.app import App
from worker.cli.failing import LastWord
from worker.cli.output import print_line
from worker.cli.requirement import stated
from worker.core.events.event import Sink
from worker.core.events.events import HttpServing, WorkerDraining, WorkerFailed, WorkerStarted, WorkerStopped
from worker.core.value import dataclass
from worker.errors import ExitCode, TidegateError, UsageError, first_of
from worker.log import bridge_stdlib
from worker.postgres.connection import Purpose
from worker.postgres.statements import keep
from worker.reconciler import Doors, Reconciler, Rhythm
from worker.systemd import Manager, Notifier

if TYPE_CHECKING:
    from worker.cli.arguments import Flags
    from worker.http.app import Ask
    from worker.metrics import Metrics
    from worker.postgres.session import Session


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """The arguments of `run`."""
    parser.add_argument("--embedded", action="store_true", help="start a private Postgres; by default with the example")


def run(_verb: str, flags: "Flags") -> ExitCode:
    """Run the worker until a signal ends it."""
    app = App(flags)
    anyio.run(_with_embedded if flags.own.embedded else _work, app, flags)
    return ExitCode.OK


async def _with_embedded(app: App, flags: "Flags") -> None:
    if app.settings.database is not None:
        raise UsageError(
            f"--embedded starts a Postgres of its own, but {app.settings.database.origin} names one too",
            hint="leave one of them out",
        )
    from worker.embedded import start  # noqa: PLC0415  an optional extra, and only here

    async with start() as server:
        flags.settings["database"] = server.dsn
        flags.settings["source"] = app.settings.target.source or str(shipped("example"))
        app = App(flags)
        print_line(f"PostgreSQL {server.version} runs privately, and is gone when this ends (Ctrl-C)")
        print_line(f"DSN   {server.dsn}")
        print_line(f"look  http://127.0.0.1:{app.settings.http.port}/ and psql '{server.dsn}'")
        print_line(f"try   DB_URL='{server.dsn}' tidegate status")
        await _work(app, flags)


async def _work(app: App, _flags: "Flags") -> None:
    from worker.metrics import Metrics  # noqa: PLC0415  slow to import, and only the worker has metrics

    stay()
    board, metrics = _board(app), Metrics(__version__, _now)
    manager = Manager(os.environ)
    last_word = LastWord(app.mask)
    app.extra_sinks = (board.sink, metrics.sink, last_word.sink, *_notifying(manager, app, board))
    app.sighted, app.stated = board.sighted, board.stated
    limits = app.settings.limits
    doors = Doors(partial(_session, app), partial(app.connect, Purpose.LISTEN))
    drift = None if limits.drift_ms is None else limits.drift_ms / 1000
    rhythm = Rhythm(limits.poll_ms / 1000, time.monotonic, random.random, drift)
    engine = _engine(app, board, doors, rhythm)
    asyncio.get_running_loop().set_exception_handler(_report)
    with bridge_stdlib(app.log), _told(app):
        app.emit(WorkerStarted(__version__, os.getpid()))
        async with anyio.create_task_group() as tasks:
            await tasks.start(_heed_signals, app, engine.drain, tasks.cancel_scope)
            await tasks.start(_serve, app, board, metrics, engine.ask)
            tasks.start_soon(manager.beat)
            await engine.runs()
            tasks.cancel_scope.cancel()
        app.emit(WorkerStopped())


@dataclass(frozen=True, slots=True)
class Engine:
    """What the worker runs, what has it stop, and what answers for single targets of a fleet."""

    runs: Callable[[], Awaitable[None]]
    drain: Callable[[], None]
    ask: "Ask | None" = None


def _board(app: App) -> Board:
    if app.settings.fleet is None:
        return Board(app.settings.worker, __version__, _now, app.mask)
    from worker.fleet.board import FleetBoard  # noqa: PLC0415  only where there is one

    return FleetBoard(app.settings.worker, __version__, _now, app.mask)


def _engine(app: App, board: Board, doors: Doors, rhythm: Rhythm) -> Engine:
    """What the worker is made of: for one target, or for a fleet."""
    if app.settings.fleet is not None:
        from worker.cli.fleet.commands import crew, work  # noqa: PLC0415  only where there is one

        worker, answers = crew(app, board)
        return Engine(partial(work, app, worker, answers), worker.drain, answers.about)
    reconciler = Reconciler(doors, app.site, app.source(), board, rhythm)
    return Engine(partial(reconciler.run, f"{app.settings.control.schema}_wake", app.emit), reconciler.drain)


@contextmanager
def _told(app: App) -> Iterator[None]:
    """Have the log say as well what ends the worker."""
    try:
        yield
    except Exception as raised:
        error = first_of(raised)
        hint = error.hint if isinstance(error, TidegateError) else "please report it"
        reason = error.reason if isinstance(error, TidegateError) else type(error).__name__
        app.emit(WorkerFailed(reason, str(error), hint))
        raise


def _notifying(manager: Manager, app: App, board: Board) -> tuple[Sink, ...]:
    """Have systemd told, where it listens; the requirement is the one of `/readyz`."""
    if not manager:
        return ()
    notifier = Notifier(manager, board.snapshot, stated(app), app.mask)
    board.looked = notifier.looked
    return (notifier.sink,)


async def _session(app: App) -> "Session":
    conn = await app.connect(Purpose.MIGRATE)
    try:
        keep(conn)
        return await app.open_session(conn)
    except BaseException:
        # Refused, or cancelled by a signal: nobody else knows of this connection.
        conn.terminate()
        raise


async def _serve(
    app: App, board: Board, metrics: "Metrics", ask: "Ask | None", *, task_status: TaskStatus[None]
) -> None:
    from worker.http.app import build_app  # noqa: PLC0415  the web server is only the worker's
    from worker.http.server import serve  # noqa: PLC0415  the same

    def metrics_text() -> tuple[bytes, str]:
        metrics.observe(board.snapshot())
        return metrics.text()

    def started(port: int) -> None:
        app.emit(HttpServing(http.host, port))
        task_status.started()

    http = app.settings.http
    face = build_app(board.snapshot, stated(app), metrics_text, _now, ask)
    await serve(face, http.host, http.port, started=started)


async def _heed_signals(
    app: App, drain_now: Callable[[], None], everything: anyio.CancelScope, *, task_status: TaskStatus[None]
) -> None:
    """The first signal drains, the second one cancels; the receiver stays open for the whole run."""
    drain = app.settings.limits.drain_ms / 1000
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async with anyio.create_task_group() as tasks:
            async for number in signals:
                app.emit(WorkerDraining(signal.Signals(number).name, drain))
                drain_now()
                tasks.start_soon(_cancel_after, drain, everything.cancel)
                break
            async for _ in signals:
                everything.cancel()


async def _cancel_after(seconds: float, cancel: Callable[[], None]) -> None:
    await anyio.sleep(seconds)
    cancel()


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # A connect that is cancelled half-way leaves a future of asyncpg's behind with this error, which nobody awaits.
    error = context.get("exception")
    if not (isinstance(error, ConnectionError) and str(error) == "unexpected connection_lost() call"):
        loop.default_exception_handler(context)


def _now() -> datetime:
    return datetime.now(UTC)
