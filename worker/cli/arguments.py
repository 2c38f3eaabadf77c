"""Arguments: one parser, in which only the verb that is called is complete, so that no other one is loaded."""

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, NoReturn

from worker import __version__
from worker.cli.terminal import write
from worker.core.value import dataclass
from worker.errors import ExitCode, UsageError
from worker.settings.table import CONNECTION_VARIABLES, DATABASE_FLAGS, SETTINGS, Setting

_COLUMNS = 80
_GOLANG_SPELLING = {"--source": "-source"}


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line said: settings by name, and the verb's own arguments."""

    settings: dict[str, str | None]
    own: argparse.Namespace


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: its module in this package, its group in `--help`, and its line there."""

    name: str
    module: str
    group: str
    help: str

    def run(self, flags: Flags) -> ExitCode:
        """Load the verb's module and run it."""
        run: Callable[[str, Flags], ExitCode] = import_module(f"worker.cli.{self.module}").run
        return run(self.name, flags)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Load the verb's module and let it say its own arguments."""
        import_module(f"worker.cli.{self.module}").add_arguments(self.name, parser)


VERBS = {
    verb.name: verb
    for verb in (
        Verb("run", "run", "everyday", "the worker: apply on start and whenever a bundle is published"),
        Verb("up", "up", "everyday", "apply what is pending, or the next N, and exit"),
        Verb("publish", "publish", "everyday", "publish a directory or an archive as a bundle"),
        Verb("wait", "wait", "everyday", "wait until the schema is what an application needs"),
        Verb("exec", "wait", "everyday", "wait (or migrate, DB_AUTO_MIGRATE=true), then become another program"),
        Verb("plan", "show", "everyday", "show what would be done; --check exits 10 if that is anything"),
        Verb("status", "show", "everyday", "show what is applied, pending, running and ready"),
        Verb("history", "show", "everyday", "show what was done and undone"),
        Verb("retry", "steer", "everyday", "try a failed or refused job again; --segment answers a doubt"),
        Verb("pause", "steer", "everyday", "have workers leave the target alone"),
        Verb("resume", "steer", "everyday", "end a pause, or the pin of down, goto, force or up N"),
        Verb("doctor", "doctor", "everyday", "check a live database for all that makes a run fail; prints the SQL"),
        Verb("down", "up", "golang-migrate's", "undo the last N migrations, or --all"),
        Verb("goto", "up", "golang-migrate's", "migrate up or down to a version"),
        Verb("force", "steer", "golang-migrate's", "say which version the schema is at, without running anything"),
        Verb("version", "show", "golang-migrate's", "print the version that the schema is at"),
        Verb("create", "create", "golang-migrate's", "make an empty pair of migration files"),
        Verb("bundle", "bundle", "more", "pack, sign, list, verify and withdraw bundles"),
        Verb("admin", "admin", "more", "the installation: roles, settings, control schema, records"),
        Verb("completion", "completion", "more", "print what bash, zsh or fish need to complete a command line"),
    )
}

_PURPOSE = "Brings a Postgres schema up to the level that an application needs, then opens the gate."

FLEET_VERBS = frozenset(VERBS) - {"create", "bundle", "completion"}
"""The verbs that are about all targets of a fleet, about the one that --target names, or about a line of it."""

_EXIT_CODES = """\
exit codes:
    0  done, or nothing to do        5  no database
    1  a migration failed            6  in doubt: a person has to look
    2  usage or settings            10  plan --check found something pending
    3  refused, nothing changed     70  internal
    4  timed out waiting       126/127  the command cannot be run, or was not found"""

_EXAMPLES = """\
begin with:
    tidegate run --embedded                         watch it work on a private Postgres
    tidegate up --source ./migrations --database postgres://…
    tidegate wait --at-least 12 && ./api            hold an API back until version 12"""


def parse(argv: Sequence[str]) -> tuple[Verb, Flags]:
    """Parse the command line.

    Raises:
        UsageError: It cannot be understood.
    """
    ours, command = _split(argv)
    parser = parser_for(ours, _named(ours))
    own = parser.parse_args(ours)
    own.command = command
    if own.verb is None and argv:
        raise UsageError("no verb was given", hint="see tidegate --help; for example tidegate up")
    if own.verb is None:
        parser.print_help()
        raise SystemExit(ExitCode.OK)
    if getattr(own, "fleet", None) is not None and own.verb not in FLEET_VERBS:
        raise UsageError(f"{own.verb} takes no --fleet", hint=f"these do: {', '.join(sorted(FLEET_VERBS))}")
    names = ("database", *(setting.name for setting in SETTINGS))
    return VERBS[own.verb], Flags({name: getattr(own, name, None) for name in names}, own)


