"""`tidegate admin …`: what concerns the installation rather than a migration."""

import argparse
from typing import TYPE_CHECKING

from worker.cli.app import App
from worker.cli.arguments import SettingsParser
from worker.cli.output import print_json, print_line, print_table
from worker.errors import ExitCode

if TYPE_CHECKING:
    from worker.cli.arguments import Flags


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """The verbs of `admin`."""
    verbs = parser.add_subparsers(dest="what", metavar="WHAT", required=True, parser_class=SettingsParser)
    config = verbs.add_parser("config", help="print the settings in force, where each comes from, and no secret")
    config.add_argument("--json", action="store_true", help="print a JSON document")


def run(_verb: str, flags: "Flags") -> ExitCode:
    """Run one of the verbs of `admin`."""
    settings = App(flags).settings
    if flags.own.json:
        print_json([{"name": each.name, "value": each.value, "origin": each.origin} for each in settings.in_force])
        return ExitCode.OK
    print_table(("setting", "value", "from"), [(each.name, each.value, each.origin) for each in settings.in_force])
    for unknown in settings.unknown:
        meant = "" if unknown.nearest is None else f"; did you mean {unknown.nearest}?"
        print_line(f"unknown: {unknown.name} means nothing here{meant}")
    return ExitCode.OK
