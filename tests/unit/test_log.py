"""Log lines: their shape on and off a terminal, their level, and that no secret is in them."""

import dataclasses
import io
import json
import logging
import subprocess
import sys
import types
import typing
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import pytest

from tests.fixtures.event_kinds import EVENTS
from worker.core.events.event import Event, Level, Outcome
from worker.core.events.events import DatabaseUnreachable, LockReleased, WorkerStarted, WorkerStopped
from worker.core.events.failure import Failure
from worker.core.events.migration_events import MigrationFailed, MigrationFinished
from worker.log import LogFormat, LogSink, Secret, StatementText, bridge_stdlib, log_sink

FAILURE = Failure(
    file="3_add.up.sql", sqlstate="42P07", message="relation exists", line=4, column=1, statement="CREATE TABLE t ()"
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def a_value(hint: object) -> object:
    kind = typing.get_args(hint)[0] if isinstance(hint, types.UnionType) else hint
    if kind is Failure:
        return FAILURE
    assert isinstance(kind, type)
    return next(iter(kind)) if issubclass(kind, Enum) else kind(1)


def an_event(event: type[Event]) -> Event:
    hints = typing.get_type_hints(event)
    return event(**{field.name: a_value(hints[field.name]) for field in dataclasses.fields(event)})


def a_sink(
    stream: io.StringIO,
    *secrets: Secret,
    level: Level = Level.DEBUG,
    log_format: LogFormat = LogFormat.AUTO,
    statements: StatementText = StatementText.HIDE,
) -> LogSink:
    return log_sink(
        stream=stream, log_format=log_format, level=level, worker="w-1", secrets=secrets, statements=statements
    )


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_every_event_becomes_one_json_line_with_all_its_fields(event: type[Event]) -> None:
    stream = io.StringIO()
    a_sink(stream)(an_event(event), {"target": "public.m", "epoch": 4})
    (line,) = lines(stream)
    assert list(line)[:4] == ["timestamp", "level", "event", "worker"]
    assert (line["event"], line["level"]) == (event.name(), event.level.value)
    assert (line["worker"], line["target"]) == ("w-1", "public.m")
    for field in dataclasses.fields(event):
        assert field.name in line or field.name == "failure"


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_every_event_becomes_one_line_on_a_terminal(event: type[Event]) -> None:
    stream = Terminal()
    a_sink(stream)(an_event(event), {})
    assert stream.getvalue().count("\n") == 1
    assert event.name() in stream.getvalue()


def test_a_timestamp_is_utc_in_iso_form() -> None:
    stream = io.StringIO()
    a_sink(stream)(WorkerStopped(), {})
    stamp = lines(stream)[0]["timestamp"]
    assert stamp.endswith("Z")
    assert abs(datetime.fromisoformat(stamp) - datetime.now(UTC)) < timedelta(minutes=1)


def test_an_enum_is_logged_as_its_value_and_an_events_field_wins_over_the_context() -> None:
    stream = io.StringIO()
    event = MigrationFinished(3, "add", "up", "transactional", Outcome.IN_DOUBT, 0.5, 0, 0.0, 0.0)
    a_sink(stream)(event, {"version": 99})
    (line,) = lines(stream)
    assert (line["outcome"], line["version"]) == ("in_doubt", 3)


def test_a_failure_is_flattened_and_its_statement_is_left_out() -> None:
    stream = io.StringIO()
    a_sink(stream)(MigrationFailed(3, FAILURE), {})
    (line,) = lines(stream)
    assert line["file"] == "3_add.up.sql"
    assert (line["line"], line["column"], line["sqlstate"]) == (4, 1, "42P07")
    assert "failure" not in line
    assert "CREATE TABLE" not in stream.getvalue()


def test_a_failed_statement_is_logged_where_that_is_asked_for() -> None:
    stream = io.StringIO()
    a_sink(stream, statements=StatementText.SHOW)(MigrationFailed(3, FAILURE), {})
    assert lines(stream)[0]["statement"] == "CREATE TABLE t ()"


def test_an_event_below_the_level_is_not_logged() -> None:
    stream = io.StringIO()
    sink = a_sink(stream, level=Level.WARNING)
    for event in (LockReleased(1.0), WorkerStopped(), DatabaseUnreachable("gone", 1.0), MigrationFailed(3, FAILURE)):
        sink(event, {})
    assert [line["level"] for line in lines(stream)] == ["warning", "error"]


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.CONSOLE])
def test_a_secret_is_masked_in_fields_and_context_plain_and_percent_encoded(log_format: LogFormat) -> None:
    stream = io.StringIO()
    sink = a_sink(stream, "p@ss/word", log_format=log_format)
    sink(DatabaseUnreachable("no postgres://u:p%40ss%2Fword@h/d", 1.0), {"bundle": "x-p@ss/word"})
    assert "p@ss/word" not in stream.getvalue()
    assert "p%40ss%2Fword" not in stream.getvalue()
    assert stream.getvalue().count("***") == 2


