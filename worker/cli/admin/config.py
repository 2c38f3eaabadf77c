"""`tidegate admin config`: the settings in force, with secrets masked."""

import argparse
from typing import TYPE_CHECKING

from worker.cli.output import print_json, print_line, print_table
from worker.errors import ExitCode

if TYPE_CHECKING:
    from worker.cli.app import App
    from worker.cli.arguments import Flags


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `config`."""
    parser.add_argument("--json", action="store_true", help="print a JSON document")


def run(app: "App", flags: "Flags") -> ExitCode:
    """Print each setting, its value and where that comes from."""
    in_force = app.settings.in_force
    if flags.own.json:
        print_json([{"name": each.name, "value": each.value, "origin": each.origin} for each in in_force])
        return ExitCode.OK
    print_table(("setting", "value", "from"), [(each.name, each.value, each.origin) for each in in_force])
    for unknown in app.settings.unknown:
        meant = "" if unknown.nearest is None else f"; did you mean {unknown.nearest}?"
        print_line(f"unknown: {unknown.name} means nothing here{meant}")
    return ExitCode.OK
