"""Logs: every event becomes one line, JSON off a terminal and coloured on one, and no line holds a secret.

structlog draws the coloured ones. It takes as long to load as a short migration takes to run, so that a line of JSON,
which is one call of the standard library, does without it.
"""

import dataclasses
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import Enum
from itertools import chain
from typing import Any, TextIO

from worker.core.events.event import Context, Event, Level
from worker.core.events.failure import Failure
from worker.core.pattern import pattern
from worker.core.value import names

Secret = str | Callable[[], tuple[str, ...]]
"""A text that no line may hold; a callable is asked at every line, for secrets that can change."""

MASK = "***"

_SEVERITY = {
    Level.DEBUG: logging.DEBUG,
    Level.INFO: logging.INFO,
    Level.WARNING: logging.WARNING,
    Level.ERROR: logging.ERROR,
}
# C0 and C1 controls: a server's message must neither move the cursor nor begin another line of a terminal.
_CONTROL = pattern(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_IN_TRACEBACK = pattern(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class LogFormat(Enum):
    """How lines look; `AUTO` is console on a terminal and JSON elsewhere."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class StatementText(Enum):
    """Whether a failed statement's text may be logged (`TIDEGATE_SHOW_SQL`)."""

    HIDE = "hide"
    SHOW = "show"


class Lines:
    """Writes lines to a stream, JSON or for a console; every line carries the worker's name."""

    def __init__(self, stream: TextIO, log_format: LogFormat, worker: str, secrets: Sequence[Secret]) -> None:
        self._stream = stream
        self._console = log_format is LogFormat.CONSOLE or (log_format is LogFormat.AUTO and stream.isatty())
        self._worker = worker
        self._redact = Redactor(secrets)
        self._logger: Any = None

    def write(self, level: Level, name: str, fields: Mapping[str, object]) -> None:
        """Write one line; a stream that is closed or broken is no reason to stop a migration."""
        with suppress(OSError, ValueError):
            if self._console:
                self._draw(level, name, fields)
            else:
                self._write_json(level, name, fields)

    def _write_json(self, level: Level, name: str, fields: Mapping[str, object]) -> None:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        line = {"timestamp": now, "level": level.value, "event": name, "worker": self._worker, **fields}
        self._stream.write(json.dumps(self._redact(None, "", line), default=repr) + "\n")
        self._stream.flush()

    def _draw(self, level: Level, name: str, fields: Mapping[str, object]) -> None:
        if self._logger is None:
            self._logger = self._open()
        self._logger.log(_SEVERITY[level], name, **{"worker": self._worker, **fields})

    def _open(self) -> Any:
        with _without("rich"):
            import structlog  # noqa: PLC0415  # costs about 100 ms, which a silent verb must not pay

        return structlog.wrap_logger(
            structlog.WriteLogger(self._stream),
            processors=self._processors(),
            wrapper_class=structlog.make_filtering_bound_logger(0),
        )

    def _processors(self) -> list[Any]:
        import structlog  # noqa: PLC0415  # costs about 100 ms, which a silent verb must not pay

        begin = [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
        renderer = structlog.dev.ConsoleRenderer(
            colors=_colours(self._stream), exception_formatter=structlog.dev.plain_traceback, sort_keys=False
        )
        return [*begin, self._redact, _without_controls, renderer]


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Have a library that would import another one because it is installed do without: rich costs another 80 ms."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # what makes an import fail
    try:
        yield
    finally:
        del sys.modules[module]


class LogSink:
    """A sink of events that writes to `lines` what is severe enough; it neither raises nor waits."""

    def __init__(self, lines: Lines, level: Level, statements: StatementText) -> None:
        self.lines = lines
        self._threshold = _SEVERITY[level]
        self._statements = statements

    def __call__(self, event: Event, context: Context) -> None:
        """Write the event's line, if its level is not below the threshold."""
        if _SEVERITY[event.level] >= self._threshold:
            self.lines.write(event.level, event.name(), {**context, **event_fields(event, self._statements)})


def log_sink(  # noqa: PLR0913  # six settings of the user's, each named by the caller
    *,
    stream: TextIO,
    log_format: LogFormat,
    level: Level,
    worker: str,
    secrets: Sequence[Secret],
    statements: StatementText = StatementText.HIDE,
) -> LogSink:
    """A sink that writes to `stream` what is at least as severe as `level`, with no secret in it."""
    return LogSink(Lines(stream, log_format, worker, secrets), level, statements)


def event_fields(event: Event, statements: StatementText = StatementText.HIDE) -> dict[str, object]:
    """The event's fields as plain values; a failure's fields take the place of the field that holds it."""
    fields: dict[str, object] = {}
    for name in names(event):
        value = getattr(event, name)
        if isinstance(value, Failure):
            fields.update(_failure_fields(value, statements))
        else:
            fields[name] = value.value if isinstance(value, Enum) else value
    return fields


def _failure_fields(failure: Failure, statements: StatementText) -> dict[str, object]:
    fields = dataclasses.asdict(failure)
    if statements is StatementText.HIDE:
        del fields["statement"]
    return fields


class Redactor:
    """Masks secrets, plain, percent-encoded or escaped: in a text, or as a structlog processor in a line's texts.

    A secret that was read once stays masked: a rotated password may still work somewhere.
    """

    def __init__(self, secrets: Sequence[Secret]) -> None:
        self._changing = tuple(secret for secret in secrets if callable(secret))
        self._found: list[tuple[str, ...]] = []
        self._texts: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self._know(secret for secret in secrets if isinstance(secret, str))

    def __call__(self, _logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Mask every text of a line; structlog calls it so."""
        self._learn()
        for key, value in line.items():
            if isinstance(value, str):
                line[key] = self._masked(value)
        return line

    def mask(self, text: str) -> str:
        """The text without the secrets as they are now."""
        self._learn()
        return self._masked(text)

    def _learn(self) -> None:
        found = list(self._read())
        if found != self._found:
            self._found = found
            self._know(chain.from_iterable(found))

    def _know(self, secrets: Iterable[str]) -> None:
        known = self._texts | {secret for secret in secrets if secret.strip()}
        if known != self._texts:
            self._texts = known
            # The longest first: one secret may be part of another.
            longest_first = sorted(known, key=lambda text: (-len(text), text))
            self._pattern = re.compile("|".join(map(_in_every_form, longest_first)))

    def _read(self) -> Iterator[tuple[str, ...]]:
        for source in self._changing:
            # A secret's file can be away for a moment while it is rotated.
            with suppress(OSError):
                yield source()

    def _masked(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(MASK, text)


def _in_every_form(secret: str) -> str:
    """A pattern of the secret in which each character may be percent-encoded, or escaped as Python and JSON do it."""
    return "".join(f"(?:{'|'.join(_forms(character))})" for character in secret)


def _forms(character: str) -> Iterator[str]:
    yield re.escape(character)
    yield "(?i:" + "".join(f"%{byte:02x}" for byte in character.encode(errors="surrogateescape")) + ")"
    if character == " ":
        yield r"\+"
    if (escaped := repr(character)[1:-1]) != character:
        yield re.escape(escaped)
    if character in "\"'":
        yield re.escape(f"\\{character}")


def _without_controls(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in line.items():
        if isinstance(value, str):
            pattern = _CONTROL_IN_TRACEBACK if key == "exception" else _CONTROL
            line[key] = pattern.sub(lambda found: f"\\x{ord(found[0]):02x}", value)
    return line


def _colours(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class _Bridge(logging.Handler):
    """Writes the records of other libraries, as lines of the name `library.logged`."""

    def __init__(self, lines: Lines) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; a record whose arguments do not fit its text is reported as the stdlib does it."""
        try:
            fields: dict[str, object] = {"logger": record.name, "message": record.getMessage()}
        except (TypeError, ValueError):
            self.handleError(record)
            return
        if record.exc_info:
            fields["exception"] = logging.Formatter().formatException(record.exc_info)
        self._lines.write(Level.ERROR if record.levelno >= logging.ERROR else Level.WARNING, "library.logged", fields)


@contextmanager
def bridge_stdlib(sink: LogSink) -> Iterator[None]:
    """Send what uvicorn, asyncio, asyncpg and others log at WARNING and above through `sink`, while it is open."""
    root = logging.getLogger()
    bridge = _Bridge(sink.lines)
    root.addHandler(bridge)
    try:
        yield
    finally:
        root.removeHandler(bridge)
