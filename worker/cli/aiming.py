"""`--target`: which target of a fleet a verb is about."""

import argparse
from typing import TYPE_CHECKING

from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.cli.app import App
    from worker.cli.arguments import Flags

_ONE = "of a fleet, this target: its whole name, or its schema where that is enough"


def add_target(parser: argparse.ArgumentParser) -> None:
    """The argument of the verbs that are about one target."""
    parser.add_argument("--target", metavar="NAME", help=_ONE)


def add_targets(parser: argparse.ArgumentParser) -> None:
    """The argument of the verbs that are about all targets of a fleet, or about some."""
    parser.add_argument("--target", metavar="NAME", action="append", help=f"{_ONE}; may be said again")


def for_one(app: "App", flags: "Flags", verb: str) -> "App":
    """The surroundings of a verb for one target: the settings' own, or the one that --target names of a fleet.

    Raises:
        UsageError: A fleet is set and no target named, or the other way round; or the fleet has no such target.
    """
    word = _only(flags.own.target, verb)
    if not serves_fleet(app, flags):
        return app
    if word is None:
        raise UsageError(
            f"{verb} is for one target, and a fleet is set",
            hint="say which: --target NAME; or leave --fleet and TIDEGATE_FLEET out",
        )
    from worker.cli.fleet.aim import aimed  # noqa: PLC0415  only where there is a fleet

    return aimed(flags, word)


def serves_fleet(app: "App", flags: "Flags") -> bool:
    """Whether a fleet is set.

    Raises:
        UsageError: None is, and a target was named.
    """
    if app.settings.fleet is None and flags.own.target:
        raise UsageError("--target names a target of a fleet", hint="say --fleet FILE, or set TIDEGATE_FLEET")
    return app.settings.fleet is not None


def _only(said: "list[str] | str | None", verb: str) -> str | None:
    if not isinstance(said, list):
        return said
    if len(said) > 1:
        raise UsageError(f"{verb} is for one target, and {len(said)} are named", hint="say --target once")
    return said[0]
