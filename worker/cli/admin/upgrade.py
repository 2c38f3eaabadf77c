"""`tidegate admin upgrade`: the control schema, created or brought up to this program."""

import argparse
from typing import TYPE_CHECKING

import anyio

from worker import control_schema
from worker.cli.output import print_line
from worker.errors import ExitCode
from worker.jobs.look import Control, look
from worker.jobs.preflight import check_standing

if TYPE_CHECKING:
    from worker.cli.app import App
    from worker.cli.arguments import Flags
    from worker.postgres.session import Session


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """It takes settings alone."""


def run(app: "App", _flags: "Flags") -> ExitCode:
    """Upgrade the control schema, and say so."""
    print_line(anyio.run(_upgrade, app))
    return ExitCode.OK


async def _upgrade(app: "App") -> str:
    async def work(session: "Session") -> str:
        view = await look(session, app.site)
        if view.control is Control.CURRENT:
            return f"the control schema {session.control} is as new as this program; nothing to do"
        check_standing(view.survey.standing)
        await control_schema.ensure(session, app.site.limits, app.site.readers)
        return f"the control schema {session.control} is as new as this program now"

    return await app.with_session(work)
