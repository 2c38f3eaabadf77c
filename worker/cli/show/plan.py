"""`tidegate plan`: what would be done, what it would lock, and what a linter says of it."""

import sys
from typing import TYPE_CHECKING

from worker.cli.excerpt import pointing
from worker.cli.lint import lint, required_linter
from worker.cli.output import print_json, print_line, print_table
from worker.cli.show.findings import Findings, size_of, unknown_text
from worker.cli.terminal import is_drawable, visible
from worker.core.bundles.migration import Gate
from worker.core.checks.lint import Remark, Threshold, counted
from worker.core.planning.plan import Back, Goal, To
from worker.errors import ExitCode, RefusedError
from worker.jobs.foresee import Foreseen, SizedLock, foresee
from worker.jobs.preview import preview
from worker.jobs.site import LATEST
from worker.postgres.faults import told

if TYPE_CHECKING:
    from worker.cli.app import App
    from worker.cli.arguments import Flags


async def show(app: "App", flags: "Flags") -> ExitCode:
    """Look, lint, print.

    Raises:
        RefusedError: Nothing may be done, or the linter found something that is as severe as was said.
    """
    program = None if flags.own.lint is None else required_linter()
    with pointing(app.settings.target.source):
        found = await _find(app, _goal(flags), program)
    _print(found, as_json=flags.own.json)
    _judge(found, Threshold(flags.own.lint or "none"))
    return ExitCode.PENDING if found.seen.effects and flags.own.check else ExitCode.OK


def _goal(flags: "Flags") -> Goal:
    if flags.own.down is not None:
        return Back(flags.own.down)
    return LATEST if flags.own.goto is None else To(flags.own.goto)


async def _find(app: "App", goal: Goal, linter: str | None) -> Findings:
    async with app.session() as session, told(session, "looking at the target"):
        seen = await preview(session, app.site, app.source(), goal)
        steps = await foresee(session, seen.runs)
        server = str(session.conn.get_server_version().major)
    remarks = None if linter is None else await lint(linter, server, steps)
    shows_text = app.settings.target.source is not None
    return Findings(goal, seen, steps, remarks, shows_text, app.site.limits.batch)


def _judge(found: Findings, threshold: Threshold) -> None:
    refusing = [remark for remark in found.remarks or () if threshold.refuses(remark.severity)]
    if refusing:
        raise RefusedError(
            f"the linter found {counted(refusing)} in what would be run",
            hint="correct the file; or put -- squawk-ignore RULE above the statement, or the rule into .squawk.toml",
            reason="lint",
        )


def _print(found: Findings, *, as_json: bool) -> None:
    if as_json:
        print_json(_document(found))
        return
    if not found.seen.effects:
        applied = f"; {found.seen.bundle.label} is applied" if found.goal == LATEST else ""
        print_line(f"{found.target}: nothing to do{applied}")
        return
    if found.adopted:
        print_line(f"adopt {len(found.adopted)} versions up to {found.adopted[-1]} that golang-migrate recorded")
    if is_drawable(sys.stdout):
        from worker.cli.show.plan_screen import draw  # noqa: PLC0415  rich, only where it draws

        draw(found)
    elif found.steps:
        _print_plainly(found)
    for versions in found.shared:
        print_line(f"versions {versions[0]} to {versions[-1]} share one transaction, all {len(versions)} of them")


def _print_plainly(found: Findings) -> None:
    head = ("direction", "version", "name", "bundle", "mode", "statements", "gate")
    steps = [step_document(step, found.seen.bundle.label) for step in found.steps]
    locks = ["; ".join(lock_texts(step)) for step in found.steps]
    print_table(
        (*head, "locks"), [(*(step[key] for key in head), held) for step, held in zip(steps, locks, strict=True)]
    )
    for remark in found.remarks or ():
        print_line(visible(remark_text(remark)))
        if remark.advice:
            print_line(f"  do: {visible(remark.advice)}")


def remark_text(remark: Remark) -> str:
    """A remark in one line, as compilers write it."""
    place = f"{remark.file}:{remark.line}:{remark.column}"
    return f"{place}: {remark.severity.value}: {remark.message} [{remark.rule}]"


def lock_texts(step: Foreseen) -> list[str]:
    """What a migration will lock, one line a table."""
    lines = [f"{held.lock.mode.value} {held.table} ({size_of(held)})" for held in step.locks]
    return [*lines, *([unknown_text(step)] if step.unknown else [])]


def _document(found: Findings) -> dict[str, object]:
    bundle = found.seen.bundle.label
    return {
        "target": found.target,
        "bundle": bundle,
        "adopt": found.adopted,
        "run": [step_document(step, bundle) for step in found.steps],
        "share_transaction": found.shared,
        "findings": None if found.remarks is None else [_remark(remark) for remark in found.remarks],
    }


def step_document(step: Foreseen, bundle: str) -> dict[str, object]:
    """A migration that would be run."""
    run, script, side = step.run, step.script, step.side
    return {
        "version": run.migration.version,
        "name": run.migration.name,
        "direction": run.direction.value,
        "bundle": run.lender or bundle,
        "mode": script.mode.value,
        "statements": sum(len(segment.statements) for segment in script.segments),
        "segments": len(script.segments),
        "gate": Gate.ON.value if side is None else side.directives.gate.value,
        "resumes": run.resume is not None,
        "locks": [_lock(held) for held in step.locks],
        "unknown_locks": list(step.unknown),
    }


def _lock(held: SizedLock) -> dict[str, object]:
    size = held.size
    return {
        "table": held.table,
        "mode": held.lock.mode.value,
        "holds_up": held.lock.mode.holds_up,
        "size_bytes": None if size is None else size.size_bytes,
        "rows": None if size is None else size.rows,
    }


def _remark(remark: Remark) -> dict[str, object]:
    return {
        "file": remark.file,
        "line": remark.line,
        "column": remark.column,
        "severity": remark.severity.value,
        "rule": remark.rule,
        "message": remark.message,
        "advice": remark.advice,
    }
