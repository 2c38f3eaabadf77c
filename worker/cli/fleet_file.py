"""The fleet's file: read by the verbs, and before them by what hides the passwords that it refers to."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from worker.core.connecting.dsn import LiteralPassword, parse_dsn
from worker.core.fleet.declared import Fleet, Reference
from worker.core.fleet.file import read_fleet
from worker.errors import SettingError
from worker.postgres.password import read_secret_file
from worker.settings.source import Source, UrlFile

if TYPE_CHECKING:
    from worker.settings.values import Settings

_MAX_BYTES = 64 * 1024 * 1024


def fleet_origin(settings: "Settings") -> str:
    """What named the fleet's file."""
    return next(each.origin for each in settings.in_force if each.name == "fleet")


def read_fleet_file(settings: "Settings") -> Fleet:
    """The fleet's file, read now.

    Raises:
        SettingError: It cannot be read, or is no fleet's file.
    """
    path, origin = settings.fleet or "", fleet_origin(settings)
    try:
        with Path(path).open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise SettingError(f"{origin}: {path} cannot be read: {error.strerror}", hint="it takes a TOML file") from error
    if len(text) > _MAX_BYTES:
        raise SettingError(f"{origin}: {path} is larger than {_MAX_BYTES} bytes", hint="use queries")
    return read_fleet(text, path)


def source_of(reference: Reference, place: str, home: Source) -> Source:
    """Where a group's connection string is.

    Raises:
        SettingError: The variable is not set, the file cannot be read, or the URL holds a password.
    """
    options, timeout = home.options, home.connect_timeout_ms
    match reference.kind:
        case "env":
            text = os.environ.get(reference.value)
            if not text:
                raise SettingError(f"{place}: {reference.value} is not set", hint="set it to a Postgres URL")
            return Source(parse_dsn(text, reference.value), options, timeout)
        case "file":
            read_secret_file(reference.value, place)
            return Source(UrlFile(place, reference.value), options, timeout)
        case _:
            dsn = parse_dsn(reference.value, f"{place}, database")
            if isinstance(dsn.params.password, LiteralPassword):
                raise SettingError(
                    f"{place}: the database's URL holds a password",
                    hint='a fleet\'s file holds no secrets: write database = { env = "NAME" } or { file = "/path" }',
                )
            return Source(dsn, options, timeout)
