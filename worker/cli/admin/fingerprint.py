"""`tidegate admin fingerprint`: what is in the database now is right, a person says, also what was changed by hand."""

import argparse
from typing import TYPE_CHECKING

import anyio

from worker.cli.aiming import add_target
from worker.cli.drift import print_verdict
from worker.cli.output import print_line
from worker.core.status.drift import Verdict
from worker.errors import ExitCode
from worker.jobs.fingerprint import accept

if TYPE_CHECKING:
    from worker.cli.app import App
    from worker.cli.arguments import Flags
    from worker.postgres.session import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `fingerprint`."""
    add_target(parser)
    parser.add_argument("--json", action="store_true", help="print what was drift until now, as status --drift does")


def run(app: "App", flags: "Flags") -> ExitCode:
    """Take the fingerprint, and print what was drift until then."""
    target, was = anyio.run(_accept, app)
    print_verdict(target, was, app.mask, as_json=flags.own.json)
    if not flags.own.json:
        print_line(f"{target}: the catalogue is right as it is now")
    return ExitCode.OK


async def _accept(app: "App") -> tuple[str, Verdict]:
    async def work(session: "Session") -> tuple[str, Verdict]:
        return await accept(session, app.site)

    return await app.with_session(work)
