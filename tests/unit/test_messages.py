"""The messages that are sent: one transaction each, the body's characters in place, the records behind the fence."""

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.applier.messages import Message, SegmentState, Timeouts, Work, final, lone, lone_start, note, progress
from worker.core.events import Emitter
from worker.core.lexer import split
from worker.core.migration import Direction, Directives, Migration, Side
from worker.core.script import Mode, Script, read_script
from worker.core.target import Target
from worker.postgres.lock import Held, Keys
from worker.postgres.session import Session

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

TIMEOUTS = Timeouts(lock_ms=100, lone_lock_ms=0, statement_ms=2000)


def clock() -> float:
    return 12.5


def held() -> Held:
    nowhere = cast("Connection[Record]", None)
    target = Target("public", "schema_migrations")
    session = Session(nowhere, "tidegate", "worker-1", "postgres", Emitter(()), clock, clock)
    return Held(session, target, Keys((42, 42)), 7)


def work(sql: str, direction: Direction = Direction.UP, name: str = "m", version_after: int | None = 3) -> Work:
    side = Side("0003_m.sql", sql, "ab" * 32, Directives())
    migration = Migration(3, name, side, side)
    return Work(held(), migration, direction, Mode.TRANSACTIONAL, "1.0", version_after, clock())


def script(sql: str) -> Script:
    return read_script(sql, Directives())


def whole(sql: str) -> Message:
    return final(work(sql), script(sql).segments[0], TIMEOUTS)


def statements(message: Message) -> list[str]:
    return [text.rstrip(";\n ") for text in (s.text for s in split(message.text)) if text.strip(";\n ")]


def index(texts: list[str], begins: str) -> int:
    (found,) = [place for place, text in enumerate(texts) if text.startswith(begins)]
    return found


@pytest.mark.parametrize("sql", ["SELECT 1", "SELECT 1;", "SELECT 'ü';\r\n-- last", "BEGIN; SELECT 1; COMMIT; -- x"])
def test_the_body_stands_in_the_message_as_it_stands_in_the_file(sql: str) -> None:
    message = whole(sql)
    start = len(message.head)

    assert len(message.body) == len(sql)
    assert message.text[start : start + len(sql)] == message.body


@pytest.mark.parametrize("sql", ["SELECT 1", "SELECT 1; -- last", "SELECT 1 /* last */", "SELECT 1;;"])
def test_the_tail_begins_a_statement_of_its_own(sql: str) -> None:
    texts = statements(whole(sql))

    assert "RELEASE SAVEPOINT tidegate_body" in texts
    assert texts.count("COMMIT") == 1


def test_the_session_is_as_it_started_before_the_fence_and_the_records_are_behind_it() -> None:
    texts = statements(whole("SET ROLE other"))
    order = [
        index(texts, begins)
        for begins in (
            "BEGIN",
            "SAVEPOINT",
            "SET ROLE other",
            "RELEASE",
            "RESET SESSION AUTHORIZATION",
            "RESET ROLE",
            "RESET ALL",
            'SELECT "tidegate".hold_fence(',
            "WITH done",
            'INSERT INTO "public"."schema_migrations"',
            "COMMIT",
            "DISCARD TEMP",
        )
    ]

    assert order == sorted(order)


def test_what_commits_with_the_migration_stands_before_its_commit() -> None:
    texts = statements(
        final(replace(work("SELECT 1"), also=("SELECT 'also'",)), script("SELECT 1").segments[0], TIMEOUTS)
    )

    assert texts.index("SELECT 'also'") < texts.index("COMMIT")


def test_a_mode_of_the_file_is_that_of_the_transaction() -> None:
    assert statements(whole("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1; COMMIT"))[0].split() == [
        "BEGIN",
        "ISOLATION",
        "LEVEL",
        "SERIALIZABLE",
    ]


def test_read_only_is_set_behind_the_savepoint() -> None:
    texts = statements(whole("BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY; SELECT 1; COMMIT"))

    assert "READ ONLY" not in texts[0]
    assert texts.index("SET TRANSACTION READ ONLY") == index(texts, "SAVEPOINT") + 1


def test_the_timeouts_of_a_block_end_with_it_and_those_of_a_lone_statement_with_the_session() -> None:
    two = script("SELECT 1; COMMIT; VACUUM")

    block = statements(progress(work(""), two.segments[0], TIMEOUTS))
    assert block[1:3] == ["SET LOCAL lock_timeout = 100", "SET LOCAL statement_timeout = 2000"]
    assert statements(lone_start(two.segments[1], TIMEOUTS)) == ["SET lock_timeout = 0", "SET statement_timeout = 2000"]


def test_a_later_segment_begins_with_the_session_state_of_the_file() -> None:
    later = script("SET search_path = s; -- why\nVACUUM; SELECT 1").segments

    assert statements(lone_start(later[0], TIMEOUTS))[-1] == "SET search_path = s"
    assert "SET search_path = s" in statements(final(work(""), later[1], TIMEOUTS))


def test_discard_all_is_sent_as_all_that_it_does_but_letting_go_of_the_lock() -> None:
    sent = lone(script("DISCARD ALL").segments[0]).text

    assert "DISCARD ALL" not in sent
    assert {"DEALLOCATE ALL", "DISCARD TEMP", "DISCARD PLANS", "RESET ALL"} <= set(statements(Message("", sent, "")))


@pytest.mark.parametrize("state", SegmentState)
def test_the_journal_is_fenced_and_leaves_the_version_table_dirty(state: SegmentState) -> None:
    texts = statements(note(work(""), script("SELECT 1; COMMIT; VACUUM").segments[1], state))

    fence, journal = index(texts, 'SELECT "tidegate".hold_fence('), index(texts, 'INSERT INTO "tidegate".journal')
    assert (texts[0], texts[-1], fence < journal) == ("BEGIN", "COMMIT", True)
    assert f"'{state.value}'" in texts[journal]
    assert "VALUES (3, true)" in texts[index(texts, 'INSERT INTO "public"."schema_migrations"')]


def test_the_last_down_leaves_the_version_table_without_a_row() -> None:
    texts = statements(final(work("SELECT 1", Direction.DOWN, version_after=None), None, TIMEOUTS))

    assert 'DELETE FROM "public"."schema_migrations"' in texts
    assert not [text for text in texts if text.startswith('INSERT INTO "public"."schema_migrations"')]


@given(name=st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=30))
def test_no_name_changes_what_is_sent(name: str) -> None:
    plain = statements(final(work("SELECT 1"), None, TIMEOUTS))
    odd = statements(final(work("SELECT 1", name=name), None, TIMEOUTS))

    assert len(odd) == len(plain)
    assert [text.split()[0] for text in odd] == [text.split()[0] for text in plain]
