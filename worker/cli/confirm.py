"""Asking a person before something that cannot be taken back."""

import sys

from worker.cli.terminal import write
from worker.errors import UsageError


def confirm(doing: str, question: str) -> None:
    """Ask on a terminal; off it, `--yes` has to be said.

    Raises:
        UsageError: It was not agreed to.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"{doing} has to be confirmed", hint="say --yes")
    write(f"{question} [y/N] ")
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise UsageError("not confirmed; nothing was changed", hint="answer y, or say --yes")
