"""Sources: where connection parameters come from, so that what lies in a file is read again at every connect."""

from dataclasses import field

from worker.core.connecting.dsn import ConnectionParams, Dsn, parse_dsn
from worker.core.value import dataclass, replace
from worker.postgres.password import read_secret_file


@dataclass(frozen=True, slots=True)
class UrlFile:
    """A file that holds a connection string, and the variable that named it."""

    name: str
    path: str

    def read(self) -> Dsn:
        """Read it now; SettingError where that fails."""
        return parse_dsn(read_secret_file(self.path, self.name), self.name)


@dataclass(frozen=True, slots=True)
class Source:
    """Connection parameters for one use.

    `options` follow the connection string's own, so that they win; a `connect_timeout_ms` replaces its.
    """

    origin: Dsn | UrlFile = field(repr=False)
    options: str = ""
    connect_timeout_ms: int | None = None

    def read(self) -> ConnectionParams:
        """Return the parameters as they are now; a file is read again.

        Raises:
            SettingError: the file cannot be read, or does not hold a connection string.
        """
        dsn = self.origin.read() if isinstance(self.origin, UrlFile) else self.origin
        options = f"{dsn.params.options} {self.options}".strip()
        timeout_ms = self.connect_timeout_ms or dsn.params.connect_timeout_ms
        return replace(dsn.params, options=options, connect_timeout_ms=timeout_ms)


@dataclass(frozen=True, slots=True)
class Database:
    """The database that was set: by which family, and the two ways of connecting to it."""

    origin: str
    migrating: Source
    waiting: Source
