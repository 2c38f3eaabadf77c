"""`tidegate admin repair`: files that were rewritten in place after they had been applied, listed or accepted."""

import argparse
from typing import TYPE_CHECKING

import anyio

from worker.cli.aiming import add_target
from worker.cli.arguments import whole_number
from worker.cli.output import print_json, print_line, print_table
from worker.errors import ExitCode, UsageError
from worker.jobs.repair import Repaired, compare, repair

if TYPE_CHECKING:
    from worker.cli.app import App
    from worker.cli.arguments import Flags
    from worker.core.planning.content import Rewritten
    from worker.postgres.session import Session

_DIGITS = 12
_MAX_WHY = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `repair`."""
    add_target(parser)
    parser.add_argument(
        "--accept", metavar="VERSION", nargs="+", type=whole_number, help="record these files as they are now"
    )
    parser.add_argument("--why", metavar="TEXT", help="why they were rewritten; the history keeps it")
    parser.add_argument("--json", action="store_true", help="print a JSON document")


def run(app: "App", flags: "Flags") -> ExitCode:
    """List what differs, which exits 3 if anything does, or accept some of it."""
    why = _why(flags)
    done = anyio.run(_repair, app, flags, why)
    if flags.own.json:
        print_json(_document(done))
    else:
        _print(done)
    return ExitCode.REFUSED if done.differs and not done.accepted else ExitCode.OK


def _why(flags: "Flags") -> str:
    accept, why = flags.own.accept, flags.own.why
    if (accept is None) is not (why is None):
        missing = "--why TEXT" if why is None else "--accept VERSION"
        raise UsageError(f"repair was not told {missing}", hint="say --accept VERSION and --why TEXT, or neither")
    if why is not None and not (why.strip() and why.isprintable() and len(why) <= _MAX_WHY):
        raise UsageError(f"--why got {why!r:.60}; it takes 1 to {_MAX_WHY} printable characters", hint="say why")
    return why or ""


async def _repair(app: "App", flags: "Flags", why: str) -> Repaired:
    bundle, accept = app.source(), flags.own.accept

    async def work(session: "Session") -> Repaired:
        if accept is None:
            return await compare(session, app.site, bundle)
        return await repair(session, app.site, accept, why, bundle)

    try:
        return await app.with_session(work)
    finally:
        await app.moved()


def _document(done: Repaired) -> dict[str, object]:
    return {
        "target": done.target.name,
        "bundle": done.bundle,
        "accepted": [_difference(one) for one in done.accepted],
        "differs": [_difference(one) for one in done.differs],
    }


def _difference(one: "Rewritten") -> dict[str, object]:
    return {"version": one.version, "file": one.file, "recorded": one.recorded, "present": one.present}


def _print(done: Repaired) -> None:
    target = done.target.name
    for one in done.accepted:
        print_line(f"{target}: accepted {one.file} as version {one.version}, {one.present[:_DIGITS]}")
    if done.wanted is not None:
        print_line(f"{target}: the wanted bundle {done.wanted} has it as it was, and is refused: publish another one")
    if done.differs:
        print_line(f"{target}: these files of {done.bundle} are not what was applied:")
        rows = [(one.version, one.file, one.recorded[:_DIGITS], one.present[:_DIGITS]) for one in done.differs]
        print_table(("version", "file", "recorded", "present"), rows)
    elif not done.accepted:
        print_line(f"{target}: nothing differs; every file of {done.bundle} is what was applied")
