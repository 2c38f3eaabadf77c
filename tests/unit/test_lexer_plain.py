"""The pattern that takes plain statements in bulk finds what the splitter finds step by step, or leaves it alone."""

import re
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.bundles.migration import Directives, Transaction
from worker.core.sql import lexer
from worker.core.sql.lexer import Scan, scan
from worker.core.sql.places import Lines, Statements, line_ends
from worker.core.sql.script import PART, SegmentKind, read_script
from worker.core.sql.statements import Kind, classify
from worker.core.sql.tokens import PLAIN
from worker.errors import TidegateError

NEVER = re.compile("(?!)()|.", re.DOTALL)
PLAIN_STATEMENTS = [
    "insert into t values (1, 'it''s; fine');",
    "INSERT INTO t (a) SELECT (f(1, 2));",
    "update t set a = 'type', b = -1 - -2 / 3 where c = U&'d\\0061';",
    'delete from "a;b" where "c"";d" = 1; ',
    "comment on table t is 'größe; \U0001f600';",
    "grant select -- all; of it '\n on t to api;",
    "truncate t;",
    "merge into t using s on (t.a = s.a) when matched then do nothing;",
    "revoke all on t from public;",
]
OTHERS = [
    "insert into t values (E'a\\';b');",
    "insert into t values ($$;$$, $a$;'$a$);",
    "insert into t select 1 /* ; /* nested; */ */;",
    "insert into t values (((((1)))));",
    "insert into t values ('" + "''" * 20 + "');",
    "inserted;",
    "insert$a$;$a$;",
    "create rule r as on insert to t do also (insert into a values (1); delete from b);",
    "create function f() returns int begin atomic select 1; end;",
    "copy t from stdin;",
    "begin;",
    "commit;",
    "set a = 1;",
    "create temp table t (a int);",
    "vacuum;",
    ";",
]
BROKEN = [
    "insert into t values (1",
    "insert into t values ('a",
    "update t set a = 1)",
    "delete from t \\gexec\n",
    "'",
    "(",
]
GAPS = ["", " ", "\n", "\r\n", "\r", "-- ; ' $$\n", "/* ; */", "\n\\restrict x\n", "\\x\n", "\ufeff"]
PIECES = st.one_of(*map(st.sampled_from, (PLAIN_STATEMENTS, PLAIN_STATEMENTS, OTHERS, BROKEN, GAPS)))
SOUP = st.text(st.sampled_from("insert update;;()''\"$-/*\\eE \n\r,aé"), max_size=40)
SQL = st.lists(st.one_of(PIECES, SOUP.map(lambda text: f"insert {text}")), max_size=12).map("".join)


def step_by_step(sql: str) -> Scan:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexer, "PLAIN", NEVER)
        return scan(sql)


@given(SQL)
def test_it_changes_nothing_in_what_is_found(sql: str) -> None:
    fast, slow = scan(sql), step_by_step(sql)

    assert fast.statements == slow.statements
    assert (fast.commands, fast.unterminated) == (slow.commands, slow.unterminated)
    assert slow.plain == ()


@given(SQL)
def test_what_it_takes_is_plain(sql: str) -> None:
    found = scan(sql)

    for indices in found.plain:
        assert {classify(found.statements[index].text) for index in indices} == {Kind.PLAIN}


@given(SQL, st.sampled_from(Transaction))
def test_a_script_is_read_as_without_it(sql: str, transaction: Transaction) -> None:
    def told() -> object:
        try:
            script = read_script(sql, Directives(transaction=transaction))
        except TidegateError as error:
            return error.message
        return script, [segment.digest for segment in script.segments]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexer, "PLAIN", NEVER)
        slow = told()
    assert told() == slow


@pytest.mark.parametrize("statement", PLAIN_STATEMENTS)
def test_a_plain_statement_is_taken_by_it(statement: str) -> None:
    assert scan(statement * 3).plain == (range(3),)


@pytest.mark.parametrize("statement", OTHERS)
def test_what_may_be_more_than_plain_is_left_to_the_splitter(statement: str) -> None:
    found = PLAIN.match(statement)

    assert found is not None
    assert found.lastindex is None


@given(
    st.text(st.sampled_from("a\n\r"), max_size=30).flatmap(lambda text: st.tuples(st.just(text), st.just(len(text))))
)
def test_the_line_of_a_character_is_one_more_than_the_line_ends_before_it(case: tuple[str, int]) -> None:
    text, length = case
    lines = Lines(text)

    for offset in range(length):
        if text[offset] == "a":
            assert lines.line(offset) == 1 + line_ends(text, 0, offset)


def test_statements_are_found_by_a_character_in_them() -> None:
    found = scan("select 1;  insert into t values (2);")

    assert isinstance(found.statements, Statements)
    assert [found.statements.at(offset) for offset in (0, 8, 9, 10, 11, 35, 36)] == [
        *[found.statements[0]] * 2,
        *[None] * 2,
        *[found.statements[1]] * 2,
        None,
    ]


def test_a_long_text_is_cut_behind_statements_and_a_short_one_is_not() -> None:
    statement = f"insert into t values ('{'x;' * 1000}');\n"
    count = 3 * PART // len(statement)
    head = "vacuum;\n"

    _, block = read_script(head + statement * count, Directives()).segments
    assert block.kind is SegmentKind.BLOCK
    places = (0, *block.cuts, len(block.text))
    assert len(block.cuts) == 2
    assert {block.text[cut - 2 : cut] for cut in block.cuts} == {");"}
    sizes = [past - first for first, past in pairwise(places)]
    assert all(PART <= size < PART + len(statement) for size in sizes[:-1])
    assert read_script(statement, Directives()).segments[0].cuts == ()


@pytest.mark.parametrize(
    ("setting", "is_cut"),
    [
        ("SET standard_conforming_strings = on", True),
        ("SET client_encoding = 'UTF8'", True),
        ("SET standard_conforming_strings = off", False),
        ("SELECT set_config('standard_conforming_strings', 'off', true)", False),
        ("SET Client_Encoding TO latin1", False),
        ("SET NAMES 'latin1'", False),
    ],
)
def test_what_changes_how_text_is_read_keeps_a_long_text_whole(setting: str, is_cut: bool) -> None:  # noqa: FBT001 - a case
    row = "INSERT INTO t VALUES ('" + "a" * 1000 + "');\n"
    (segment,) = read_script(f"{setting};\n" + row * (2 * PART // len(row)), Directives()).segments

    assert bool(segment.cuts) is is_cut


@pytest.mark.parametrize("row", ["((" + ",".join(["(1)"] * 200) + "))", "(f(" + "g('a', h(1))," * 60 + "1))"])
def test_parentheses_in_parentheses_take_little_memory(row: str) -> None:
    sql = "insert into t values " + ",".join([row] * (400_000 // len(row))) + ";"
    tracemalloc.start()
    try:
        scan(sql)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 5 * len(sql)
