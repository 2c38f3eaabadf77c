"""`tidegate status`: what is applied, pending, running and ready; once, or until interrupted."""

import sys
from contextlib import aclosing
from typing import TYPE_CHECKING

from worker.cli.output import print_json, print_line
from worker.cli.show.looks import Look, looks, rows, seen
from worker.cli.terminal import is_drawable
from worker.core.status.status_document import status_document
from worker.errors import ExitCode

if TYPE_CHECKING:
    from worker.cli.app import App
    from worker.cli.arguments import Flags


async def show(app: "App", flags: "Flags") -> ExitCode:
    """Look once, or every second until interrupted; or compare the catalogue."""
    if flags.own.drift:
        from worker.cli.drift import show_drift  # noqa: PLC0415  rare

        return await show_drift(app, as_json=flags.own.json)
    if flags.own.watch and not flags.own.json and is_drawable(sys.stdout):
        from worker.cli.show.watch import watch  # noqa: PLC0415  rich, only where it draws

        return await watch(app)
    if not flags.own.watch:
        async with app.session() as session:
            _print(await seen(app, session), as_json=flags.own.json)
        return ExitCode.OK
    async with aclosing(looks(app)) as each_look:
        async for found in each_look:
            _print(found, as_json=flags.own.json)
    return ExitCode.OK


def _print(found: Look, *, as_json: bool) -> None:
    snapshot = found.snapshot
    if as_json:
        print_json(status_document(snapshot))
        return
    if snapshot.database is not None:
        print_line(f"{'database':10}  {snapshot.database}")
        return
    if is_drawable(sys.stdout):
        from worker.cli.show.status_screen import draw  # noqa: PLC0415  rich, only where it draws

        draw(found)
        return
    for name, value in rows(snapshot.targets[0]):
        print_line(f"{name:10}  {value}")
