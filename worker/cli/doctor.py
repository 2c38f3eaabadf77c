"""`tidegate doctor`: everything that makes a first run fail, checked on the live database without changing it."""

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import anyio

from worker.cli.aiming import add_target, for_one, serves_fleet
from worker.cli.app import App
from worker.cli.output import print_json, print_line
from worker.cli.terminal import is_drawable
from worker.core.checks.findings import Finding, Severity
from worker.doctor.target import examine_gate, examine_target, of_refusal
from worker.errors import ExitCode, RefusedError
from worker.postgres.connection import Purpose, closing

if TYPE_CHECKING:
    from worker.cli.arguments import Flags

_STYLE = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.OK: "green"}


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """The arguments of `doctor`."""
    parser.add_argument("--gate", action="store_true", help="check what an application's gate needs, and nothing else")
    add_target(parser)
    parser.add_argument("--json", action="store_true", help="print the findings as a JSON document")


def run(_verb: str, flags: "Flags") -> ExitCode:
    """Check, print the findings, and exit 3 if a run would fail."""
    app = App(flags)
    if flags.own.target is None and not flags.own.gate and serves_fleet(app, flags):
        from worker.cli.fleet.doctor import examine  # noqa: PLC0415  only where there is one

        return examine(app, as_json=flags.own.json)
    findings = anyio.run(_gate if flags.own.gate else _target, for_one(app, flags, "doctor"))
    if flags.own.json:
        print_json([_document(finding) for finding in findings])
    else:
        _print(findings)
    return ExitCode.REFUSED if any(each.severity is Severity.ERROR for each in findings) else ExitCode.OK


async def _target(app: App) -> tuple[Finding, ...]:
    bundle = app.source()
    try:
        async with app.session() as session:
            return await examine_target(session, app.site, bundle)
    except RefusedError as refusal:
        return (of_refusal(refusal),)


async def _gate(app: App) -> tuple[Finding, ...]:
    try:
        async with closing(await app.connect(Purpose.GATE)) as conn:
            return await examine_gate(conn, app.settings.control.schema)
    except RefusedError as refusal:
        return (of_refusal(refusal),)


def _document(finding: Finding) -> dict[str, str]:
    return {
        "check": finding.check,
        "severity": finding.severity.value,
        "message": finding.message,
        "advice": finding.advice,
        "sql": finding.sql,
    }


def _print(findings: Iterable[Finding]) -> None:
    if is_drawable(sys.stdout):
        _draw(findings)
        return
    for finding in findings:
        print_line(f"{finding.severity.value:8} {finding.check}: {finding.message}")
        if finding.advice:
            print_line(f"{'':8} do: {finding.advice}")
        for line in finding.sql.splitlines():
            print_line(f"{'':8} {line}")


def _draw(findings: Iterable[Finding]) -> None:
    from rich.text import Text  # noqa: PLC0415  only where it draws

    from worker.cli.screen import console, indented, text  # noqa: PLC0415  the same

    screen = console(sys.stdout)
    for finding in findings:
        severity = text(f"{finding.severity.value:8}", _STYLE[finding.severity])
        screen.print(Text.assemble(severity, " ", text(finding.check, "bold"), ": ", text(finding.message)))
        if finding.advice:
            screen.print(indented(text(f"do: {finding.advice}"), 9))
        if finding.sql:
            screen.print(indented(text(finding.sql, "cyan"), 9))
