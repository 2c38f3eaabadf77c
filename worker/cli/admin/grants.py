"""`tidegate admin grants`: the whole role set-up as SQL, for somebody who may create roles."""

import argparse
from typing import TYPE_CHECKING

from worker.cli.terminal import write
from worker.core.checks.grants import MARK, Roles, role_setup
from worker.core.target import Target
from worker.core.version_table import MAX_IDENTIFIER_BYTES
from worker.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from worker.cli.app import App
    from worker.cli.arguments import Flags

_NOBODY = "none"
_OTHERS = ("migrator", "api", "publisher", "reader")
_OPTIONAL = ("publisher", "reader")
# The grammar takes these for something else, also between double quotes.
_RESERVED = frozenset({"public", "none"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The roles, and where they are to have rights."""
    parser.add_argument("--owner", type=_name, required=True, help="owns everything, and does not log in")
    for role, does in (
        ("migrator", "logs in to migrate, and acts as the owner"),
        ("api", "the application's: CRUD and its gate"),
        ("publisher", "publishes bundles; none: no such role"),
        ("reader", "looks on; none: no such role"),
    ):
        parser.add_argument(f"--{role}", type=_name, metavar="ROLE", help=f"{does} (default OWNER's name, _{role})")
    parser.add_argument("--dbname", type=_name, help="the database, if not that of the settings")
    parser.add_argument(
        "--app-schema", type=_name, action="append", metavar="SCHEMA", dest="schemas",
        help="a schema of the application; may be said several times; public if not said",
    )  # fmt: skip


def run(app: "App", flags: "Flags") -> ExitCode:
    """Print the SQL; nothing is connected to."""
    said, control = app.settings.target.version_table, app.settings.control.schema
    schemas = tuple(dict.fromkeys(flags.own.schemas or (said.schema or "public",)))
    if control in schemas:
        raise UsageError(
            f"{control} is both the control schema and a schema of the application: the API would write the records",
            hint="give the control schema a name of its own: TIDEGATE_SCHEMA",
        )
    version_table = Target(said.schema or schemas[0], said.table)
    write(role_setup(_roles(flags.own), _database(app, flags), schemas, control, version_table))
    return ExitCode.OK


def _roles(own: argparse.Namespace) -> Roles:
    base = own.owner.removesuffix("_owner")
    named = {role: getattr(own, role) or _name(f"{base}_{role}") for role in _OTHERS}
    publisher, reader = (None if named[role] == _NOBODY else named[role] for role in _OPTIONAL)
    roles = Roles(own.owner, named["migrator"], named["api"], publisher, reader)
    for role in roles.names:
        if role in _RESERVED or role.startswith("pg_"):
            raise UsageError(f"{role} is a name that PostgreSQL keeps for itself", hint="give the role another name")
    if len(set(roles.names)) < len(roles.names):
        raise UsageError("two of the roles have the same name", hint="each of them is a role of its own")
    return roles


def _database(app: "App", flags: "Flags") -> str:
    database = app.settings.database
    name: str | None = flags.own.dbname or (None if database is None else database.migrating.read().database)
    if name is None:
        raise UsageError("no database is named", hint="say --dbname NAME, or set DB_URL or DB_NAME")
    return name


def _name(text: str) -> str:
    if not text.isprintable() or not text or MARK in text or len(text.encode()) > MAX_IDENTIFIER_BYTES:
        raise argparse.ArgumentTypeError(f"got {text!r:.80}; it takes a name of 1 to {MAX_IDENTIFIER_BYTES} bytes")
    return text
