"""`tidegate admin adopt`: the ledger follows a version table that another program moved."""

import argparse
from typing import TYPE_CHECKING

import anyio

from worker.cli.aiming import add_target
from worker.cli.output import print_json, print_line
from worker.errors import ExitCode
from worker.jobs.adopt import Adopted, adopt

if TYPE_CHECKING:
    from worker.cli.app import App
    from worker.cli.arguments import Flags


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `adopt`."""
    add_target(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON document")


def run(app: "App", flags: "Flags") -> ExitCode:
    """Adopt, and say what came of it."""
    anyio.run(_adopt, app, flags)
    return ExitCode.OK


async def _adopt(app: "App", flags: "Flags") -> None:
    bundle = app.source()
    try:
        done = await app.with_session(lambda session: adopt(session, app.site, bundle))
    finally:
        await app.moved()
    if flags.own.json:
        print_json(_document(done))
        return
    for line in _lines(done):
        print_line(f"{done.target.name}: {line}")


def _document(done: Adopted) -> dict[str, object]:
    return {
        "target": done.target.name,
        "version": done.version,
        "adopted": list(done.adopted),
        "forgotten": list(done.forgotten),
        "pinned": done.pinned,
    }


def _lines(done: Adopted) -> list[str]:
    at = "no version" if done.version is None else f"version {done.version}"
    if not done.adopted and not done.forgotten:
        return [f"nothing to do; the ledger and the version table agree on {at}"]
    lines = [f"forgot {_listed(done.forgotten)}, which the history keeps"] if done.forgotten else []
    lines += [f"adopted {_listed(done.adopted)} as applied by another program"] if done.adopted else []
    pinned = "" if done.pinned is None else f", and pinned by {done.pinned}: workers wait until tidegate resume"
    return [*lines, f"the ledger is at {at} now{pinned}; no SQL was run"]


def _listed(versions: tuple[int, ...]) -> str:
    return f"version{'' if len(versions) == 1 else 's'} {', '.join(map(str, versions))}"
