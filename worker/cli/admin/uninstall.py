"""`tidegate admin uninstall`: the control schema shown, agreed to, and dropped; the version table stays."""

import argparse
from typing import TYPE_CHECKING, Any

import anyio

from worker.cli.confirm import confirm
from worker.cli.output import print_json, print_line, print_table
from worker.core.planning.removal import Inventory, Kept
from worker.errors import ExitCode, UsageError
from worker.jobs.uninstall import inspect, uninstall

if TYPE_CHECKING:
    from worker.cli.app import App
    from worker.cli.arguments import Flags
    from worker.postgres.session import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `uninstall`."""
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print what was dropped as one JSON document; needs --yes")


def run(app: "App", flags: "Flags") -> ExitCode:
    """Show what goes and what stays, ask, and drop it."""
    own, control = flags.own, app.settings.control.schema
    if own.json and not own.yes:
        raise UsageError("--json asks nothing", hint="say --yes too; without both, it shows what would be dropped")

    async def work(session: "Session") -> Inventory | None:
        found = await inspect(session, app.site)
        if found is None:
            return None
        if not own.json:
            _show(found, control)
        if not own.yes:
            confirm("dropping the control schema", f"drop the schema {control}?")
        return await uninstall(session, app.site)

    async def connected() -> Inventory | None:
        return await app.with_session(work)

    _tell(anyio.run(connected), control, as_json=own.json)
    return ExitCode.OK


def _show(found: Inventory, control: str) -> None:
    rows = [(thing.kind, thing.name, "" if thing.rows is None else f"{thing.rows} rows") for thing in found.ours]
    rows += [("grant", f"to {grant.role}", f"{grant.privileges} on {grant.on}") for grant in found.grants]
    print_line(f"goes, with the schema {control}:")
    print_table(("what", "name", ""), rows)
    print_line("stays, with everything outside that schema:")
    for kept in found.kept:
        print_line(f"version table {kept.target.name}, {_at(kept)}")


def _tell(found: Inventory | None, control: str, *, as_json: bool) -> None:
    if as_json:
        print_json(_document(found, control))
    elif found is None:
        print_line(f"there is no control schema {control} here; nothing to do")
    else:
        print_line(f"the control schema {control} is gone")
        for kept in found.kept:
            print_line(f"golang-migrate finds {kept.target.name}: {_at(kept)}")


def _at(kept: Kept) -> str:
    if not kept.has_table:
        return "not there"
    if kept.recorded is None:
        return "no version"
    if kept.recorded.dirty:
        return f"version {kept.recorded.version}, dirty: migrate force {kept.recorded.version} comes first"
    return f"version {kept.recorded.version}, clean"


def _document(found: Inventory | None, control: str) -> dict[str, Any]:
    there = found or Inventory()
    return {
        "result": "nothing_there" if found is None else "dropped",
        "schema": control,
        "dropped": [{"kind": thing.kind, "name": thing.name, "rows": thing.rows} for thing in there.ours],
        "grants": [{"role": each.role, "privileges": each.privileges, "on": each.on} for each in there.grants],
        "kept": [
            {
                "target": kept.target.name,
                "table": kept.has_table,
                "version": None if kept.recorded is None else kept.recorded.version,
                "dirty": None if kept.recorded is None else kept.recorded.dirty,
            }
            for kept in there.kept
        ],
    }
