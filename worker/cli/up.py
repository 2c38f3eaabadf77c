"""`tidegate up`, `down` and `goto`: bring the target somewhere, once, and exit."""

import argparse
import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from worker.cli.aiming import add_target, add_targets, for_one, serves_fleet
from worker.cli.app import App
from worker.cli.arguments import whole_number
from worker.cli.drawing import drawing
from worker.cli.output import print_json, print_line
from worker.core.bundles.bundle import Bundle
from worker.core.bundles.migration import Direction
from worker.core.planning.plan import Back, Goal, Latest, Next, Run, To
from worker.core.planning.reconcile import Insistence
from worker.errors import ExitCode, UsageError
from worker.jobs.bring import bring
from worker.jobs.look import look_settled
from worker.jobs.site import Report, Request, Result
from worker.postgres.session import Session

if TYPE_CHECKING:
    from worker.cli.arguments import Flags

_TELL_SECONDS = 5.0


def add_arguments(verb: str, parser: argparse.ArgumentParser) -> None:
    """The arguments of the verbs that move a target."""
    match verb:
        case "up":
            parser.add_argument("count", metavar="N", type=whole_number, nargs="?", help="apply the next N only; pins")
            add_targets(parser)
        case "down":
            parser.add_argument("count", metavar="N", type=whole_number, nargs="?", help="undo the last N, default 1")
            parser.add_argument("--all", "-all", action="store_true", help="undo all of them")
        case _:
            parser.add_argument("version", metavar="V", type=whole_number, help="the version that is to be the highest")
    if verb != "up":
        add_target(parser)
        parser.add_argument("--yes", "-y", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON document")


def run(verb: str, flags: "Flags") -> ExitCode:
    """Bring the target to the verb's goal."""
    own = flags.own
    app = App(flags)
    if verb == "up" and own.count is None and serves_fleet(app, flags):
        return _fleet(app, flags)
    app = for_one(app, flags, "up N" if verb == "up" else verb)
    match verb:
        case "up":
            goal: Goal = Latest() if own.count is None else Next(own.count)
            pin = None if own.count is None else f"up {own.count}"
        case "down":
            if own.all and own.count is not None:
                raise UsageError("down takes N or --all, not both", hint="leave one of them out")
            goal = Back(None if own.all else 1 if own.count is None else own.count)
            pin = "down --all" if own.all else f"down {1 if own.count is None else own.count}"
        case _:
            goal, pin = To(own.version), f"goto {own.version}"
    with drawing(app, app.settings.target.source):
        report = asyncio.run(bring_about(app, goal, pin, agreed=verb == "up" or own.yes))
    _print(report, pin if report.result in {Result.APPLIED, Result.UP_TO_DATE} else None, as_json=own.json)
    return ExitCode.OK


def _fleet(app: App, flags: "Flags") -> ExitCode:
    from worker.cli.fleet import commands  # noqa: PLC0415  only where there is one

    names = None if flags.own.target is None else tuple(flags.own.target)
    return asyncio.run(commands.up(app, names, as_json=flags.own.json))


async def bring_about(app: App, goal: Goal, pin: str | None, *, agreed: bool) -> Report:
    """Bring the target to a goal, with the directory that was given or else the wanted bundle."""
    bundle = app.source()

    async def work(session: Session) -> Report:
        shown = None if agreed else await _confirm(session, app, bundle, goal)
        return await bring(session, app.site, Request(Insistence.COMMAND, goal, bundle, pin, shown), bundle)

    try:
        return await app.with_session(work)
    finally:
        # A person who has interrupted it waits for this: a fleet's server may be away.
        with suppress(TimeoutError):
            async with asyncio.timeout(_TELL_SECONDS):
                await app.moved()


async def _confirm(session: Session, app: App, given: Bundle | None, goal: Goal) -> tuple[int, ...]:
    """Show what would be undone, and ask; off a terminal, `--yes` has to be said. Returns what was agreed to."""
    from worker.cli.confirm import confirm  # noqa: PLC0415  only where something may be undone
    from worker.jobs.preview import preview  # noqa: PLC0415  the same

    await look_settled(session, app.site, given)
    seen = await preview(session, app.site, given, goal)
    undone = [run for run in seen.runs if run.direction is Direction.DOWN]
    for run in undone:
        print_line(f"undo {run.migration.version} {run.migration.name}{_lent(run)}")
    if undone:
        confirm("undoing migrations", f"undo these {len(undone)} in {seen.view.survey.target.name}?")
    return tuple(run.migration.version for run in undone)


def _lent(run: Run) -> str:
    if run.lender is not None:
        return f" (bundle {run.lender})"
    return "" if run.migration.down is not None else " (no down file: only the record goes)"


def _print(report: Report, pinned: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "result": report.result.value,
                "target": report.target.name,
                "bundle": report.bundle,
                "applied": list(report.applied),
                "adopted": report.adopted,
                "version": report.version,
                "pinned": pinned,
                "why": report.why,
            }
        )
        return
    at = "no version" if report.version is None else f"version {report.version}"
    at += "" if pinned is None else ", and pinned until tidegate resume"
    adopted = f", {report.adopted} adopted from golang-migrate" if report.adopted else ""
    match report.result:
        case Result.APPLIED:
            print_line(f"{report.target.name}: {len(report.applied)} migrations run{adopted}; it is at {at}")
        case Result.UP_TO_DATE:
            print_line(f"{report.target.name}: nothing to do; it is at {at}")
        case Result.NOTHING_WANTED:
            print_line(f"{report.target.name}: {report.why}")
        case Result.LEFT_ALONE:
            print_line(f"{report.target.name}: left alone: {report.why}")
