"""`tidegate version`: the version that the schema is at."""

from typing import TYPE_CHECKING

from worker.cli.output import print_json, print_line
from worker.errors import ExitCode
from worker.jobs.look import look
from worker.postgres.faults import told

if TYPE_CHECKING:
    from worker.cli.app import App
    from worker.cli.arguments import Flags


async def show(app: "App", flags: "Flags") -> ExitCode:
    """Print it."""
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
