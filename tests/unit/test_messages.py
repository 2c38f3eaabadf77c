"""The messages by their parts, read back with PostgreSQL's own grammar; what they do is tested on real servers."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pglast import ast, parse_sql, split

from worker.applier import messages
from worker.applier.messages import Message, SegmentState, Timeouts, Work
from worker.core.bundles.migration import Direction, Migration, parse_side
from worker.core.events.event import Emitter
from worker.core.sql.script import Mode, Segment, SegmentKind, read_script
from worker.core.target import Target
from worker.postgres.advisory import Keys
from worker.postgres.lock import Held
from worker.postgres.session import Session

TIMEOUTS = Timeouts(lock_ms=250, patient_ms=2000, statement_ms=60_000)
TARGET = Target("public", "schema_migrations")
FENCE = 'SELECT "tidegate".hold_fence('
JOURNAL = 'INSERT INTO "tidegate".journal'
APPLIED = 'SELECT "tidegate".record_applied('
TEXTS = {"target": 0, "name": 4, "checksum": 5, "bundle": 6, "mode": 7, "worker": 8}
BOTH = "CREATE TABLE a (x int);\nINSERT INTO a VALUES (1)"
MIXED = "SET search_path = app;\nCREATE TABLE a (x int);\nCREATE INDEX CONCURRENTLY i ON a (x);\nANALYZE a"
# No NUL, which no file name and no text of Postgres holds, and no half of a surrogate pair.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
awkward = texts | st.text("'\"\\;-/*$E\n ", max_size=12)
identifiers = awkward.filter(lambda name: 0 < len(name.encode()) < 64)


def held(target: Target = TARGET, control: str = "tidegate", worker: str = "worker-1") -> Held:
    """A lock whose session has no connection, since composing a message needs none."""
    conn: Any = None
    session = Session(conn, control, worker, "owner", Emitter(()), lambda: 12.5, lambda: 0.5)
    return Held(session, target, Keys((11, 11), (22, 33)), epoch=7)


def work(
    sql: str | None = BOTH, direction: Direction = Direction.UP, *, at: Held | None = None, **changes: Any
) -> Work:
    """One side of migration 3; its other side is a comment."""
    file, other = f"3_orders.{direction.value}.sql", parse_side("3_orders.x.sql", b"-- nothing")
    side = None if sql is None else parse_side(file, sql.encode())
    up, down = (side, other) if direction is Direction.UP else (other, side)
    made = Work(at or held(), Migration(3, "orders", up, down), direction, Mode.TRANSACTIONAL, "1.4.0", 3, began=12.0)
    return replace(made, **changes)


def segments(made: Work) -> tuple[Segment, ...]:
    assert made.side is not None
    return read_script(made.text, made.side.directives).segments


def whole(made: Work) -> Message:
    (segment,) = segments(made)
    return messages.final(made, segment, TIMEOUTS)


def statements(message: Message) -> list[str]:
    """The text of every statement of the message, as the grammar divides it."""
    return [statement.strip() for statement in split(message.text)]


def index_of(found: list[str], beginning: str) -> int:
    (place,) = [number for number, statement in enumerate(found) if statement.startswith(beginning)]
    return place


def constants(node: Any) -> Iterator[str]:
    """Every string constant below a node."""
    match node:
        case ast.A_Const(val=ast.String(sval=text)):
            yield text
        case tuple():
            for one in node:
                yield from constants(one)
        case ast.Node():
            for name in node:
                yield from constants(getattr(node, name))


def record_of(message: Message) -> ast.FuncCall:
    """The call that records a migration as applied."""
    for raw in parse_sql(message.text):
        match raw.stmt:
            case ast.SelectStmt(targetList=(ast.ResTarget(val=ast.FuncCall() as call),)) if call.args:
                return call
            case _:
                continue
    raise AssertionError("nothing is recorded")


def recorded(message: Message) -> Mapping[str, str | None]:
    """The texts that the record of a migration holds, by parameter."""
    arguments = record_of(message).args
    assert arguments is not None
    assert len(arguments) == 11
    return {name: next(constants(arguments[place]), None) for name, place in TEXTS.items()}


bodies = st.sampled_from(
    [
        BOTH,
        "SELECT 1",
        "SELECT 1;",
        "SELECT 1 -- at the end",
        "SELECT 1 /* ; */",
        "\ufeff-- größe\r\nSELECT 'größe 😀';\r\n",
        "BEGIN;\nSELECT 1;\nCOMMIT;\n",
        "BEGIN ISOLATION LEVEL SERIALIZABLE;\nSELECT 1;\nEND",
        "SET LOCAL work_mem = '1MB';\nSELECT $$;$$;",
    ]
)


@given(bodies)
def test_the_body_stands_in_its_place_so_that_positions_map(sql: str) -> None:
    made = work(sql)
    (segment,) = segments(made)
    message = messages.final(made, segment, TIMEOUTS)

    assert message.text.startswith(message.head)
    assert message.body == segment.text
    for offset, character in enumerate(message.body):
        assert message.text[len(message.head) + offset] == character
        # What was taken out is blank; all else is the file's, at its own place.
        assert character in {" ", made.text[segment.offset + offset]}


@pytest.mark.parametrize("number", range(3))
def test_the_body_of_a_part_is_the_files_text_at_the_parts_offset(number: int) -> None:
    made = work(MIXED, mode=Mode.JOURNALLED)
    segment = segments(made)[number]
    message = messages.lone(segment)
    if segment.kind is SegmentKind.BLOCK:
        message = messages.progress(made, segment, TIMEOUTS)
    assert message.body
    assert made.text.startswith(message.body, segment.offset)


@pytest.mark.parametrize("ending", ["", ";", " -- why", "; -- why", " /* why */", ";\n\n"])
def test_however_the_body_ends_the_records_follow_it(ending: str) -> None:
    found = statements(whole(work(BOTH + ending)))
    assert index_of(found, "INSERT INTO a ") < index_of(found, "RELEASE")
    assert "COMMIT" in found


def test_a_migration_is_one_transaction_with_the_fence_before_its_records() -> None:
    found = statements(whole(work(BOTH)))
    expected = [
        "BEGIN",
        "SET LOCAL lock_timeout",
        "SET LOCAL statement_timeout",
        "RESET search_path",
        "SAVEPOINT tidegate_body",
        "CREATE TABLE a",
        "INSERT INTO a ",
        "RELEASE",
        "RESET SESSION AUTHORIZATION",
        "RESET ROLE",
        "RESET ALL",
        "SET search_path = pg_catalog, pg_temp",
        "SET LOCAL lock_timeout",
        "SELECT \"tidegate\".record_applied('public.schema_migrations', 7, 11, 3, 'orders', ",
        f"DELETE FROM {TARGET.relation}",
        f"INSERT INTO {TARGET.relation}",
        "COMMIT",
        "CLOSE ALL",
        "UNLISTEN *",
        "DEALLOCATE ALL",
        "DISCARD TEMP",
        "DISCARD SEQUENCES",
    ]
    assert len(found) == len(expected)
    for statement, beginning in zip(found, expected, strict=True):
        assert statement.startswith(beginning)


def test_what_commits_with_a_migration_stands_behind_its_records_and_before_the_commit() -> None:
    found = statements(whole(work(also=("UPDATE fence SET pinned = NULL",))))
    assert index_of(found, f"INSERT INTO {TARGET.relation}") < index_of(found, "UPDATE fence")
    assert index_of(found, "UPDATE fence") < index_of(found, "COMMIT")


@pytest.mark.parametrize("state", list(SegmentState))
def test_every_note_is_a_fenced_transaction_that_says_dirty(state: SegmentState) -> None:
    made = work(MIXED, mode=Mode.JOURNALLED)
    found = statements(messages.note(made, segments(made)[1], state))
    assert found[0] == "BEGIN"
    assert found[1].startswith(FENCE)
    assert f"'{state.value}'" in found[index_of(found, JOURNAL)]
    assert "3, true" in found[index_of(found, f"INSERT INTO {TARGET.relation}")]
    assert found[-1] == "COMMIT"


def test_a_block_that_others_follow_records_its_part_and_not_the_migration() -> None:
    made = work(MIXED, mode=Mode.JOURNALLED)
    found = statements(messages.progress(made, segments(made)[0], TIMEOUTS))
    assert index_of(found, FENCE) < index_of(found, JOURNAL)
    assert not [statement for statement in found if '"tidegate".ledger' in statement]
    assert found[-1] == "COMMIT"


def test_a_later_part_sets_the_session_up_as_the_earlier_ones_did() -> None:
    made = work(MIXED, mode=Mode.JOURNALLED)
    _, index, analyze = segments(made)
    assert "SET search_path = app" in statements(messages.lone_start(index, TIMEOUTS))
    found = statements(messages.final(made, analyze, TIMEOUTS))
    assert index_of(found, "SET search_path = app") < index_of(found, "SAVEPOINT")


def test_a_lone_statement_has_its_timeouts_for_its_session_and_a_block_for_its_transaction() -> None:
    made = work(MIXED, mode=Mode.JOURNALLED)
    block, index, _ = segments(made)
    assert "SET LOCAL lock_timeout = 250" in statements(messages.progress(made, block, TIMEOUTS))
    assert "SET lock_timeout = 250" in statements(messages.lone_start(index, TIMEOUTS))


def test_an_isolation_level_goes_into_our_begin_and_read_only_into_the_body_alone() -> None:
    found = statements(whole(work("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\nSELECT 1;\nCOMMIT")))
    assert "REPEATABLE READ" in found[0].upper()
    assert "READ ONLY" not in found[0].upper()
    read_only = [number for number, statement in enumerate(found) if "READ ONLY" in statement.upper()]
    assert read_only == [index_of(found, "SAVEPOINT") + 1]


def test_discard_all_keeps_the_locks() -> None:
    made = work("DISCARD ALL", mode=Mode.JOURNALLED)
    found = statements(messages.lone(segments(made)[0]))
    assert "DISCARD ALL" not in found
    assert {"RESET ALL", "DEALLOCATE ALL", "DISCARD TEMP", "DISCARD PLANS"} <= set(found)


@pytest.mark.parametrize("half", ["target", "home"])
def test_the_control_schemas_own_migrations_need_no_function_but_the_fences(half: str) -> None:
    found = statements(whole(work(at=held(Target("tidegate", f"{half}_version")))))
    assert index_of(found, FENCE) < index_of(found, "WITH kept") < index_of(found, 'DELETE FROM "tidegate".journal')
    assert not [statement for statement in found if "record_applied" in statement]


def test_what_follows_in_the_same_message_took_the_time_since_the_record_before_it() -> None:
    since = messages.recorded_at_sql(held(), 2)
    found = statements(whole(work(since=since)))
    assert found[index_of(found, APPLIED)].endswith(", 0, \"tidegate\".recorded_at('public.schema_migrations', 2))")


def test_a_migration_without_a_file_is_recorded_all_the_same() -> None:
    message = messages.final(work(None, mode=Mode.EMPTY), None, TIMEOUTS)
    found = statements(message)
    assert (message.body, found[0]) == ("", "BEGIN")
    assert found[1].startswith(APPLIED)
    assert recorded(message)["checksum"] is None


def test_a_down_takes_the_ledger_row_away_and_keeps_the_history() -> None:
    message = whole(work("DROP TABLE a", Direction.DOWN, version_after=None))
    found = statements(message)
    record = found[index_of(found, "WITH done")]
    assert index_of(found, FENCE) < index_of(found, "WITH done") < index_of(found, 'DELETE FROM "tidegate".journal')
    assert "DELETE FROM \"tidegate\".ledger WHERE target = 'public.schema_migrations' AND version = 3" in record
    assert "'down'" in record
    assert index_of(found, f"DELETE FROM {TARGET.relation}") < index_of(found, "COMMIT")
    assert not [statement for statement in found if statement.startswith(f"INSERT INTO {TARGET.relation}")]


@given(awkward, awkward, awkward, identifiers, identifiers, identifiers)
@example("it's", "\\'; DROP TABLE x; --", "w\\", 'a"b', 'c";--', "$1")
def test_no_name_and_no_label_can_leave_its_quotes(
    name: str, bundle: str, worker: str, schema: str, table: str, control: str
) -> None:
    assume(schema != control)
    plain = whole(work())
    target = Target(schema, table)
    made = work(at=held(target, control, worker), bundle=bundle)
    made = replace(made, migration=replace(made.migration, name=name))
    message = whole(made)

    found = recorded(message)
    assert (found["name"], found["bundle"], found["worker"]) == (name, bundle, worker)
    assert found["target"] == target.name
    kinds, expected = ([type(raw.stmt) for raw in parse_sql(one.text)] for one in (message, plain))
    assert kinds == expected
    assert [part.sval for part in record_of(message).funcname or ()] == [control, "record_applied"]
    tables = {(raw.stmt.relation.schemaname, raw.stmt.relation.relname) for raw in parse_sql(message.text)[-8:-6]}
    assert tables == {(schema, table)}


@given(awkward)
def test_no_target_can_leave_its_quotes_in_the_journal(table: str) -> None:
    made = work(MIXED, mode=Mode.JOURNALLED, at=held(Target("public", table or "t")))
    message = messages.note(made, segments(made)[1], SegmentState.INTENT)
    assert len(parse_sql(message.text)) == len(
        parse_sql(messages.note(work(MIXED), segments(made)[1], SegmentState.INTENT).text)
    )
    assert made.held.target.name in set(constants(parse_sql(message.text)))


def test_a_chain_is_whole_transactions_of_which_the_last_alone_waits_for_the_disk() -> None:
    first, last = whole(work("SELECT 'a'")), whole(work("SELECT 'b'"))
    unhurried = "SET LOCAL synchronous_commit = off; COMMIT"

    chain = messages.chained([first, last])

    assert chain == f"{first.text.replace('COMMIT;', f'{unhurried};')};\n{last.text}"
    assert chain.count(unhurried) == 1
    assert messages.chained([last]) == last.text
