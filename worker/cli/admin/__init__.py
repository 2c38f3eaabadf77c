"""`tidegate admin …`: what concerns the installation rather than a migration; a module for each verb of it."""

import argparse
from importlib import import_module
from typing import TYPE_CHECKING, Any

from worker.cli.aiming import for_one
from worker.cli.app import App
from worker.cli.arguments import SettingsParser
from worker.errors import ExitCode

if TYPE_CHECKING:
    from worker.cli.arguments import Flags

_VERBS = {
    "adopt": "have the ledger follow a version table that another program moved; runs no SQL",
    "config": "print the settings in force, where each comes from, and no secret",
    "fingerprint": "take the catalogue as it is as right, so that what status --drift shows is drift no more",
    "grants": "print the set-up of the roles as SQL: owner, migrator, API, publisher and reader",
    "repair": "list files that were rewritten after they had been applied, or --accept them",
    "upgrade": "create the control schema, or bring it up to this program; applies no bundle",
    "uninstall": "drop the control schema and leave the version table: the way back to golang-migrate",
}


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """The verbs of `admin`, each with its own arguments."""
    verbs = parser.add_subparsers(dest="what", metavar="WHAT", required=True, parser_class=SettingsParser)
    for name, words in _VERBS.items():
        _module(name).add_arguments(verbs.add_parser(name, help=words, description=words))


def run(_verb: str, flags: "Flags") -> ExitCode:
    """Run one of the verbs of `admin`."""
    app, what = App(flags), flags.own.what
    if hasattr(flags.own, "target"):
        app = for_one(app, flags, f"admin {what}")
    code: ExitCode = _module(what).run(app, flags)
    return code


def _module(name: str) -> Any:
    return import_module(f"{__name__}.{name}")
