"""Every event has a stable name, plain fields, and reaches every sink with its context."""

import dataclasses
import types
import typing
from enum import Enum

import pytest

from tests.fixtures.event_kinds import EVENTS
from worker.core.events.event import Emitter, Event, Level
from worker.core.events.events import LockTimedOut, WorkerStarted, WorkerStopped
from worker.core.events.failure import Failure
from worker.core.events.migration_events import MigrationFinished, SegmentRecovered

PLAIN = (str, int, float, bool, type(None), Failure)
# What a line and the standard context hold already.
RESERVED = {"event", "level", "timestamp", "worker", "target", "job"}


def kinds(hint: object) -> tuple[type, ...]:
    members = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return tuple(member for member in members if isinstance(member, type))


def test_there_are_events() -> None:
    assert len(EVENTS) > 25


def test_no_two_events_share_a_name() -> None:
    assert len({event.name() for event in EVENTS}) == len(EVENTS)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_an_event_has_a_dotted_name_a_level_and_a_docstring(event: type[Event]) -> None:
    assert event.name().count(".") == 1
    assert event.name().replace(".", "").replace("_", "") == event.__name__.lower()
    assert isinstance(event.level, Level)
    assert event.__doc__


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_an_events_fields_are_plain_and_leave_the_lines_own_names_alone(event: type[Event]) -> None:
    hints = typing.get_type_hints(event)
    for field in dataclasses.fields(event):
        assert field.name not in RESERVED
        for kind in kinds(hints[field.name]):
            assert issubclass(kind, (*PLAIN, Enum))


def test_a_name_is_the_class_in_snake_case_with_a_dot_behind_its_first_word() -> None:
    assert MigrationFinished.name() == "migration.finished"
    assert SegmentRecovered.name() == "segment.recovered"
    assert LockTimedOut.name() == "lock.timed_out"


def test_an_emitter_hands_an_event_and_its_context_to_every_sink() -> None:
    seen: list[tuple[str, Event, dict[str, object]]] = []
    emit = Emitter(
        (
            lambda event, context: seen.append(("first", event, dict(context))),
            lambda event, context: seen.append(("second", event, dict(context))),
        )
    )
    event = WorkerStarted("0.1.0", 7)
    emit.bind(target="a.b")(event)
    assert seen == [("first", event, {"target": "a.b"}), ("second", event, {"target": "a.b"})]


def test_binding_leaves_the_first_emitter_as_it_was_and_a_later_value_wins() -> None:
    seen: list[dict[str, object]] = []
    emit = Emitter((lambda _event, context: seen.append(dict(context)),), {"epoch": 1})
    emit.bind(epoch=2, bundle="1.4.0")(WorkerStopped())
    emit(WorkerStopped())
    assert seen == [{"epoch": 2, "bundle": "1.4.0"}, {"epoch": 1}]
