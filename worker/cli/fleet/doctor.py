"""`tidegate doctor` for a fleet: one summary of all that would make a run of it fail."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial

import anyio

from worker.cli.app import App
from worker.cli.fleet.aim import aimed_session, site_of
from worker.cli.fleet.app import FleetApp
from worker.cli.fleet.summary import counted
from worker.cli.output import print_json, print_line
from worker.core.checks.findings import Severity
from worker.core.fleet.declared import Declared
from worker.doctor.fleet import FleetCheckup, Rounds, Trouble, examine_fleet
from worker.errors import ExitCode
from worker.jobs.site import Site
from worker.postgres.connection import closing
from worker.postgres.session import Session

LIMIT = 100
"""So many troubles are shown; all of them are counted."""

_WORST = (ExitCode.REFUSED, ExitCode.USAGE, ExitCode.NO_DATABASE, ExitCode.TIMED_OUT)


def examine(app: App, *, as_json: bool) -> ExitCode:
    """Check the fleet, print what is wrong, and exit as the worst of it would have a run exit: 3, 2, 5 or 4."""
    found = anyio.run(examine_fleet, _rounds(app))
    if as_json:
        print_json(_document(app, found))
    else:
        for line in _lines(found):
            print_line(app.mask(line))
    codes = {each.code for each in found.troubles if each.finding.severity is Severity.ERROR}
    return next((code for code in _WORST if code in codes), ExitCode.OK)


def _rounds(app: App) -> Rounds:
    own = FleetApp(app)

    @asynccontextmanager
    async def home() -> AsyncIterator[Session]:
        session = await own.home()
        async with closing(session.conn):
            yield session

    def site(declared: Declared) -> Site:
        return site_of(own.site, declared)

    return Rounds(own.read(), own.path, own.server, home, partial(aimed_session, own), site, app.source())


def _document(app: App, found: FleetCheckup) -> dict[str, object]:
    return {
        "targets": found.targets,
        "databases": found.databases,
        "sound": found.sound,
        "findings": [_finding(app, each) for each in found.troubles[:LIMIT]],
        "omitted": max(0, len(found.troubles) - LIMIT),
    }


def _finding(app: App, trouble: Trouble) -> dict[str, object]:
    finding = trouble.finding
    return {
        "where": app.mask(trouble.where),
        "targets": trouble.targets,
        "check": finding.check,
        "severity": finding.severity.value,
        "message": app.mask(finding.message),
        "advice": app.mask(finding.advice),
        "sql": app.mask(finding.sql),
    }


def _lines(found: FleetCheckup) -> Iterable[str]:
    for each in found.troubles[:LIMIT]:
        more = f" (and {counted(each.targets - 1, 'target')} more)" if each.targets > 1 else ""
        yield f"{each.finding.severity.value:8} {each.where}{more}: {each.finding.check}: {each.finding.message}"
        if each.finding.advice:
            yield f"{'':8} do: {each.finding.advice}"
        yield from (f"{'':8} {line}" for line in each.finding.sql.splitlines())
    if len(found.troubles) > LIMIT:
        yield f"… and {len(found.troubles) - LIMIT} more findings"
    where = counted(found.databases, "database")
    yield f"{found.sound} of {counted(found.targets, 'target')} in {where} have nothing wrong"
