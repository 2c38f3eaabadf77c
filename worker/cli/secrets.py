"""The passwords that connections are made with, a fleet's too, so that no output holds one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from worker.cli.fleet_file import read_fleet_file, source_of
from worker.core.fleet.declared import Group, Reference
from worker.errors import TidegateError
from worker.postgres.password import password_file, read_password
from worker.settings.reading import require_database
from worker.settings.source import Source, UrlFile

if TYPE_CHECKING:
    from worker.log import Secret
    from worker.settings.values import Settings

_Stamp = tuple[int, int, int] | None


def secrets_of(settings: "Settings") -> "tuple[Secret, ...]":
    """Every password that a connection was or will be made with; one in a file is read again when that has changed."""
    if settings.database is None:
        return ()
    own = (settings.database.migrating, settings.database.waiting)
    distinct = own[:1] if own[0] == own[1] else own
    fleet = () if settings.fleet is None else _fleet_sources(settings)
    return tuple(secret for source in (*distinct, *fleet) for secret in _of(source))


def _fleet_sources(settings: "Settings") -> Iterator[Source]:
    """Those behind the references of the fleet's file; a file that is in error has none."""
    try:
        groups = read_fleet_file(settings).groups
    except TidegateError:
        return
    home = require_database(settings).migrating
    for reference, group in {group.reference: group for group in groups if group.reference is not None}.items():
        source = _source(reference, group, home)
        if source is not None:
            yield source


def _source(reference: Reference, group: Group, home: Source) -> Source | None:
    if reference.kind == "file":
        # It may not be there yet.
        return Source(UrlFile(group.place, reference.value))
    try:
        return source_of(reference, group.place, home)
    except TidegateError:
        return None


def _of(source: Source) -> "Iterator[Secret]":
    found = _look(source)
    if found.files:
        yield _Changing(source, found).secrets
    else:
        # The environment of a process stays as it is.
        yield from found.secrets


@dataclass(frozen=True, slots=True)
class _Found:
    """The password and the one of the client's key, and the files that they came from."""

    secrets: tuple[str, str]
    files: tuple[Path, ...]


def _look(source: Source) -> _Found:
    files = (Path(source.origin.path),) if isinstance(source.origin, UrlFile) else ()
    try:
        params = source.read()
    except TidegateError:
        return _Found(("", ""), files)
    file = password_file(params)
    try:
        password = read_password(params, params.user or "", params.database or "")
    except TidegateError:
        password = ""
    return _Found((password, params.tls.key_password), files if file is None else (*files, file))


class _Changing:
    """What files hold, read again when one of them has changed: every line of the log asks."""

    def __init__(self, source: Source, found: _Found) -> None:
        self._source = source
        self._found = found
        self._stamps: tuple[_Stamp, ...] | None = None

    def secrets(self) -> tuple[str, str]:
        """The password, and the one of the client's key."""
        now = tuple(map(_stamp, self._found.files))
        if now != self._stamps:
            known, self._found = self._found.files, _look(self._source)
            # They were stamped before they were read: what changed in between is seen the next time.
            self._stamps = now if self._found.files == known else None
        return self._found.secrets


def _stamp(file: Path) -> _Stamp:
    try:
        seen = file.stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino
