"""What a statement does to transactions and to the session; the facts are PostgreSQL 15's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.sql.statements import Kind, classify, transaction_modes

EXAMPLES = {
    Kind.EMPTY: ["", ";", " -- nothing\n", "/* x */ ;"],
    Kind.ALONE: [
        "create index concurrently i on t (a)",
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a);",
        "create index concurrently on t (a)",
        "-- why\ncreate /* so */ index\nconcurrently i on t (a)",
        "drop index concurrently if exists i",
        "reindex table concurrently t",
        "reindex index concurrently i",
        "reindex (concurrently) table t",
        "reindex (verbose, concurrently on) table t",
        "reindex database",
        "reindex (verbose) system d",
        "reindex schema s",
        "alter table p detach partition q concurrently",
        'alter table if exists only "P"."Q" detach partition s.q concurrently;',
        "vacuum",
        "vacuum (full) t",
        "create database d",
        "drop database if exists d",
        "alter database d set tablespace x",
        "alter database d with tablespace x",
        "alter database d tablespace x",
        "create tablespace x location '/x'",
        "drop tablespace x",
        "alter system set work_mem = '4MB'",
        "alter system reset all",
        "create subscription s connection 'dbname=x' publication p",
        "create subscription s connection 'dbname=x' publication p with (create_slot = true)",
        "alter subscription s refresh publication",
        "alter subscription s set publication p",
        "alter subscription s add publication p with (copy_data = false)",
        "cluster",
        "cluster verbose;",
        "cluster (verbose)",
    ],
    Kind.PREFERS_ALONE: ["drop subscription if exists s", "alter subscription s set (failover = true)"],
    Kind.DISCARD_ALL: ["discard all;"],
    Kind.BEGIN: ["begin", "BEGIN WORK;", "begin isolation level serializable", "start transaction read only"],
    Kind.COMMIT: ["commit", "commit work", "end;", "end transaction", "commit and no chain"],
    Kind.COMMIT_AND_CHAIN: ["commit and chain", "end work and chain", "commit transaction and chain;"],
    Kind.ROLLBACK: ["rollback", "abort;", "rollback work", "rollback and chain", "abort transaction and no chain"],
    Kind.SAVEPOINT: [
        "savepoint a",
        "release a",
        "release savepoint a",
        "rollback to a",
        "rollback work to savepoint a",
        "rollback transaction to a",
    ],
    Kind.TWO_PHASE: ["prepare transaction 'x'", "commit prepared 'x'", "rollback prepared 'x'"],
    Kind.TRANSACTION_MODE: ["set transaction isolation level serializable", "SET TRANSACTION READ ONLY;"],
    Kind.TRANSACTION_STATE: [
        "set local lock_timeout = '1s'",
        "set constraints all deferred",
        "set transaction snapshot '0'",
        "select set_config('search_path', '', true)",
    ],
    Kind.SESSION_STATE: [
        "set search_path to a, b",
        "set session lock_timeout = '1s'",
        "set time zone 'UTC'",
        "set role r",
        "set session authorization default",
        "set session characteristics as transaction read only",
        "reset all",
        "reset role",
        "select set_config('search_path', '', false)",
        "SELECT pg_catalog.set_config('search_path', '', false);",
        "select set_config('a.b', set_config('a.c', 'x', true), false) as x",
        "listen c",
        "unlisten *",
    ],
    Kind.SESSION_OBJECT: [
        "create temp table t (a int)",
        "create local temporary table if not exists t (a int) on commit preserve rows",
        "create or replace temp view v as select 1",
        "create temp sequence s",
        "create table pg_temp.t (a int)",
        "select 1 as a into temp t",
        "with a as (select 1) select * into temporary table t from a",
        "prepare p as select 1",
        "declare c cursor with hold for select 1",
        "declare c binary insensitive scroll cursor with hold for select 1",
    ],
    Kind.COPY_FROM_STDIN: ["copy t from stdin", "COPY public.t (a, b) FROM STDIN WITH (FORMAT csv);"],
    Kind.PLAIN: [
        "create index i on t (a)",
        'create index "concurrently" on t (a)',
        "drop index i",
        "reindex table t",
        "reindex (concurrently false) table t",
        "reindex (verbose, concurrently off) index i",
        "alter table p detach partition q",
        "alter table p detach partition q finalize",
        "alter table t drop column detach",
        "alter database d rename to e",
        "alter database d set work_mem = '4MB'",
        "alter type e add value 'x'",
        "alter tablespace x rename to y",
        "alter subscription s disable",
        "alter subscription s set (slot_name = none)",
        "alter subscription s set publication p with (refresh = false)",
        "create subscription s connection 'dbname=x' publication p with (connect = false)",
        "create subscription s connection 'dbname=x' publication p with (create_slot = off, enabled)",
        "cluster t using i",
        "cluster verbose t",
        "refresh materialized view concurrently v",
        "discard temp",
        "analyze",
        "create temp table t (a int) on commit drop",
        "create table temp (a int)",
        "create function f() returns int language sql set search_path = pg_temp as 'select 1'",
        "declare c cursor for select 1 for update",
        "declare c cursor without hold for select 1",
        "select set_config('a.b', x, false) from t",
        "select 'into temp'",
        "copy t to stdout",
        "copy t from '/tmp/stdin'",
        "do $$ begin commit; end $$",
        "insert into t values ('commit')",
        "start",
        "comm\u0131t",
        "drop table t",
        'select "from stdin"',
    ],
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, many in EXAMPLES.items() for text in many])
def test_a_statement_is_what_its_first_words_say(kind: Kind, text: str) -> None:
    assert classify(text) is kind


def test_every_kind_has_an_example() -> None:
    assert set(EXAMPLES) == set(Kind)


@pytest.mark.parametrize(
    ("text", "modes"),
    [
        ("begin;", ""),
        ("begin work", ""),
        ("BEGIN ISOLATION LEVEL serializable, READ WRITE;", "ISOLATION LEVEL SERIALIZABLE READ WRITE"),
        ("start transaction /* no */ read only -- x", "READ ONLY"),
        ("set transaction not deferrable;", "NOT DEFERRABLE"),
    ],
)
def test_the_modes_of_a_transaction_are_read_without_noise(text: str, modes: str) -> None:
    assert transaction_modes(text) == modes


@given(st.sampled_from([(k, t) for k, many in EXAMPLES.items() for t in many]), st.sampled_from(["", ";", " -- c\n"]))
def test_comments_before_and_after_change_no_kind(example: tuple[Kind, str], tail: str) -> None:
    kind, text = example
    assert classify(f"-- commit;\n/* begin; /* */ */\r\n{text}\n{tail}") is kind


@given(st.one_of(st.text(), st.lists(st.sampled_from(" ".join(EXAMPLES[Kind.ALONE]).split(" "))).map(" ".join)))
def test_any_text_has_a_kind(text: str) -> None:
    assert isinstance(classify(text), Kind)
