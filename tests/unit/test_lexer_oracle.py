"""The splitter against PostgreSQL's own grammar (libpg_query, by way of pglast, in tests only)."""

from hypothesis import given
from hypothesis import strategies as st
from pglast import split as oracle

from worker.core.sql.lexer import split
from worker.core.sql.statements import Kind, classify
from worker.core.sql.tokens import tokens

CORPUS = [
    "create table t (a int default (1), b text check (b <> ';'))",
    "insert into t values (1, 'it''s'), (2, E'\\'; --'), (3, U&'d\\0061t\\+000061;')",
    "select E'a'\n'b\\';'",
    "select 'a' -- ; comment\n  'b;'",
    'select 1 as "a;b", 2 as "c"";d", 3 as U&"d\\0061;"',
    "select b'01', x'1F', n';', $$;$$, $é$;$$;$é$",
    "do $body$ begin perform ';'; end $body$",
    "create function f(a$b$ int) returns int language plpgsql as $f$ begin return 1; end; $f$",
    "create function f() returns int begin atomic select 1; select case when true then 1 else 2 end; end",
    "create or replace function f() returns int begin atomic select case 1 when 1 then case when a then 2 end end; end",
    "create function f() returns int language sql begin atomic select (case when true then 1 end); select 2; end",
    "create procedure p() begin atomic insert into t values (1); delete from t; end",
    "create procedure p() begin atomic end",
    "create rule r as on insert to t do also (insert into a values (';'); delete from b)",
    "create rule r as on update to t do instead nothing",
    "select 1 /* ; /* nested ; */ ; */ + 2",
    "select 2 */* ; */ 3 - -4 -- ; '\n",
    "select a->>'b;', c #- '{d}', e @> '{}' from t where x ~ '^;' and y <@ array[1]",
    "prepare p(int) as select $1 + 1",
    "begin isolation level serializable read write",
    "commit and chain",
    "end",
    "select case when a then ';' end from t",
    "create trigger t before insert on t for each row execute function f(';')",
    "copy t to '/a;b' with (delimiter ';')",
    "grant select on all tables in schema a to b",
    "comment on table t is $c$it's; $b$$c$",
    "select 1 as end",
    "select été, \U0001f600, a$1 from größe",
]
GAPS = ["", " ", "\n", "\r\n", "-- ; ' $$\n", "/* ; ' /* $$ */ */", "\t--\r\n", ";", " ; ;"]


def ours(sql: str) -> list[str]:
    return [" ".join(tokens(s.text.removesuffix(";"))) for s in split(sql) if classify(s.text) is not Kind.EMPTY]


def theirs(sql: str) -> list[str]:
    return [" ".join(tokens(sql[cut])) for cut in oracle(sql, only_slices=True)]


def test_every_statement_of_the_corpus_is_one() -> None:
    for statement in CORPUS:
        assert ours(statement) == theirs(statement), statement
        assert len(split(statement)) == 1


@given(st.lists(st.tuples(st.sampled_from(GAPS), st.sampled_from(CORPUS), st.sampled_from(GAPS)), max_size=8))
def test_any_sequence_of_them_is_cut_as_the_server_cuts_it(parts: list[tuple[str, str, str]]) -> None:
    sql = "".join(f"{before}{statement}{after};" for before, statement, after in parts)
    assert ours(sql) == theirs(sql)


BODIES = st.text(st.sampled_from("ab;'\"$\\-/*( )\né"), max_size=12)


def dollar_quoted(body: str) -> str:
    return f"$q${body.replace('$', '')}$q$"


LITERALS = BODIES.flatmap(
    lambda body: st.sampled_from(
        [
            "'" + body.replace("'", "''") + "'",
            "E'" + body.replace("\\", "\\\\").replace("'", "\\'") + "'",
            dollar_quoted(body),
            'a as "x' + body.replace('"', '""') + '"',
            "1 /* " + body.replace("/", "").replace("*", "") + " */",
            "1 --" + body.replace("\n", " ") + "\n",
        ]
    )
)


@given(st.lists(st.lists(LITERALS, min_size=1, max_size=4), max_size=5))
def test_awkward_quoting_is_read_as_the_server_reads_it(queries: list[list[str]]) -> None:
    sql = ";".join(f"select {', '.join(literals)}" for literals in queries)
    assert ours(sql) == theirs(sql)
