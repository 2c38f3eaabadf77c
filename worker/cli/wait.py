"""`tidegate wait` and `tidegate exec`: hold something back until its requirement is met."""

import argparse
import asyncio
import os
import random
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from worker.cli import stay
from worker.cli.app import App
from worker.cli.requirement import required
from worker.cli.signals import give_back
from worker.core.planning.plan import Latest
from worker.errors import ExitCode, TidegateError, UsageError
from worker.gate import Gate, OnFailure, wait
from worker.postgres.connection import Purpose

if TYPE_CHECKING:
    from worker.cli.arguments import Flags

_SHORT_SECONDS = 1.0
"""A gate that is open at the first look is passed within this."""


def add_arguments(verb: str, parser: argparse.ArgumentParser) -> None:
    """The arguments of the gate."""
    parser.add_argument("--at-least", metavar="V", help="require version V, and nothing pending below it")
    parser.add_argument("--bundle", metavar="LABEL", help="require the bundle with this label")
    parser.add_argument(
        "--target", metavar="NAME", help="which target, where the database has several; of a fleet, its whole name"
    )
    parser.add_argument("--fail-fast", action="store_true", help="exit 1 when the job failed, instead of waiting on")
    if verb == "exec":
        parser.usage = "tidegate exec [options] -- COMMAND [ARGUMENT ...]"


def run(verb: str, flags: "Flags") -> ExitCode:
    """Wait; `exec` then becomes the command."""
    _state(flags)
    app = _app(flags)
    if verb == "exec":
        _become(_awaited(app, flags))
    asyncio.run(_wait(app, flags))
    return ExitCode.OK


def _app(flags: "Flags") -> App:
    """The surroundings; of a target of a fleet, by the fleet's file alone, where one is set."""
    app = App(flags)
    if app.settings.fleet is None:
        return app
    if flags.own.target is None:
        raise UsageError(
            "a gate is for one target, and a fleet is set",
            hint="say which: --target NAME; or leave --fleet and TIDEGATE_FLEET out",
        )
    from worker.cli.fleet.aim import aimed_unread  # noqa: PLC0415  only where there is a fleet

    return aimed_unread(flags, flags.own.target)


def _awaited(app: App, flags: "Flags") -> list[str]:
    """Migrate or wait, and return the command."""
    command: list[str] = flags.own.command or []
    if not command:
        raise UsageError("exec has no command", hint="say it behind two dashes: tidegate exec -- ./api")
    asyncio.run(_migrate(app) if app.settings.auto_migrate else _wait(app, flags))
    return command


def _state(flags: "Flags") -> None:
    """The two short flags are one setting."""
    stated = {"version": flags.own.at_least, "bundle": flags.own.bundle}
    said = [f"{kind}:{value}" for kind, value in stated.items() if value is not None]
    if len(said) > 1 or (said and flags.settings["require"] is not None):
        raise UsageError("more than one requirement was stated", hint="say one of --at-least, --bundle and --require")
    if said:
        flags.settings["require"] = said[0]


async def _wait(app: App, flags: "Flags") -> None:
    limit = app.settings.limits.wait_ms
    gate = Gate(
        connect=partial(app.connect, Purpose.GATE),
        control=app.settings.control.schema,
        requirement=required(app),
        target=app.gate_target or flags.own.target,
        timeout=None if limit is None else limit / 1000,
        on_failure=OnFailure.FAIL if flags.own.fail_fast else OnFailure.WAIT,
        emit=app.emit,
        clock=time.monotonic,
        jitter=random.random,
    )
    asyncio.get_running_loop().call_later(_SHORT_SECONDS, stay)
    await wait(gate)


async def _migrate(app: App) -> None:
    from worker.cli.up import bring_about  # noqa: PLC0415  a gate that only waits applies nothing

    await bring_about(app, Latest(), None, agreed=True)


def _become(command: list[str]) -> NoReturn:
    """Replace this process by the command: its signals and its exit code are then its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    # The command must not migrate a second time.
    environment = {**os.environ, "DB_AUTO_MIGRATE": "false"}
    give_back()
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606  becoming the user's command is what exec is for
    except FileNotFoundError as error:
        raise _CommandError(f"{command[0]}: not found", ExitCode.NOT_FOUND) from error
    except OSError as error:
        raise _CommandError(f"{command[0]}: {error.strerror}", ExitCode.CANNOT_RUN) from error


class _CommandError(TidegateError):
    """The command behind `exec` cannot be run."""

    reason = "command"

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message, hint="check its path, and that it may be executed")
        self.exit_code = code  # type: ignore[misc]  # of this one error, not of its class
