"""A session: one connection, and what everything that runs on it needs to know."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from worker.core.checkpoint import Checkpoint, pass_by
from worker.core.event import Emitter
from worker.core.value import dataclass

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection


def _go_on() -> bool:
    return False


class DrainedError(Exception):
    """The worker was asked to stop, and something was not begun, or not begun anew."""


@dataclass(frozen=True, slots=True)
class Session:
    """A connection of its own, never a pooled one, with the control schema's name and the worker's.

    `role` is the one that statements run as. `clock` gives monotonic seconds, `jitter` numbers in [0, 1).
    `draining` says whether to begin no further migration, and no further attempt at one. `second` opens another
    connection to the same place, from which this one is watched; None where nobody watches. `passing` is called at each
    checkpoint: tests have the program die, freeze or lose its server there.
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

    def bind(self, **context: str | int) -> "Session":
        """The same session, whose events carry this context besides."""
        return replace(self, emit=self.emit.bind(**context))
