"""Lock keys: golang-migrate's, as that program computes them, and our own, which must never change."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.lock_keys import control_key, golang_key, golang_keys, target_key
from worker.core.target import Target

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
targets = st.builds(Target, names, names)


@pytest.mark.parametrize(
    ("schema", "table", "database", "key"),
    [
        ("public", "neosync_api_schema_migrations", "/nucleus", 3863795063),
        ("public", "schema_migrations", "/nucleus", 290111750),
        ("public", "neosync_api_schema_migrations", "nucleus", 1782776975),
        ("public", "schema_migrations", "coder", 4187539795),
    ],
)
def test_golang_migrates_key_is_the_one_that_it_takes(schema: str, table: str, database: str, key: int) -> None:
    assert golang_key(Target(schema, table), database) == key


def test_the_key_of_the_url_form_comes_first() -> None:
    target = Target("public", "neosync_api_schema_migrations")
    assert golang_keys(target, "nucleus") == (3863795063, 1782776975)


@given(targets, names)
def test_every_key_fits_a_bigint(target: Target, database: str) -> None:
    assert all(0 <= key < 2**32 for key in golang_keys(target, database))
    assert all(-(2**63) <= key < 2**63 for key in (target_key(target), control_key(target.schema)))


@given(targets, targets)
def test_two_targets_have_two_keys(one: Target, other: Target) -> None:
    assert (target_key(one) == target_key(other)) is (one == other)


def test_our_own_keys_are_what_the_documentation_says() -> None:
    digest = sha256(b"tidegate\x00target\x00public\x00schema_migrations").digest()
    assert target_key(Target("public", "schema_migrations")) == int.from_bytes(digest[:8], "big", signed=True)
    digest = sha256(b"tidegate\x00control\x00tidegate").digest()
    assert control_key("tidegate") == int.from_bytes(digest[:8], "big", signed=True)
