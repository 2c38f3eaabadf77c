"""`tidegate history`: what was done and undone, newest first."""

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from worker.cli.output import print_json, print_table
from worker.cli.terminal import is_drawable
from worker.core.amounts import seconds_text
from worker.core.status.masking import Mask
from worker.errors import ExitCode
from worker.jobs.look import look
from worker.postgres.faults import told
from worker.postgres.target_half import TargetHalf

if TYPE_CHECKING:
    from asyncpg import Record

    from worker.cli.app import App
    from worker.cli.arguments import Flags

_KEYS = ("at", "action", "version", "name", "bundle", "mode", "duration_ms", "role", "worker", "note")
_STYLES = {"up": "green", "down": "yellow", "force": "red", "repair": "red", "answer": "yellow"}


async def show(app: "App", flags: "Flags") -> ExitCode:
    """Read it, and print it as a document, as a table that is drawn, or as plain lines."""
    async with app.session() as session, told(session, "reading the history"):
        view = await look(session, app.site)
        found = await TargetHalf(session, view.survey.target).history(flags.own.limit) if view.has_control else []
    rows = [_masked(row, app.mask) for row in found]
    if flags.own.json:
        print_json([{key: row[key] for key in _KEYS} for row in rows])
    elif is_drawable(sys.stdout):
        _draw(rows)
    else:
        shown = [
            (row["at"].isoformat(sep=" ", timespec="seconds"), *(row[key] for key in _KEYS[1:6]),
             f"{row['duration_ms']:.1f} ms", *(row[key] for key in _KEYS[7:]))
            for row in rows
        ]  # fmt: skip
        print_table(("at", "action", "version", "name", "bundle", "mode", "took", "role", "worker", "note"), shown)
    return ExitCode.OK


def _masked(row: "Record", mask: Mask) -> dict[str, Any]:
    return {key: mask(value) if isinstance(value, str) else value for key, value in row.items()}


def _draw(rows: Iterable[Mapping[str, Any]]) -> None:
    from worker.cli.screen import Column, console, table, text  # noqa: PLC0415  rich, only where it draws

    screen = console(sys.stdout)
    columns = (
        Column("at", style="dim"), Column("action"), Column("version", is_number=True), Column("name"),
        Column("took", is_number=True), Column("bundle", rank=1), Column("mode", rank=4), Column("role", rank=3),
        Column("worker", rank=5, style="dim"), Column("note", rank=2),
    )  # fmt: skip
    cells = [
        (f"{row['at'].astimezone():%Y-%m-%d %H:%M:%S}", text(row["action"], _STYLES.get(row["action"], "")),
         row["version"], row["name"], seconds_text(row["duration_ms"] / 1000), row["bundle"], row["mode"],
         row["role"], row["worker"], row["note"])
        for row in rows
    ]  # fmt: skip
    screen.print(table(columns, cells, screen.width) if cells else text("nothing was done yet", "dim"))
