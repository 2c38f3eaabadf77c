"""`tidegate create`: an empty pair of migration files with the next version."""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from worker.bundles.directory import local_path
from worker.bundles.scaffold import create
from worker.cli.output import print_line
from worker.errors import ExitCode

if TYPE_CHECKING:
    from worker.cli.arguments import Flags


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """The arguments of `create`; golang-migrate's spellings are understood."""
    parser.add_argument("name", metavar="NAME", help="what the migration does, for example add_customers")
    parser.add_argument("--dir", "-dir", dest="directory", metavar="DIR", help="where to; else --source, else here")
    parser.add_argument("--timestamp", action="store_true", help="number it by the time (UTC) instead of in sequence")


def run(_verb: str, flags: "Flags") -> ExitCode:
    """Make the two files, and print their paths."""
    directory = local_path(flags.own.directory or flags.settings["source"] or ".")
    version = int(datetime.now(UTC).strftime("%Y%m%d%H%M%S")) if flags.own.timestamp else None
    for path in create(Path(directory), flags.own.name, version):
        print_line(str(path))
    return ExitCode.OK
