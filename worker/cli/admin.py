"""`tidegate admin …`: what concerns the installation rather than a migration."""

import argparse
from typing import TYPE_CHECKING

import anyio

from worker import control_schema
from worker.cli.app import App
from worker.cli.arguments import SettingsParser
from worker.cli.output import print_json, print_line, print_table
from worker.errors import ExitCode
from worker.jobs.look import look

if TYPE_CHECKING:
    from worker.cli.arguments import Flags
    from worker.postgres.session import Session
    from worker.settings.values import Settings


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """The verbs of `admin`."""
    verbs = parser.add_subparsers(dest="what", metavar="WHAT", required=True, parser_class=SettingsParser)
    config = verbs.add_parser("config", help="print the settings in force, where each comes from, and no secret")
    config.add_argument("--json", action="store_true", help="print a JSON document")
    verbs.add_parser("upgrade", help="create the control schema, or bring it up to this program; applies no bundle")


def run(_verb: str, flags: "Flags") -> ExitCode:
    """Run one of the verbs of `admin`."""
    app = App(flags)
    if flags.own.what == "upgrade":
        print_line(anyio.run(_upgrade, app))
    elif flags.own.json:
        in_force = app.settings.in_force
        print_json([{"name": each.name, "value": each.value, "origin": each.origin} for each in in_force])
    else:
        _print_config(app.settings)
    return ExitCode.OK


def _print_config(settings: "Settings") -> None:
    print_table(("setting", "value", "from"), [(each.name, each.value, each.origin) for each in settings.in_force])
    for unknown in settings.unknown:
        meant = "" if unknown.nearest is None else f"; did you mean {unknown.nearest}?"
        print_line(f"unknown: {unknown.name} means nothing here{meant}")


async def _upgrade(app: App) -> str:
    async def work(session: "Session") -> str:
        if (await look(session, app.site)).has_control:
            return f"the control schema {session.control} is as new as this program; nothing to do"
        await control_schema.ensure(session, app.site.limits, app.site.readers)
        return f"the control schema {session.control} is as new as this program now"

    return await app.with_session(work)
