"""Reading a script: the mode it is run in, and the segments it is cut into."""

import hashlib

import pytest

from worker.core.bundles.migration import Directives, Transaction
from worker.core.sql.lexer import split
from worker.core.sql.script import Mode, Script, Segment, SegmentKind, position, read_script
from worker.errors import BundleError, RefusedError

BLOCK, ALONE, SINGLE = SegmentKind.BLOCK, SegmentKind.ALONE, SegmentKind.SINGLE
OFF = Directives(transaction=Transaction.OFF)
CIC = "create index concurrently i on t (a);"


def read(sql: str, directives: Directives | None = None) -> Script:
    return read_script(sql, directives or Directives())


def cut(sql: str, directives: Directives | None = None) -> list[tuple[SegmentKind, str]]:
    script = read(sql, directives)
    assert script.mode is Mode.JOURNALLED
    assert [segment.index for segment in script.segments] == list(range(len(script.segments)))
    return [(segment.kind, segment.text) for segment in script.segments]


def whole(sql: str, directives: Directives | None = None) -> Segment:
    script = read(sql, directives)
    assert script.mode is Mode.TRANSACTIONAL
    (segment,) = script.segments
    assert (segment.kind, segment.index, segment.offset) == (BLOCK, 0, 0)
    assert (segment.session, segment.needs_session) == ((), ())
    return segment


@pytest.mark.parametrize(
    "sql",
    ["", "\n\r\n", "-- only words", "/* ; */", "\ufeff-- bom", ";;", "begin; commit;", "\\restrict abc\n", "commit"],
)
def test_a_file_with_nothing_to_run_is_empty(sql: str) -> None:
    assert read(sql) == Script(Mode.EMPTY, ())


@pytest.mark.parametrize("sql", ["create table t ();", "set x = 1; create table t (); savepoint a; rollback to a -- z"])
def test_ordinary_statements_are_one_transaction(sql: str) -> None:
    segment = whole(sql)
    assert (segment.text, segment.begin) == (sql, "")
    assert segment.statements == split(sql)


def test_a_file_of_session_state_alone_is_one_transaction() -> None:
    assert whole("set x = 1;").text == "set x = 1;"
    assert whole("set x = 1;", OFF).text == "set x = 1;"


@pytest.mark.parametrize(
    ("sql", "text", "begin"),
    [
        ("BEGIN;\ncreate table t ();\nCOMMIT;\n", "      \ncreate table t ();\n       \n", ""),
        (
            "-- a\nset x = 1;\nstart transaction\r\n read only, deferrable;select 1;end -- b",
            "-- a\nset x = 1;\n                 \r\n                       select 1;        ",
            "READ ONLY DEFERRABLE",
        ),
        ("begin;select 1;commit;reset x;;", "      select 1;       reset x;;", ""),
        ("select 1; commit;", "select 1;        ", ""),
        ("begin; savepoint a; rollback to a; commit", "       savepoint a; rollback to a;       ", ""),
        (
            "begin isolation level serializable; set transaction read only; select 1; commit;",
            " " * 63 + "select 1;        ",
            "ISOLATION LEVEL SERIALIZABLE READ ONLY",
        ),
        (
            "set local x = 1; set transaction read only; select 1;",
            "set local x = 1; " + " " * 27 + "select 1;",
            "READ ONLY",
        ),
        (
            "select 1; set transaction isolation level serializable;",
            "select 1; set transaction isolation level serializable;",
            "",
        ),
    ],
)
def test_a_wrapped_file_runs_in_the_transaction_that_records_it(sql: str, text: str, begin: str) -> None:
    for directives in (Directives(), OFF) if sql.startswith(("BEGIN", "begin")) else (Directives(),):
        segment = whole(sql, directives)
        assert (segment.text, segment.begin) == (text, begin)
        assert all(sql[statement.start : statement.end] == statement.text for statement in segment.statements)


def test_a_byte_order_mark_and_restrict_lines_are_blanked_in_place() -> None:
    sql = "\ufeff\\restrict it's\r\nselect 1;\n\\unrestrict it's"
    assert whole(sql).text == "               \r\nselect 1;\n                "