def test_the_longer_of_two_secrets_is_masked_whole_and_an_empty_one_masks_nothing() -> None:
    stream = io.StringIO()
    a_sink(stream, "abc", "abcdef", "")(DatabaseUnreachable("abcdef abc", 1.0), {})
    assert lines(stream)[0]["message"] == "*** ***"


def test_a_rotated_secret_stays_masked_and_an_unreadable_one_does_not_stop_the_line() -> None:
    def read() -> tuple[str, ...]:
        if not versions:
            raise FileNotFoundError
        return (versions.pop(0),)

    versions = ["old-one", "new-one"]
    stream = io.StringIO()
    sink = a_sink(stream, read)
    for _ in range(3):
        sink(DatabaseUnreachable("old-one new-one", 1.0), {})
    assert [line["message"] for line in lines(stream)] == ["*** new-one", "*** ***", "*** ***"]


def test_a_terminal_gets_colour_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured, plain = Terminal(), Terminal()
    a_sink(coloured)(WorkerStopped(), {})
    monkeypatch.setenv("NO_COLOR", "1")
    a_sink(plain)(WorkerStopped(), {})
    assert "\x1b[" in coloured.getvalue()
    assert "\x1b[" not in plain.getvalue()


def test_a_format_that_is_asked_for_wins_over_what_the_stream_is() -> None:
    console, terminal = io.StringIO(), Terminal()
    a_sink(console, log_format=LogFormat.CONSOLE)(WorkerStopped(), {})
    a_sink(terminal, log_format=LogFormat.JSON)(WorkerStopped(), {})
    assert not console.getvalue().startswith("{")
    assert lines(terminal)[0]["event"] == "worker.stopped"


def test_a_servers_message_can_neither_move_a_terminals_cursor_nor_forge_a_line() -> None:
    console, json_lines = Terminal(), io.StringIO()
    event = DatabaseUnreachable("a\x1b[2Jb\nlevel=error c", 1.0)
    a_sink(console)(event, {})
    a_sink(json_lines)(event, {})
    assert "\x1b[2J" not in console.getvalue()
    assert console.getvalue().count("\n") == 1
    assert len(json_lines.getvalue().splitlines()) == 1


def test_a_closed_stream_is_no_error() -> None:
    stream = io.StringIO()
    sink = a_sink(stream)
    sink(WorkerStopped(), {})
    stream.close()
    sink(WorkerStopped(), {})


def test_structlog_is_imported_with_the_first_line_that_is_drawn_and_nothing_else_is() -> None:
    program = """
import io, sys
from worker.core.events.event import Level
from worker.core.events.events import WorkerStopped, WorkerDraining, DatabaseUnreachable
from worker.log import LogFormat, log_sink
plain = log_sink(stream=io.StringIO(), log_format=LogFormat.AUTO, level=Level.WARNING, worker="w", secrets=())
plain(DatabaseUnreachable("gone", 1.0), {})
sink = log_sink(stream=io.StringIO(), log_format=LogFormat.CONSOLE, level=Level.WARNING, worker="w", secrets=())
sink(WorkerStopped(), {})
print("structlog" in sys.modules)
sink(DatabaseUnreachable("gone", 1.0), {})
print("structlog" in sys.modules)
print(any(name in sys.modules for name in ("prometheus_client", "starlette", "uvicorn")))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "True", "False"]


def test_other_libraries_warnings_and_errors_become_lines_while_the_bridge_is_open() -> None:
    stream = io.StringIO()
    logger = logging.getLogger("asyncio")
    with bridge_stdlib(a_sink(stream, "hunter2")):
        logger.info("not told")
        logger.warning("slow %s", "callback")
        try:
            int("hunter2")
        except ValueError:
            logger.exception("broken")
    logger.warning("after")
    slow, broken = lines(stream)
    assert (slow["event"], slow["logger"], slow["message"]) == ("library.logged", "asyncio", "slow callback")
    assert broken["level"] == "error"
    assert broken["exception"].endswith("'***'")


def raise_odd() -> None:
    raise ValueError("odd\x1b[2J")


def test_a_traceback_on_a_terminal_is_plain_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    with bridge_stdlib(a_sink(stream)):
        try:
            raise_odd()
        except ValueError:
            logging.getLogger("uvicorn.error").exception("broken")
    assert "Traceback (most recent call last):" in stream.getvalue()
    assert stream.getvalue().rstrip().endswith("ValueError: odd\\x1b[2J")
    assert "\x1b" not in stream.getvalue()


def test_the_workers_name_is_in_every_line() -> None:
    stream = io.StringIO()
    a_sink(stream)(WorkerStarted("0.1.0", 7), {})
    assert lines(stream)[0]["worker"] == "w-1"
