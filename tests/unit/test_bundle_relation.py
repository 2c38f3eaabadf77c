"""How two bundles relate, and in what they differ."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.bundles.bundle import Change, Difference, Relation, build_bundle, differences, relation

contents = st.dictionaries(st.integers(0, 5), st.sampled_from(["a", "b", None]), max_size=5)
OPPOSITE = {
    Relation.SAME: Relation.SAME,
    Relation.EXTENDS: Relation.OLDER,
    Relation.OLDER: Relation.EXTENDS,
    Relation.DIVERGED: Relation.DIVERGED,
}


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ({1: "a", 2: None}, Relation.SAME),
        ({1: "a", 2: None, 3: "c"}, Relation.EXTENDS),
        ({0: "z", 1: "a", 2: None}, Relation.EXTENDS),
        ({1: "a"}, Relation.OLDER),
        ({}, Relation.OLDER),
        ({1: "a", 2: "b"}, Relation.DIVERGED),
        ({1: "x", 2: None, 3: "c"}, Relation.DIVERGED),
        ({1: "a", 3: "c"}, Relation.DIVERGED),
    ],
)
def test_the_relation_to_a_bundle_of_two(offered: dict[int, str | None], expected: Relation) -> None:
    assert relation(offered, {1: "a", 2: None}) is expected


@given(contents, contents)
def test_the_relation_is_that_of_their_contents_as_sets(
    offered: dict[int, str | None], wanted: dict[int, str | None]
) -> None:
    how, ours, theirs = relation(offered, wanted), set(offered.items()), set(wanted.items())
    assert (how in {Relation.SAME, Relation.EXTENDS}) == (ours >= theirs)
    assert (how in {Relation.SAME, Relation.OLDER}) == (ours <= theirs)
    assert relation(wanted, offered) is OPPOSITE[how]


@given(contents, contents)
def test_the_differences_tell_the_relation(offered: dict[int, str | None], wanted: dict[int, str | None]) -> None:
    found = differences(offered, wanted)
    changes = {difference.change for difference in found}
    versions = [difference.version for difference in found]
    assert versions == sorted(set(versions))
    expected = {
        frozenset(): Relation.SAME,
        frozenset({Change.ADDED}): Relation.EXTENDS,
        frozenset({Change.MISSING}): Relation.OLDER,
    }
    assert relation(offered, wanted) is expected.get(frozenset(changes), Relation.DIVERGED)


def test_each_difference_is_named() -> None:
    found = differences({1: "a", 2: "x", 4: "d"}, {1: "a", 2: "b", 3: "c"})
    assert found == (Difference(2, Change.REWRITTEN), Difference(3, Change.MISSING), Difference(4, Change.ADDED))
    assert [str(one) for one in found] == ["version 2 is rewritten", "version 3 is missing", "version 4 is added"]


def test_a_corrected_down_file_is_the_same_for_the_relation_and_other_content_for_the_digest() -> None:
    first = build_bundle({"1_a.up.sql": b"SELECT 1;", "1_a.down.sql": b"SELECT 2;"})
    second = build_bundle({"1_a.up.sql": b"SELECT 1;", "1_a.down.sql": b"SELECT 3;"})
    assert relation(second.checksums, first.checksums) is Relation.SAME
    assert first.digest != second.digest