def test_a_file_that_commits_in_the_middle_is_cut_at_its_commits() -> None:
    sql = "select 1; select 2;\nbegin read only; select 3; -- x\nselect 4; commit; select 5"
    assert cut(sql) == [(BLOCK, "select 1; select 2;"), (BLOCK, "select 3; -- x\nselect 4;"), (BLOCK, "select 5")]
    assert [segment.begin for segment in read(sql).segments] == ["", "READ ONLY", ""]


def test_a_commit_outside_a_block_ends_the_run_before_it() -> None:
    assert cut("select 1; commit; select 2;") == [(BLOCK, "select 1;"), (BLOCK, "select 2;")]


def test_commit_and_chain_begins_a_block_with_the_same_modes() -> None:
    sql = "begin read write; select 1; commit and chain; select 2; end and chain; commit; select 3;"
    assert cut(sql) == [(BLOCK, "select 1;"), (BLOCK, "select 2;"), (BLOCK, "select 3;")]
    assert [segment.begin for segment in read(sql).segments] == ["READ WRITE", "READ WRITE", ""]


def test_a_mode_set_in_a_block_is_kept_by_its_chain() -> None:
    sql = "begin; set transaction read only; select 1; commit and chain; select 2; commit;"
    assert [segment.begin for segment in read(sql).segments] == ["READ ONLY", "READ ONLY"]


def test_a_statement_that_cannot_run_in_a_transaction_is_sent_alone() -> None:
    assert cut(f"select 1; {CIC} vacuum; select 2;") == [
        (BLOCK, "select 1;"),
        (ALONE, CIC),
        (ALONE, "vacuum;"),
        (BLOCK, "select 2;"),
    ]
    assert cut(CIC) == [(ALONE, CIC)]


def test_with_transaction_off_a_statement_outside_blocks_is_a_segment_of_its_own() -> None:
    sql = "create table t (); insert into t values (1); vacuum t; select 1"
    assert cut(sql, OFF) == [
        (SINGLE, "create table t ();"),
        (SINGLE, "insert into t values (1);"),
        (ALONE, "vacuum t;"),
        (SINGLE, "select 1"),
    ]
    assert cut("select 1", OFF) == [(SINGLE, "select 1")]


def test_code_that_may_commit_is_sent_alone_with_transaction_off() -> None:
    sql = "do $$ begin commit; end $$; set x = 1; begin; select 1; select 2; commit; call p();"
    assert cut(sql, OFF) == [
        (ALONE, "do $$ begin commit; end $$;"),
        (BLOCK, "select 1; select 2;"),
        (ALONE, "call p();"),
    ]
    assert [segment.session for segment in read(sql, OFF).segments] == [(), ("set x = 1;",), ("set x = 1;",)]


def test_dropping_a_subscription_is_sent_alone_unless_the_file_says_begin() -> None:
    assert cut("drop subscription s;") == [(ALONE, "drop subscription s;")]
    assert whole("begin; drop subscription s; commit;").text == "       drop subscription s;        "


def test_session_state_before_a_lone_statement_goes_with_it_and_is_no_block() -> None:
    sql = f"set lock_timeout = '1s'; set role r; {CIC} reset role; select 1; select 2; vacuum; reset all;"
    assert cut(sql) == [(ALONE, CIC), (BLOCK, "reset role; select 1; select 2;"), (ALONE, "vacuum;")]
    first = ("set lock_timeout = '1s';", "set role r;")
    assert [segment.session for segment in read(sql).segments] == [first, first, (*first, "reset role;")]


def test_session_state_within_a_block_is_carried_on_and_local_state_is_not() -> None:
    sql = "begin; set x = 1; set local y = 2; select set_config('z', '3', false); commit; vacuum;"
    assert read(sql).segments[-1].session == ("set x = 1;", "select set_config('z', '3', false);")


def test_discard_all_forgets_what_the_session_held() -> None:
    sql = "set x = 1; create temp table a (); vacuum; discard all; set y = 2; vacuum;"
    segments = read(sql).segments
    assert [segment.session for segment in segments] == [(), ("set x = 1;",), ("set x = 1;",), ("set y = 2;",)]
    assert [bool(segment.needs_session) for segment in segments] == [False, True, True, False]


