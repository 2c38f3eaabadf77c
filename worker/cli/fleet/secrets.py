"""The passwords of a fleet's connections, so that no output holds one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from worker.cli.fleet.app import FleetApp, source_of
from worker.core.fleet.declared import Group, Reference
from worker.errors import TidegateError
from worker.postgres.password import read_password
from worker.settings.reading import require_database

if TYPE_CHECKING:
    from worker.cli.app import App
    from worker.log import Secret
    from worker.settings.source import Source


def secrets_of(app: "App") -> "tuple[Secret, ...]":
    """Every password behind the references of the fleet's file; a file that is in error has none to hide."""
    try:
        groups = FleetApp(app).read().groups
    except TidegateError:
        return ()
    home = require_database(app.settings).migrating
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
