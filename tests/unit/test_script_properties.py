"""Reading a script: what holds for every text."""

import re

from hypothesis import given
from hypothesis import strategies as st

from worker.core.bundles.migration import Directives, Transaction
from worker.core.sql.script import Mode, Script, SegmentKind, position, read_script
from worker.core.sql.statements import Kind, classify
from worker.errors import TidegateError

STATEMENTS = [
    "select 1",
    "set x = 1",
    "set local y = 2",
    "set transaction read only",
    "vacuum",
    "begin",
    "begin isolation level serializable",
    "commit",
    "commit and chain",
    "savepoint a",
    "rollback to a",
    "discard all",
    "create temp table a ()",
    "drop subscription s",
    "",
]
REFUSED = ["rollback", "prepare transaction 'x'", "copy t from stdin", "\\x", "select 'a", "\\restrict x"]
GAPS = st.sampled_from([" ", "\n", "\r\n", "-- ;\n", "/* ; */", "\n\\restrict x\n"])
WELL_FORMED = st.lists(st.tuples(GAPS, st.sampled_from(STATEMENTS)), max_size=12).map(
    lambda parts: "".join(f"{gap}{text};" for gap, text in parts)
)
SOUP = st.lists(st.sampled_from([*STATEMENTS, *REFUSED, ";", "\n", "(", "$$", "\ufeff"]), max_size=12).map(" ".join)
DIRECTIVES = st.sampled_from(Transaction).map(lambda transaction: Directives(transaction=transaction))
SQL = st.one_of(WELL_FORMED, SOUP, st.text())


def read_or_none(sql: str, directives: Directives) -> Script | None:
    try:
        return read_script(sql, directives)
    except TidegateError:
        return None


@given(SQL, DIRECTIVES)
def test_every_text_is_read_or_refused(sql: str, directives: Directives) -> None:
    script = read_or_none(sql, directives)
    if script is not None:
        match script.mode:
            case Mode.EMPTY:
                assert script.segments == ()
            case Mode.TRANSACTIONAL:
                assert [segment.kind for segment in script.segments] == [SegmentKind.BLOCK]
                assert len(script.segments[0].text) == len(sql)
            case Mode.JOURNALLED:
                assert len(script.segments) > 1 or script.segments[0].kind is not SegmentKind.BLOCK


@given(SQL, DIRECTIVES)
def test_what_is_sent_is_the_file_at_its_place_or_blank(sql: str, directives: Directives) -> None:
    script = read_or_none(sql, directives)
    for segment in script.segments if script else ():
        original = sql[segment.offset : segment.offset + len(segment.text)]
        assert len(original) == len(segment.text)
        assert all(sent in {char, " "} for char, sent in zip(original, segment.text, strict=True))
        for statement in segment.statements:
            start = statement.start - segment.offset
            assert segment.text[start : start + len(statement.text)] == statement.text


@given(SQL, DIRECTIVES)
def test_statements_are_sent_once_in_their_order_and_without_transaction_control(
    sql: str, directives: Directives
) -> None:
    script = read_or_none(sql, directives)
    sent = [statement for segment in script.segments for statement in segment.statements] if script else []
    assert [statement.start for statement in sent] == sorted({statement.start for statement in sent})
    kinds = {classify(statement.text) for statement in sent}
    assert not {Kind.BEGIN, Kind.COMMIT, Kind.COMMIT_AND_CHAIN, Kind.ROLLBACK, Kind.EMPTY} & kinds


@given(WELL_FORMED, DIRECTIVES)
def test_no_statement_that_counts_is_left_out(sql: str, directives: Directives) -> None:
    script = read_or_none(sql, directives)
    if script is not None:
        sent = [statement.text for segment in script.segments for statement in segment.statements]
        for counts in ("select 1;", "vacuum;", "discard all;", "create temp table a ();", "set local y = 2;"):
            assert sent.count(counts) == sql.count(counts)


@given(SQL, DIRECTIVES)
def test_a_block_holds_nothing_that_cannot_run_in_a_transaction(sql: str, directives: Directives) -> None:
    script = read_or_none(sql, directives)
    for segment in script.segments if script else ():
        kinds = {classify(statement.text) for statement in segment.statements}
        if segment.kind is not SegmentKind.ALONE:
            assert not {Kind.ALONE, Kind.DISCARD_ALL} & kinds
        if segment.kind is not SegmentKind.BLOCK:
            assert len(segment.statements) == 1


@given(WELL_FORMED, DIRECTIVES)
def test_line_ends_change_no_digest(sql: str, directives: Directives) -> None:
    plain = sql.replace("\r\n", "\n")
    script, other = read_or_none(plain, directives), read_or_none(plain.replace("\n", "\r\n"), directives)
    assert (script is None) == (other is None)
    if script and other:
        assert [segment.digest for segment in script.segments] == [segment.digest for segment in other.segments]


@given(st.text(st.sampled_from("a\r\né")), st.integers(0, 20))
def test_a_position_points_into_its_line(sql: str, offset: int) -> None:
    offset = min(offset, len(sql))
    line, column = position(sql, offset)
    lines = re.split(r"\r\n|\r|\n", sql)
    assert 1 <= line <= len(lines)
    assert 1 <= column <= len(lines[line - 1]) + 1
