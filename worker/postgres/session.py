"""A session: one connection, and what everything that runs on it needs to know."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from worker.core.checkpoint import Checkpoint, pass_by
from worker.core.events.event import Emitter
from worker.core.status.sighting import Sighting, overlook
from worker.core.target import quote_identifier
from worker.core.value import dataclass, replace

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

    from worker.core.planning.readiness import Readiness


PINNED_PATH = "pg_catalog, pg_temp"
"""The search_path of everything that Tidegate runs itself: no schema that others can create in, temporary tables last.

A session's own is its default, which RESET brings back: what is not Tidegate's runs with that.
"""

PIN = f"SET search_path = {PINNED_PATH}"
"""SQL that has the session look names up there again; a rollback does so too."""

UNPIN = "RESET search_path"
"""SQL before the statements of a migration of the session's own target."""


def unsaid(_target: str, _row: "Readiness") -> None:
    """Tell nobody of a readiness row."""


def _go_on() -> bool:
    return False


class DrainedError(Exception):
    """The worker was asked to stop, and something was not begun, or not begun anew."""


@dataclass(frozen=True, slots=True)
class Session:
    """A connection of its own, never a pooled one, with the control schema's name and the worker's.

    `role` is the one that statements run as. `clock` gives monotonic seconds, `jitter` numbers in [0, 1).
    `draining` says whether to begin no further migration, and no further attempt at one. `second` opens another
    connection to the same place, from which this one is watched; None where nobody watches; `sighted` is told what is
    seen from there. `stated` is told a target's readiness row as soon as it is committed. `passing` is called at each
    checkpoint: tests have the program die, freeze or lose its server there.

    `home` is the connection to the home half where that lies in another database. `path` are the schemas in which the
    target's migrations look names up, () for the session's own default.
    """

    conn: "Connection[Record]"
    control: str
    worker: str
    role: str
    emit: Emitter
    clock: Callable[[], float]
    jitter: Callable[[], float]
    draining: Callable[[], bool] = _go_on
    second: "Callable[[], Awaitable[Connection[Record]]] | None" = None
    passing: Callable[[Checkpoint], None] = pass_by
    sighted: Callable[[Sighting], None] = overlook
    stated: "Callable[[str, Readiness], None]" = unsaid
    home: "Connection[Record] | None" = None
    path: tuple[str, ...] = ()

    @property
    def at_home(self) -> "Session":
        """The same session on the home half's connection."""
        return self if self.home is None else replace(self, conn=self.home, home=None)

    @property
    def unpin(self) -> str:
        """SQL before a migration's statements, for their names are looked up in the target's schemas."""
        return f"SET search_path = {', '.join(map(quote_identifier, self.path))}" if self.path else UNPIN

    def bind(self, **context: str | int) -> "Session":
        """The same session, whose events carry this context besides."""
        return replace(self, emit=self.emit.bind(**context))
