"""A session: one connection, and what everything that runs on it needs to know."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from worker.core.checkpoint import Checkpoint, pass_by
from worker.core.event import Emitter
from worker.core.sighting import Sighting, overlook
from worker.core.value import dataclass

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection


PINNED_PATH = "pg_catalog, pg_temp"
"""The search_path of everything that Tidegate runs itself: no schema that others can create in, temporary tables last.

A session's own is its default, which RESET brings back: what is not Tidegate's runs with that.
"""

PIN = f"SET search_path = {PINNED_PATH}"
"""SQL that has the session look names up there again; a rollback does so too."""

UNPIN = "RESET search_path"
"""SQL before a migration's statements."""


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
    seen from there. `passing` is called at each checkpoint: tests have the program die, freeze or lose its server
    there.
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

    def bind(self, **context: str | int) -> "Session":
        """The same session, whose events carry this context besides."""
        return replace(self, emit=self.emit.bind(**context))
