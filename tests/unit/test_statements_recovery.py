"""What a statement that was cut off is about, told by its text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.running.recovery import (
    About,
    Build,
    Detach,
    Drop,
    Opaque,
    Presence,
    QualifiedName,
    Rebuild,
    Repeatable,
    Scope,
    Temper,
    Thing,
    Wanted,
    about,
    temper_of,
)


def name(*parts: str) -> QualifiedName:
    return QualifiedName(parts[0] if len(parts) > 1 else None, parts[-1])


def build(*, index: QualifiedName | None, table: QualifiedName, rest: str, words: str = "") -> Build:
    return Build(index, table, "unique" in words, "tolerant" in words, rest)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("create index concurrently I on T (a)", build(index=name("i"), table=name("t"), rest=" (a)")),
        (
            'CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "I ""x""" ON ONLY "S".T/**/USING btree (a) WHERE a > 1',
            build(
                index=name('I "x"'),
                table=name("S", "t"),
                rest="/**/USING btree (a) WHERE a > 1",
                words="unique tolerant",
            ),
        ),
        ("create index concurrently on d.s.t (a)", build(index=None, table=name("s", "t"), rest=" (a)")),
        (
            "create index concurrently \"on\" /* x */ on t(a->>'b');",
            build(index=name("on"), table=name("t"), rest="(a->>'b');"),
        ),
        ("create index concurrently ÉÄ on t(a)", build(index=name("ÉÄ"), table=name("t"), rest="(a)")),
        (
            f"create index concurrently {'a' * 70} on t(a)",
            build(index=name("a" * 63), table=name("t"), rest="(a)"),
        ),
    ],
)
def test_a_build_names_its_index_and_its_table(text: str, expected: Build) -> None:
    assert about(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("drop index concurrently if exists S.I cascade;", Drop(name("s", "i"))),
        ("drop index concurrently i", Drop(name("i"))),
        ("reindex index concurrently s.i", Rebuild(Scope.INDEX, name("s", "i"))),
        ("reindex (verbose, concurrently) table t", Rebuild(Scope.TABLE, name("t"))),
        ('-- x\nREINDEX (VERBOSE) SCHEMA CONCURRENTLY "S";', Rebuild(Scope.SCHEMA, name("S"))),
        ("reindex database concurrently d", Rebuild(Scope.DATABASE, None)),
        ("reindex database concurrently", Rebuild(Scope.DATABASE, None)),
        ("alter table t detach partition p concurrently", Detach(name("t"), name("p"))),
        (
            'ALTER TABLE IF EXISTS ONLY s."T" * DETACH PARTITION "P.1".p /* x */ CONCURRENTLY;',
            Detach(name("s", "T"), name("P.1", "p")),
        ),
        ("create database D", Presence(Thing.DATABASE, "d", Wanted.THERE)),
        ('drop database if exists "D" with (force)', Presence(Thing.DATABASE, "D", Wanted.GONE)),
        ("create tablespace t location '/x'", Presence(Thing.TABLESPACE, "t", Wanted.THERE)),
        ("drop subscription if exists s", Presence(Thing.SUBSCRIPTION, "s", Wanted.GONE)),
    ],
)
def test_a_statement_names_what_it_changes(text: str, expected: About) -> None:
    assert about(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "vacuum full t",
        "analyze",
        "reindex system d",
        "reindex (concurrently false) index i",
        "alter system set work_mem = '4MB'",
        "alter database d set tablespace t",
        "alter subscription s refresh publication",
        "cluster",
        "discard all",
        "refresh materialized view concurrently v",
    ],
)
def test_what_does_no_harm_twice_is_repeatable(text: str) -> None:
    assert about(text) == Repeatable()


@pytest.mark.parametrize(
    "text",
    [
        "create index i on t (a)",
        "drop index i",
        "alter table t detach partition p",
        "alter table t detach partition p finalize",
        'alter table t detach partition U&"d\\0061" concurrently',
        'create index concurrently U&"d\\0061" on t (a)',
        "create index concurrently",
        "create index concurrently i",
        "drop index concurrently ;",
        "do $$ begin commit; end $$",
        "call p()",
        "create",
        "",
    ],
)
def test_nothing_is_told_of_the_others(text: str) -> None:
    assert about(text) == Opaque()


WORDS = [
    "create",
    "drop",
    "alter",
    "reindex",
    "index",
    "table",
    "database",
    "concurrently",
    "on",
    "if",
    "(",
    ")",
    ".",
    "a",
]


@pytest.mark.parametrize(
    ("text", "temper"),
    [
        ("CREATE INDEX CONCURRENTLY i ON a (x)", Temper.PATIENT),
        ("DROP INDEX CONCURRENTLY i", Temper.PATIENT),
        ("REINDEX TABLE CONCURRENTLY a", Temper.PATIENT),
        ("ALTER TABLE p DETACH PARTITION a CONCURRENTLY", Temper.PATIENT),
        ("VACUUM FULL a", Temper.QUICK),
        ("REINDEX SCHEMA s", Temper.QUICK),
        ("CLUSTER", Temper.QUICK),
        ("DROP DATABASE d", Temper.QUICK),
        ("ALTER SYSTEM SET work_mem = '8MB'", Temper.QUICK),
        ("DO $$BEGIN COMMIT; END$$", Temper.ONCE),
        ("CALL p()", Temper.ONCE),
    ],
)
def test_only_what_the_server_undoes_when_it_refuses_it_waits_in_short_attempts(text: str, temper: Temper) -> None:
    assert temper_of(text) is temper


@given(st.lists(st.sampled_from([*WORDS, "detach", "partition", "exists", "*"])))
def test_any_text_can_be_asked(words: list[str]) -> None:
    for first in ("", "create index concurrently", "drop index concurrently", "reindex", "alter table"):
        about(" ".join([first, *words]))
