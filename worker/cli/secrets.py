"""The passwords that connections are made with, a fleet's too, so that no output holds one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from worker.cli.fleet_file import read_fleet_file, source_of
from worker.core.fleet.declared import Group, Reference
from worker.errors import TidegateError
from worker.postgres.password import read_password
from worker.settings.reading import require_database

if TYPE_CHECKING:
    from worker.log import Secret
    from worker.settings.source import Source
    from worker.settings.values import Settings


def secrets_of(settings: "Settings") -> "tuple[Secret, ...]":
    """Every password that a connection was or will be made with; one in a file is read at each line."""
    database = settings.database
    sources = () if database is None else (database.migrating, database.waiting)
    own = tuple(secret for source in sources for secret in (_password_of(source), _key_password_of(source)))
    return own if settings.fleet is None or database is None else (*own, *_fleet_secrets(settings))


def _password_of(source: "Source") -> Callable[[], str]:
    def read() -> str:
        try:
            params = source.read()
            return read_password(params, params.user or "", params.database or "")
        except TidegateError:
            return ""

    return read


def _key_password_of(source: "Source") -> Callable[[], str]:
    def read() -> str:
        try:
            return source.read().tls.key_password
        except TidegateError:
            return ""

    return read


def _fleet_secrets(settings: "Settings") -> "tuple[Secret, ...]":
    """Every password behind the references of the fleet's file; a file that is in error has none to hide."""
    try:
        groups = read_fleet_file(settings).groups
    except TidegateError:
        return ()
    home = require_database(settings).migrating
    places = {group.reference: group for group in groups if group.reference is not None}
    return tuple(secret for reference, group in places.items() for secret in _of(reference, group, home))


def _of(reference: Reference, group: Group, home: "Source") -> "Iterator[Secret]":
    def read() -> tuple[str, ...]:
        try:
            params = source_of(reference, group.place, home).read()
            return (read_password(params, params.user or "", params.database or ""), params.tls.key_password)
        except TidegateError:
            return ()

    if reference.kind == "file":
        yield from _Changing(reference.value, read).secrets
    else:
        # The environment of a process stays as it is.
        yield from read()


class _Changing:
    """What a file holds, read again when it has changed: every line of the log asks."""

    def __init__(self, path: str, read: Callable[[], tuple[str, ...]]) -> None:
        self._path = path
        self._read = read
        self._stamp: tuple[int, int, int] | None = None
        self._found: tuple[str, ...] = ()

    @property
    def secrets(self) -> "tuple[Secret, ...]":
        """The password, and the one of the client's key."""
        return tuple(lambda place=place: self._at(place) for place in range(2))

    def _at(self, place: int) -> str:
        try:
            seen = Path(self._path).stat()
        except OSError:
            seen = None
        stamp = None if seen is None else (seen.st_mtime_ns, seen.st_size, seen.st_ino)
        if stamp is None or stamp != self._stamp:
            self._stamp, self._found = stamp, self._read()
        return self._found[place] if place < len(self._found) else ""
