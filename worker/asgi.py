"""Holds a Python API back until the schema is what it needs, inside its own process.

    app = gate(app, require="version:12")

or, in the lifespan of Starlette or FastAPI:

    async with ready(require="bundle:1.4.0"):
        yield

Settings are those of `tidegate wait`: an argument goes before the environment, and `DB_SCHEMA_DIR` is the requirement
where nothing else is. What is waited for is logged by the standard library's logger `tidegate`.
"""

import dataclasses
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from os import environ
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from worker.bundles.directory import read_directory
from worker.core.bundles.bundle import unsealed
from worker.core.events.event import Context, Emitter, Event
from worker.core.planning.readiness import AtLeast, OfBundle, Requirement
from worker.errors import TidegateError, UsageError
from worker.gate import Gate, OnFailure, directory_requirement, wait
from worker.postgres.connection import Purpose, connect
from worker.settings.reading import read_settings, require_database
from worker.settings.values import RequiredDirectory, RequirementSetting

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_APPLICATION_NAME = "tidegate gate"
_logger = logging.getLogger("tidegate")


def gate(
    app: App,
    *,
    require: str | None = None,
    database: str | None = None,
    target: str | None = None,
    timeout: str | None = None,
) -> App:
    """Wrap an ASGI application so that its start-up begins only once the requirement is met.

    A server accepts no request before its lifespan's start-up is complete; it must not be told to leave lifespans out.
    On a time-out or a wrong setting the start-up fails with the reason, and the server ends by its own exit code.

    Args:
        app: the application; it gets everything else untouched.
        require: `version:V`, `bundle:LABEL` or `dir:PATH`.
        database: a connection string.
        target: the version table's schema and name, where the database has several.
        timeout: for example `5m`; `none` waits for ever, `0` looks once.
    """

    async def gated(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        startup = await receive()
        if await _started(send, require=require, database=database, target=target, timeout=timeout):
            await app(scope, _again(startup, receive), send)

    return gated


@asynccontextmanager
async def ready(
    *,
    require: str | None = None,
    database: str | None = None,
    target: str | None = None,
    timeout: str | None = None,  # noqa: ASYNC109 - it is a setting's text
) -> AsyncIterator[None]:
    """Enter the block once the requirement is met; the arguments are those of `gate`.

    Raises:
        UsageError: No requirement or database is set, or a setting is wrong.
        TimedOutError: The time is up.
    """
    await wait(_gate(require, database, target, timeout))
    yield


async def _started(send: Send, **arguments: str | None) -> bool:
    """Wait, and fail the start-up whatever goes wrong: a server takes an error for a lack of lifespan, and starts."""
    try:
        await wait(_gate(**arguments))
    except TidegateError as error:
        hint = f"; {error.hint}" if error.hint else ""
        await send({"type": "lifespan.startup.failed", "message": f"{error.message}{hint}"})
        return False
    except Exception as error:
        await send({"type": "lifespan.startup.failed", "message": f"the gate failed: {type(error).__name__}"})
        raise
    return True


def _again(first: Message, receive: Receive) -> Receive:
    """Hand out the message that was received already, and then the others."""
    kept = [first]

    async def replay() -> Message:
        return kept.pop() if kept else await receive()

    return replay


def _gate(require: str | None, database: str | None, target: str | None, timeout: str | None) -> Gate:
    flags = {"require": require, "database": database, "timeout": timeout}
    settings = read_settings(environ, flags, worker=_APPLICATION_NAME)
    source = require_database(settings).waiting

    async def dial() -> "Connection[Record]":
        return await connect(source.read(), Purpose.GATE, application_name=_APPLICATION_NAME)

    limit = settings.limits.wait_ms
    return Gate(
        connect=dial,
        control=settings.control.schema,
        requirement=_requirement(settings.target.requirement),
        target=target,
        timeout=None if limit is None else limit / 1000,
        on_failure=OnFailure.WAIT,
        emit=Emitter((log_event,)),
        clock=time.monotonic,
        jitter=random.random,
    )


def _requirement(setting: RequirementSetting | None) -> Requirement:
    match setting:
        case None:
            raise UsageError(
                "nothing says what this application requires",
                hint='give require="version:V", or set TIDEGATE_REQUIRE or DB_SCHEMA_DIR',
            )
        case RequiredDirectory(path):
            return directory_requirement(read_directory(Path(path), vet=unsealed), path)
        case AtLeast() | OfBundle():
            return setting
        case _:
            assert_never(setting)


def log_event(event: Event, _context: Context) -> None:
    """Hand an event to the standard library's logger `tidegate`."""
    level = logging.getLevelNamesMapping()[event.level.name]
    fields = " ".join(f"{name}={value}" for name, value in dataclasses.asdict(event).items())
    _logger.log(level, "%s %s", event.name(), fields)
