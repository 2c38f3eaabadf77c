"""`tidegate plan`, `status`, `history` and `version`: look, and change nothing, not even the control schema."""

import argparse
from importlib import import_module
from typing import TYPE_CHECKING

import anyio

from worker.cli.aiming import add_target, for_one, serves_fleet
from worker.cli.app import App
from worker.cli.arguments import whole_number
from worker.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.cli.arguments import Flags

_HISTORY = 50


def add_arguments(verb: str, parser: argparse.ArgumentParser) -> None:
    """The arguments of the verbs that only look."""
    add_target(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    if verb == "plan":
        _add_plan(parser)
    if verb == "history":
        parser.add_argument("--limit", "-n", type=int, default=_HISTORY, metavar="N", help="rows, 50 if not said")
    if verb == "status":
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--watch", action="store_true", help="go on, every second, until interrupted")
        what.add_argument("--drift", action="store_true", help="what differs from what the last job left")


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="exit 10 if there is anything to do")
    parser.add_argument(
        "--lint", nargs="?", const="none", choices=["none", "warning", "error"], metavar="warning|error",
        help="have squawk look at what would be run; exit 3 if it finds something so severe",
    )  # fmt: skip
    goal = parser.add_mutually_exclusive_group()
    goal.add_argument("--down", metavar="N", type=whole_number, help="what undoing the last N would do")
    goal.add_argument("--goto", metavar="V", type=whole_number, help="what going to version V would do")


def run(verb: str, flags: "Flags") -> ExitCode:
    """Look, and print what is there."""
    app = App(flags)
    if verb == "status" and flags.own.target is None and serves_fleet(app, flags):
        return anyio.run(_fleet, app, flags)
    app = for_one(app, flags, verb)
    show: Callable[[App, Flags], Awaitable[ExitCode]] = import_module(f"worker.cli.show.{verb}").show
    return anyio.run(show, app, flags)


async def _fleet(app: App, flags: "Flags") -> ExitCode:
    """How all targets of a fleet stand."""
    from worker.cli.fleet import commands  # noqa: PLC0415  only where there is one

    if flags.own.drift or flags.own.watch:
        what = "--drift" if flags.own.drift else "--watch"
        raise UsageError(f"status {what} is for one target, and a fleet is set", hint="say which: --target NAME")
    return await commands.status(app, as_json=flags.own.json)
