"""Targets: how they are named, and how they are quoted for SQL."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.target import Target, quote_identifier

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("target", "name", "relation"),
    [
        (Target("public", "schema_migrations"), "public.schema_migrations", '"public"."schema_migrations"'),
        (Target("_a$1", "b"), "_a$1.b", '"_a$1"."b"'),
        (Target("Public", "b"), '"Public".b', '"Public"."b"'),
        (Target("public", "a.b"), 'public."a.b"', '"public"."a.b"'),
        (Target("1st", 'say "hi"'), '"1st"."say ""hi"""', '"1st"."say ""hi"""'),
        (Target("public", "b\n"), 'public."b\n"', '"public"."b\n"'),
    ],
)
def test_a_name_is_quoted_where_it_must_be_and_a_relation_always(target: Target, name: str, relation: str) -> None:
    assert target.name == name
    assert target.relation == relation


@given(names)
def test_quoting_can_be_undone(name: str) -> None:
    quoted = quote_identifier(name)
    assert quoted[0] == quoted[-1] == '"'
    assert quoted[1:-1].replace('""', '"') == name
    assert '"' not in quoted[1:-1].replace('""', "")


@given(st.builds(Target, names, names), st.builds(Target, names, names))
def test_two_targets_have_two_names(one: Target, other: Target) -> None:
    assert (one.name == other.name) is (one == other)
