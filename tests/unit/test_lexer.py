"""The splitter: where statements begin and end, by psql's rules."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.sql.lexer import OpenToken, Unterminated, scan, split
from worker.core.sql.places import Statement


def texts(sql: str) -> list[str]:
    return [statement.text for statement in split(sql)]


@pytest.mark.parametrize(
    "statement",
    [
        "select ';';",
        "select 'it''s; fine';",
        "select 'Q;', E'Q;';".replace("Q", "''" * 1000),
        'select "Q;";'.replace("Q", '""' * 1000),
        "create /* a/b * c */ function f() returns int begin atomic select 1; end;",
        "select 'a\\';",
        "select E'a\\';b';",
        "select e'a'';b';",
        "select E'a'\n  'b\\';c';",
        "select E'a' -- so it goes on\n -- and on\n 'b\\';c';",
        "select U&'d\\0061t;a', B'1;0', X'1;F', N';';",
        'select U&";", ";", "a"";b";',
        "select nameE'a\\';",
        "select $$;$$, $a$;$$;$b$;$a$;",
        "select $é$;$é$;",
        "select a$b$, c$b$;",
        "select $1, $2;",
        "select /* ; /* ; */ ; */ 1;",
        "select 1 -- ; '\n;",
        "select (1; 2);",
        "select ((1; 2), ';)', /* ;) */ (3);4);",
        "select 2*/* ; */3 - -4 / 5 #- '{a}';",
        "select ':';",
        "do $$ begin; commit; end; $$;",
        "create rule r as on insert to t do also (insert into a values (1); insert into b values (2));",
        "create function f() returns int begin atomic select 1; select 2; end;",
        "create or replace procedure p()\nbegin /* here */ atomic insert into t values (1); end;",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN CASE b WHEN 1 THEN 2 END END; END;",
        "create function f() returns int begin atomic; select 1 as end; select t.end from t; select 1 AS case; end;",
        "create function f() returns int begin atomic select (case when a then 1 end); end;",
        "create function begin() returns int language sql as 'select 1';",
        "create /* so */ function f(a int default 1) returns int return a + case when a > 1 then 1 end;",
    ],
)
def test_a_semicolon_inside_a_token_or_a_body_ends_nothing(statement: str) -> None:
    assert texts(f"{statement}\ncommit; {statement}") == [statement, "commit;", statement]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("", []),
        (" \r\n\t-- nothing\n/* at /* all */ */", []),
        (";;select 1;;", [";", ";", "select 1;", ";"]),
        ("select 1;  select 2 \n", ["select 1;", "select 2"]),
        ("\ufeffselect 1;", ["select 1;"]),
        ("select 1;\r\n-- two\r\nselect\r\n2;\r\n", ["select 1;", "select\r\n2;"]),
        ("select 1) ; select 2;", ["select 1) ;", "select 2;"]),
        ("begin; create table function (a int); end;", ["begin;", "create table function (a int);", "end;"]),
        ("select 'a' 'b\\';'", ["select 'a' 'b\\';", "'"]),
    ],
)
def test_the_edges_of_statements(sql: str, expected: list[str]) -> None:
    assert texts(sql) == expected


def test_a_statement_knows_its_place_in_the_file() -> None:
    sql = "-- one\r\n\r\nselect 1;\n/*\n\n*/ select\n2;"
    assert split(sql) == (Statement(10, 19, 3, "select 1;"), Statement(27, 36, 6, "select\n2;"))


def test_an_open_parenthesis_reaches_to_the_end() -> None:
    assert texts("select (1; select 2;\n") == ["select (1; select 2;"]


@pytest.mark.parametrize(
    ("token", "what"),
    [
        ("'a;", OpenToken.STRING),
        ("E'a\\';", OpenToken.STRING),
        ("E'a\\", OpenToken.STRING),
        ('"a;', OpenToken.IDENTIFIER),
        ("$a$ ; $A$", OpenToken.DOLLAR),
        ("/* /* */ ;", OpenToken.COMMENT),
    ],
)
def test_a_token_without_its_end_is_told(token: str, what: OpenToken) -> None:
    scanned = scan(f"select 1;\nselect {token}")
    assert scanned.unterminated == Unterminated(17, what)
    assert [statement.text for statement in scanned.statements] == ["select 1;", f"select {token}"]


def test_a_psql_command_reaches_to_the_end_of_its_line() -> None:
    scanned = scan("\\restrict it's\r\nselect 1;\n\\echo ;\nselect '\n\\x';")
    assert scanned.commands == ((0, 14), (26, 33))
    assert [statement.text for statement in scanned.statements] == ["select 1;", "select '\n\\x';"]


FRAGMENTS = st.sampled_from(
    [
        *"'\";$\\()-/*eE \n\r\t\f._9aé\U0001f600",
        *("--", "/*", "*/", "$$", "$a$", "E'", "U&'", "''", "\r\n", "\ufeff", "\\restrict x\n", "(1;2)"),
        *("begin", " BEGIN ATOMIC ", "case ", " end ", "create function f() ", " as ", "select 1;", "commit;"),
    ]
)
SOUP = st.lists(FRAGMENTS, max_size=40).map("".join)
ANY_TEXT = st.one_of(SOUP, st.text())


def after_comment(text: str, at: int) -> int:
    depth = 0
    while at < len(text):
        edge = text[at : at + 2]
        depth += {"/*": 1, "*/": -1}.get(edge, 0)
        at += 2 if edge in {"/*", "*/"} else 1
        if depth == 0:
            break
    return at


def is_gap(text: str) -> bool:
    at = 0
    while at < len(text):
        if text[at] in " \t\r\n\f\v":
            at += 1
        elif text[at] == "\\" or text.startswith("--", at):
            at += len(re.split(r"[\r\n]", text[at:], maxsplit=1)[0])
        elif text.startswith("/*", at):
            at = after_comment(text, at)
        else:
            return False
    return True


@given(ANY_TEXT)
def test_no_character_is_lost(sql: str) -> None:
    done = int(sql.startswith("\ufeff"))
    for statement in split(sql):
        assert statement.start >= done
        assert is_gap(sql[done : statement.start])
        assert statement.text == sql[statement.start : statement.end] != ""
        done = statement.end
    assert is_gap(sql[done:])


@given(ANY_TEXT)
def test_a_statement_begins_with_a_token_and_its_line_is_true(sql: str) -> None:
    for statement in split(sql):
        assert statement.text[0] not in " \t\r\n\f\v\\"
        assert not statement.text.startswith(("--", "/*"))
        assert statement.line == len(re.findall(r"\r\n|\r|\n", sql[: statement.start])) + 1


@given(ANY_TEXT)
def test_only_the_last_statement_may_lack_its_semicolon(sql: str) -> None:
    assert all(text.endswith(";") for text in texts(sql)[:-1])


@given(ANY_TEXT)
def test_what_was_cut_and_joined_is_cut_the_same_again(sql: str) -> None:
    cut = [text for text in texts(sql) if not text.startswith("\ufeff")]
    assert texts("\n".join(cut)) == cut


WELL_FORMED = st.sampled_from(
    ["select ';'", "select $$;$$", "select (1;2)", "do $x$;$x$", 'select ";"', "select E'\\';'", "begin", "end"]
)
GAPS = st.sampled_from([" ", "\n", "\r\n", "-- ; '\n", "/* ; ' */", "/* /* ; */ $$ */", "\n\\restrict '\n"])


@given(st.lists(st.tuples(GAPS, WELL_FORMED, GAPS)))
def test_comments_between_statements_change_nothing(parts: list[tuple[str, str, str]]) -> None:
    sql = "".join(f"{before}{statement};{after}" for before, statement, after in parts)
    assert texts(sql) == [f"{statement};" for _, statement, _ in parts]


PATHOLOGICAL = [
    *("(", ")", "/*", "*/", "$", "$$", "$a", "$a$ ", "a$", "'", "''", "E'", "E'\\", "E'a'\n", "E'a' -- x\n"),
    *("((1)", "(a", "\\", "\\restrict\n", " \\x", "--", "-", "/", "/* /* */", ";", "create ", "create '';", "as "),
    *("create function begin atomic ", "begin atomic case ", "create/**/", "create --\n", "(E'", "($1", '("', "\r"),
]


def seconds(sql: str) -> float:
    started = time.process_time()
    split(sql)
    return time.process_time() - started


@pytest.mark.parametrize("unit", PATHOLOGICAL)
def test_the_work_grows_with_the_length_alone(unit: str) -> None:
    small, large = unit * (20_000 // len(unit)), unit * (320_000 // len(unit))
    best = min(seconds(small) for _ in range(3))
    # Sixteen times the text; work that grows with the square would take 256 times as long.
    assert seconds(large) < 16 * 5 * max(best, 0.001)
