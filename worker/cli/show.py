"""`tidegate plan`, `status`, `history` and `version`: look, and change nothing, not even the control schema."""

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio

from worker import __version__
from worker.applier.run import read
from worker.cli.app import App
from worker.cli.arguments import whole_number
from worker.cli.output import print_json, print_line, print_table
from worker.core.migration import Direction, Gate
from worker.core.plan import Adopt, Back, Goal, Run, To
from worker.core.snapshot import Snapshot, TargetStatus
from worker.core.status_document import status_document
from worker.errors import ExitCode
from worker.jobs.look import look
from worker.jobs.preview import Preview, preview
from worker.jobs.site import LATEST
from worker.jobs.status import target_status
from worker.postgres.faults import told
from worker.postgres.target_half import TargetHalf

if TYPE_CHECKING:
    from worker.cli.arguments import Flags

_HISTORY = 50


def add_arguments(verb: str, parser: argparse.ArgumentParser) -> None:
    """The arguments of the verbs that only look."""
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    if verb == "plan":
        parser.add_argument("--check", action="store_true", help="exit 10 if there is anything to do")
        goal = parser.add_mutually_exclusive_group()
        goal.add_argument("--down", metavar="N", type=whole_number, help="what undoing the last N would do")
        goal.add_argument("--goto", metavar="V", type=whole_number, help="what going to version V would do")
    if verb == "history":
        parser.add_argument("--limit", "-n", type=int, default=_HISTORY, metavar="N", help="rows, 50 if not said")
    if verb == "status":
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--watch", action="store_true", help="go on, every second, until interrupted")
        what.add_argument("--drift", action="store_true", help="what differs from what the last job left")


def run(verb: str, flags: "Flags") -> ExitCode:
    """Look, and print what is there."""
    verbs = {"plan": _plan, "status": _status, "history": _history, "version": _version}
    return anyio.run(verbs[verb], App(flags), flags)


async def _plan(app: App, flags: "Flags") -> ExitCode:
    goal = _goal(flags)
    async with app.session() as session, told(session, "looking at the target"):
        seen = await preview(session, app.site, app.source(), goal)
    _print_plan(seen, goal, as_json=flags.own.json)
    return ExitCode.PENDING if seen.effects and flags.own.check else ExitCode.OK


def _goal(flags: "Flags") -> Goal:
    if flags.own.down is not None:
        return Back(flags.own.down)
    return LATEST if flags.own.goto is None else To(flags.own.goto)


def _print_plan(seen: Preview, goal: Goal, *, as_json: bool) -> None:
    target, bundle = seen.view.survey.target.name, seen.bundle.label
    adopted = [entry.version for effect in seen.effects if isinstance(effect, Adopt) for entry in effect.entries]
    steps = [_step(run, bundle) for run in seen.runs]
    if as_json:
        print_json({"target": target, "bundle": bundle, "adopt": adopted, "run": steps})
        return
    if not seen.effects:
        print_line(f"{target}: nothing to do" + (f"; {bundle} is applied" if goal == LATEST else ""))
        return
    if adopted:
        print_line(f"adopt {len(adopted)} versions up to {adopted[-1]} that golang-migrate recorded")
    if steps:
        head = ("direction", "version", "name", "bundle", "mode", "statements", "gate")
        print_table(head, [[step[key] for key in head] for step in steps])


def _step(effect: Run, bundle: str) -> dict[str, object]:
    migration, script = effect.migration, read(effect.migration, effect.direction)
    side = migration.up if effect.direction is Direction.UP else migration.down
    return {
        "version": migration.version,
        "name": migration.name,
        "direction": effect.direction.value,
        "bundle": effect.lender or bundle,
        "mode": script.mode.value,
        "statements": sum(len(segment.statements) for segment in script.segments),
        "segments": len(script.segments),
        "gate": Gate.ON.value if side is None else side.directives.gate.value,
        "resumes": effect.resume is not None,
    }


async def _status(app: App, flags: "Flags") -> ExitCode:
    if flags.own.drift:
        from worker.cli.drift import show_drift  # noqa: PLC0415  rare, and not needed by the other verbs

        return await show_drift(app, as_json=flags.own.json)
    async with app.session() as session:
        while True:
            async with told(session, "looking at the target"):
                view = await look(session, app.site)
            _print_status(app, target_status(view), as_json=flags.own.json)
            if not flags.own.watch:
                return ExitCode.OK
            await anyio.sleep(1)


def _print_status(app: App, status: TargetStatus, *, as_json: bool) -> None:
    now = datetime.now(UTC)
    if as_json:
        snapshot = Snapshot(
            worker=app.settings.worker, version=__version__, started_at=now, at=now, database=None, draining=False,
            listening=False, holds_lock=False, running=None, targets=(status,),
        )  # fmt: skip
        print_json(status_document(snapshot))
        return
    row = status.readiness
    lines = [
        ("target", status.target),
        ("line", status.line),
        ("wanted", status.wanted or "nothing"),
        ("version", ("none" if status.version is None else str(status.version)) + (" (dirty)" if status.dirty else "")),
        ("applied", str(status.applied)),
        ("pending", ", ".join(map(str, status.pending)) or "none"),
        ("job", "none" if status.state is None else status.state.value),
        ("ready for", "nothing yet" if row is None else ", ".join(row.bundles) or "no bundle as a whole"),
    ]
    lines += [("left alone", status.paused)] if status.paused else []
    lines += [("failed", str(status.failure))] if status.failure else []
    lines += [("refused", status.refusal)] if status.refusal else []
    for name, value in lines:
        print_line(f"{name:10}  {value}")


async def _history(app: App, flags: "Flags") -> ExitCode:
    async with app.session() as session, told(session, "reading the history"):
        view = await look(session, app.site)
        rows = await TargetHalf(session, view.survey.target).history(flags.own.limit) if view.has_control else []
    keys = ("at", "action", "version", "name", "bundle", "mode", "duration_ms", "role", "worker", "note")
    if flags.own.json:
        print_json([{key: row[key] for key in keys} for row in rows])
        return ExitCode.OK
    shown = [
        (row["at"].isoformat(sep=" ", timespec="seconds"), row["action"], row["version"], row["name"], row["bundle"],
         row["mode"], f"{row['duration_ms']:.1f} ms", row["role"], row["worker"], row["note"])
        for row in rows
    ]  # fmt: skip
    print_table(("at", "action", "version", "name", "bundle", "mode", "took", "role", "worker", "note"), shown)
    return ExitCode.OK


async def _version(app: App, flags: "Flags") -> ExitCode:
    async with app.session() as session, told(session, "looking at the target"):
        recorded = (await look(session, app.site)).observation.observed.recorded
    if flags.own.json:
        print_json(
            {"version": None if recorded is None else recorded.version, "dirty": bool(recorded and recorded.dirty)}
        )
        return ExitCode.OK
    dirty = " (dirty)" if recorded is not None and recorded.dirty else ""
    print_line("no version" if recorded is None else f"{recorded.version}{dirty}")
    return ExitCode.OK
