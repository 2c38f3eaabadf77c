"""`tidegate completion SHELL`, and the answers that the shell asks for: verbs, flags, their values, directories."""

import argparse
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import argcomplete
from argcomplete.completers import DirectoriesCompleter, FilesCompleter
from argcomplete.shell_integration import shellcode

from worker.cli.output import print_line
from worker.errors import ExitCode

if TYPE_CHECKING:
    from worker.cli.arguments import Flags

_SHELLS = ("bash", "zsh", "fish")
_CHOICES = {
    "log_level": ("debug", "info", "warning", "error"),
    "log_format": ("auto", "json", "console"),
    "order": ("error", "apply", "skip"),
    "new_table": ("true", "false"),
    "migrations_table_quoted": ("true", "false"),
    "lint": ("warning", "error"),
}
_DIRECTORIES = {"source"}
_FILES = {"bundle", "out"}


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """Which shell."""
    parser.add_argument("shell", choices=_SHELLS, metavar="SHELL", help=", ".join(_SHELLS))
    parser.epilog = (
        "bash:  source <(tidegate completion bash)     in ~/.bashrc\n"
        "zsh:   source <(tidegate completion zsh)      in ~/.zshrc, behind compinit\n"
        "fish:  tidegate completion fish | source      in ~/.config/fish/config.fish\n"
    )


def run(_verb: str, flags: "Flags") -> ExitCode:
    """Print what the shell is to read."""
    print_line(shellcode(["tidegate"], shell=flags.own.shell).strip("\n"))
    return ExitCode.OK


def answer() -> None:
    """Answer the shell, which asks through the environment, and exit."""
    from worker.cli.arguments import parser_for  # noqa: PLC0415  only where a shell asks

    parser = parser_for(_words())
    for each in _parsers(parser):
        for action in each._actions:  # noqa: SLF001  argparse has no other way to its arguments
            action.completer = _completer(action)  # type: ignore[attr-defined]  # how argcomplete wants it
    argcomplete.autocomplete(parser, always_complete_options=False, validator=_begins)


def _words() -> Sequence[str]:
    """The words of the line that is being completed, up to where the cursor is."""
    line = os.environ.get("COMP_LINE", "")
    return line.encode()[: int(os.environ.get("COMP_POINT", "0") or 0) or None].decode(errors="ignore").split()


def _parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    found = [parser]
    for action in parser._actions:  # noqa: SLF001  the same
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  the same
            for child in action.choices.values():
                found += _parsers(child)
    return found


def _completer(action: argparse.Action) -> object:
    if action.dest in _DIRECTORIES:
        return DirectoriesCompleter()
    if action.dest in _FILES and action.metavar in {"SOURCE", "FILE"}:
        return FilesCompleter()
    if action.dest in _CHOICES:
        return _offering(_CHOICES[action.dest])
    # What nobody can guess; the shell may still offer the names of files.
    return None if action.choices else _offering(())


def _offering(choices: Sequence[str]) -> Callable[..., Sequence[str]]:
    def complete(**_: object) -> Sequence[str]:
        return choices

    return complete


def _begins(candidate: str, typed: str) -> bool:
    return candidate.startswith(typed)