@pytest.mark.parametrize(
    "made", ["create temp table a ();", "prepare p as select 1;", "declare c cursor with hold for select 1;"]
)
def test_a_segment_knows_what_a_fresh_session_would_lack(made: str) -> None:
    first, alone, last = read(f"{made} {CIC} select 1;").segments
    assert first.needs_session == ()
    assert alone.needs_session == last.needs_session == split(made)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("\nselect 1; rollback;", "line 2: rollback undoes"),
        ("begin;\nselect 1;\nROLLBACK WORK;", "line 3: ROLLBACK WORK undoes"),
        ("begin;\nabort and chain;", "line 2: abort and chain undoes"),
        ("select 1;\n/*\n*/ begin; select 2", "line 3: begin begins a transaction that is still open"),
        ("begin; select 1;\ncommit and chain;", "line 2: commit and chain begins a transaction that is still open"),
        ("begin;\nprepare transaction 'x';", "line 2: prepare transaction leaves it"),
        ("commit prepared 'x'", "line 1: commit prepared leaves it"),
        ("begin;\n\nstart transaction; commit;", "line 3: start transaction stands inside the transaction of line 1"),
        (f"begin;\n{CIC} commit;", "line 2: create index concurrently cannot run inside the transaction of line 1"),
        ("begin;\ndiscard all; commit;", "line 2: discard all cannot run inside"),
        ("select 1; commit and chain;", "line 1: commit and chain has no transaction"),
    ],
)
def test_a_file_that_would_lie_about_what_it_did_is_refused_with_its_line(sql: str, message: str) -> None:
    for directives in (Directives(), OFF):
        with pytest.raises(RefusedError) as refused:
            read(sql, directives)
        assert refused.value.message.startswith(message)
        assert refused.value.reason == "script"
        assert refused.value.hint


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("select 1;\n\nselect 'a", "line 3: unterminated quoted string"),
        ("select 'a\nit''s", "line 1: unterminated quoted string"),
        ('select "a', "line 1: unterminated quoted identifier"),
        ("do $x$ begin", "line 1: unterminated dollar-quoted string"),
        ("-- a\r\n/* b", "line 2: unterminated comment"),
        ("select 1;\n\\connect db pass", "line 2: \\connect is a command of psql"),
        ("select 1 \\gexec", "line 1: \\gexec is a command of psql"),
        ("\\restricted x", "line 1: \\restricted is a command of psql"),
        ("\\.", "line 1: \\ is a command of psql"),
        ("select 1;\ncopy t (a) from stdin;\nit's\t\\N\n\\.\n", "line 2: COPY FROM stdin has no client"),
        ("select 'a\0';", "line 1: a NUL character"),
        ("\\echo x\nselect '", "line 1: \\echo is"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_line(sql: str, message: str) -> None:
    with pytest.raises(BundleError) as refused:
        read(sql)
    assert refused.value.message.startswith(message)
    assert refused.value.hint


def test_a_commit_inside_a_token_or_a_body_is_none() -> None:
    body = (
        "do $$ begin commit; end $$; create function f() returns int begin atomic select 1; end; select 'x; rollback;';"
    )
    assert whole(body).text == body


def test_the_digest_is_over_kind_modes_and_the_text_with_plain_line_ends() -> None:
    sql = "begin read only;\r\nselect\r1;\r\ncommit;vacuum;"
    block, alone = read(sql).segments
    assert block.digest == hashlib.sha256(b"block\nREAD ONLY\nselect\n1;").hexdigest()
    assert alone.digest == hashlib.sha256(b"alone\n\nvacuum;").hexdigest()
    assert read(sql.replace("\r\n", "\n")).segments[0].digest == block.digest


def test_a_single_statement_has_the_digest_that_it_had_when_it_was_sent_alone() -> None:
    (segment,) = read("select 1", OFF).segments
    assert (segment.kind, segment.digest) == (SINGLE, hashlib.sha256(b"alone\n\nselect 1").hexdigest())


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        (0, (1, 1)),
        (1, (1, 2)),
        (2, (1, 3)),
        (3, (1, 3)),
        (4, (2, 1)),
        (5, (2, 2)),
        (6, (3, 1)),
        (7, (4, 1)),
        (8, (4, 2)),
    ],
)
def test_a_position_is_counted_in_characters_and_a_crlf_ends_one_line(offset: int, expected: tuple[int, int]) -> None:
    assert position("\U0001f600é\r\nx\n\rab", offset) == expected
