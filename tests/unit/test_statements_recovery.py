"""What a concurrent statement that was cut off is about, and which statements may simply be run again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.recovery import ConcurrentIndex, IndexAction, QualifiedName, concurrent_target, is_repeatable

CREATE, DROP, REINDEX = IndexAction.CREATE, IndexAction.DROP, IndexAction.REINDEX


def name(*parts: str) -> QualifiedName:
    return QualifiedName(parts[0] if len(parts) > 1 else None, parts[-1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("create index concurrently I on T (a)", (CREATE, name("i"), name("t"), False, False)),
        (
            'CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "I ""x""" ON ONLY "S".T USING btree (a)',
            (CREATE, name('I "x"'), name("S", "t"), True, False),
        ),
        ("create index concurrently on d.s.t (a)", (CREATE, None, name("s", "t"), False, False)),
        ('create index concurrently "on" /* x */ on t(a);', (CREATE, name("on"), name("t"), False, False)),
        ("create index concurrently ÉÄ on t(a);", (CREATE, name("ÉÄ"), name("t"), False, False)),
        (f"create index concurrently {'a' * 70} on t(a);", (CREATE, name("a" * 63), name("t"), False, False)),
        ("drop index concurrently if exists S.I cascade;", (DROP, name("s", "i"), None, False, True)),
        ("drop index concurrently i", (DROP, name("i"), None, False, False)),
        ("reindex index concurrently s.i", (REINDEX, name("s", "i"), None, False, False)),
        ("reindex (verbose, concurrently) table t", (REINDEX, None, name("t"), False, False)),
    ],
)
def test_a_concurrent_statement_names_its_index(
    text: str, expected: tuple[IndexAction, QualifiedName | None, QualifiedName | None, bool, bool]
) -> None:
    action, index, table, if_not_exists, if_exists = expected
    assert concurrent_target(text) == ConcurrentIndex(
        action, index, table, if_not_exists=if_not_exists, if_exists=if_exists
    )


@pytest.mark.parametrize(
    "text",
    [
        "create index i on t (a)",
        "drop index i",
        "reindex table t",
        "reindex (concurrently false) index i",
        "reindex database concurrently d",
        'create index concurrently U&"d\\0061" on t (a)',
        "create index concurrently",
        "drop index concurrently ;",
        "vacuum",
        "",
    ],
)
def test_other_statements_name_none(text: str) -> None:
    assert concurrent_target(text) is None


@pytest.mark.parametrize(
    ("text", "repeatable"),
    [
        ("vacuum full t", True),
        ("analyze", True),
        ("-- again\nreindex table concurrently t", True),
        ("alter system set work_mem = '4MB'", True),
        ("cluster", True),
        ("discard all", True),
        ("refresh materialized view concurrently v", True),
        ("create database d", False),
        ("alter table t add a int", False),
        ("drop index concurrently i", False),
        ("", False),
    ],
)
def test_only_what_does_no_harm_twice_is_repeatable(text: str, repeatable: bool) -> None:  # noqa: FBT001 - expected value
    assert is_repeatable(text) is repeatable


@given(
    st.lists(st.sampled_from(["create", "drop", "reindex", "index", "concurrently", "on", "if", "(", ")", ".", "a"]))
)
def test_any_text_can_be_asked(words: list[str]) -> None:
    for text in (" ".join(words), " ".join(["create index concurrently", *words]), " ".join(["reindex", *words])):
        concurrent_target(text)
        is_repeatable(text)
