"""An event: a frozen value that feeds the log, the metrics and the status snapshot alike.

An event's log name is its class's name in snake case with a dot behind the first word, its fields are its
dataclass fields, and its level is part of the class. Nothing in an event is a secret or a migration's text.
"""

import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import ClassVar

from worker.core.value import dataclass


class Level(Enum):
    """Severity; an operator can alert on `ERROR`."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Outcome(Enum):
    """How a migration, a job or an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    IN_DOUBT = "in_doubt"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""

    level: ClassVar[Level] = Level.INFO

    @classmethod
    def name(cls) -> str:
        """The stable event name, for example `migration.finished` for `MigrationFinished`."""
        subject, *rest = [match[0].lower() for match in re.finditer(r"[A-Z][a-z]+", cls.__name__)]
        return f"{subject}.{'_'.join(rest)}"


Context = Mapping[str, str | int]
Sink = Callable[[Event, Context], None]


class Emitter:
    """Hands every event, with the context bound so far, to each sink; a sink must not raise or block."""

    def __init__(self, sinks: tuple[Sink, ...], context: Context | None = None) -> None:
        self._sinks = sinks
        self._context = dict(context or {})

    def bind(self, **context: str | int) -> "Emitter":
        """An emitter whose events carry this context besides (target, bundle, job, epoch)."""
        return Emitter(self._sinks, {**self._context, **context})

    def __call__(self, event: Event) -> None:
        """Emit one event."""
        for sink in self._sinks:
            sink(event, self._context)