def _split(argv: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Take the command of `exec -- CMD …` off: what stands behind the two dashes is not ours to read."""
    words = list(argv)
    if "--" not in words:
        return words, None
    place = words.index("--")
    return words[:place], words[place + 1 :]


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in the way in which every other error is said."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"see {self.prog} --help")

    def _print_message(self, message: str, _file: object = None) -> None:
        """Write help or the version; argparse itself takes what cannot be written for written."""
        write(message)


class SettingsParser(_Parser):
    """The parser of a verb's own verb, behind which the settings are understood too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_formatter, **options)
        _add_settings(self, SETTINGS, default=argparse.SUPPRESS)


def _named(argv: Sequence[str]) -> tuple[Setting, ...]:
    """The settings that a parser of these words has to know; all of them where it shows its help, or one may hide."""
    if not argv or any(map(_may_hold_more, argv)):
        return SETTINGS
    return tuple(setting for setting in SETTINGS if any(word.startswith(_flags(setting)) for word in argv))


def _may_hold_more(word: str) -> bool:
    """Whether a word asks for help, or has several flags behind one dash or a part of one, as in -ysDIR or -pat."""
    is_several = len(word) > 1 and word[0] == "-" and word[1] not in "-sd" and word != "-y"
    return word.startswith(("-h", "--help")) or (is_several and not word.startswith("-path"))


def parser_for(argv: Sequence[str], settings: Sequence[Setting] = SETTINGS) -> argparse.ArgumentParser:
    """The parser of a command line that has these words; only the verbs among them are complete."""
    parser = _Parser(
        prog="tidegate",
        usage="tidegate VERB [option ...]",
        description=f"{_PURPOSE}\n\n{_EXAMPLES}\n\n{_verbs()}",
        epilog=f"{_variables()}\n\n{_EXIT_CODES}",
        formatter_class=_formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", "-version", action="version", version=f"tidegate {__version__}")
    _add_settings(parser, settings, default=None)
    shared = _Parser(add_help=False, allow_abbrev=False)
    _add_settings(shared, settings, default=argparse.SUPPRESS)
    verbs = parser.add_subparsers(
        dest="verb", metavar="VERB", prog="tidegate", parser_class=_Parser, help=argparse.SUPPRESS
    )
    called = VERBS.keys() & set(argv)
    # Each parser takes time to make: without a known verb they are made for the list of what there is.
    for verb in [VERBS[name] for name in called or VERBS]:
        if verb.name in called:
            child = verbs.add_parser(
                verb.name, parents=[shared], description=verb.help, epilog=_EXIT_CODES, allow_abbrev=False,
                formatter_class=_formatter,
            )  # fmt: skip
            verb.add_arguments(child)
        else:
            verbs.add_parser(verb.name, add_help=False)
    return parser


def _formatter(prog: str) -> argparse.HelpFormatter:
    """As wide as the terminal; argparse would ask shutil for that, which is slow to load, at each argument."""
    try:
        columns = int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(1).columns or _COLUMNS
    except (OSError, ValueError):
        columns = _COLUMNS
    return _Help(prog, width=columns - 2)


class _Help(argparse.RawDescriptionHelpFormatter):
    """Leaves the settings, which every verb takes, out of the line of usage."""

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[Any],
        prefix: str | None = None,
    ) -> None:
        settings = {"database", *(setting.name for setting in SETTINGS)}
        super().add_usage(usage, [action for action in actions if action.dest not in settings], groups, prefix)


def _add_settings(parser: argparse.ArgumentParser, settings: Sequence[Setting], default: str | None) -> None:
    group = parser.add_argument_group("settings (a flag goes before its variable)")
    group.add_argument(
        *DATABASE_FLAGS,
        dest="database",
        metavar="URL",
        default=default,
        help="where to connect; DB_URL, DB_*, …; others can see a flag: keep a password out of it",
    )
    for setting in settings:
        if setting.flags:
            shown = "" if setting.default is None else f", default {setting.default}"
            group.add_argument(
                *_flags(setting), dest=setting.name, metavar="VALUE", default=default,
                help=f"{setting.help} ({setting.variable}{shown})".replace("%", "%%"),
            )  # fmt: skip


def _flags(setting: Setting) -> tuple[str, ...]:
    """A setting's flags, as golang-migrate spells them too."""
    return (*setting.flags, *(_GOLANG_SPELLING[flag] for flag in setting.flags if flag in _GOLANG_SPELLING))


def _verbs() -> str:
    lines = []
    for group in dict.fromkeys(verb.group for verb in VERBS.values()):
        lines.append(f"{group}:")
        lines += [f"    {verb.name:12}{verb.help}" for verb in VERBS.values() if verb.group == group]
    return "\n".join(lines)


def _variables() -> str:
    lines = [f"    {variable.name:16}{variable.help}" for variable in CONNECTION_VARIABLES]
    return "\n".join(["where to connect, the first family that is set:", "    --database", *lines])


def whole_number(text: str) -> int:
    """Read a version or a count."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"got {text!r}; it takes a whole number, 0 or more")
    return int(text)
