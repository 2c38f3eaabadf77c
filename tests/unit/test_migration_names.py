"""The file-name grammar."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.bundles.migration import MAX_VERSION, Direction, FileName, parse_file_name
from worker.errors import BundleError

GRAMMAR = re.compile(r"\A([0-9]+)_(.*)\.(down|up)\.(.*)\Z")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("000001_create_users.up.sql", FileName(1, "create_users", Direction.UP)),
        ("1_create_users.down.sql", FileName(1, "create_users", Direction.DOWN)),
        ("0_zero.up.sql", FileName(0, "zero", Direction.UP)),
        ("1_a.up.sql.bak", FileName(1, "a", Direction.UP)),
        ("1_a.up.", FileName(1, "a", Direction.UP)),
        ("1_.up.sql", FileName(1, "", Direction.UP)),
        ("1_a.up.sql.down.sql", FileName(1, "a.up.sql", Direction.DOWN)),
        ("20260131120000_später mehr.up.sql", FileName(20260131120000, "später mehr", Direction.UP)),
        (f"{MAX_VERSION}_last.up.sql", FileName(MAX_VERSION, "last", Direction.UP)),
        (f"{'0' * 60}7_padded.up.sql", FileName(7, "padded", Direction.UP)),
    ],
)
def test_a_name_of_the_grammar_is_taken_apart(raw: str, expected: FileName) -> None:
    assert parse_file_name(raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "README.md",
        "bundle.toml",
        "create.up.sql",
        "1.up.sql",
        "1_a.sql",
        "1_a.UP.sql",
        "1_a.up",
        "1_a.upsql",
        " 1_a.up.sql",
        "-1_a.up.sql",
        "1-a.up.sql",
        "1_a.up.sql\n",
        "1_a\n.up.sql",
        "\u0661_arabic.up.sql",
        "._1_a.up.sql",
    ],
)
def test_any_other_name_is_none(raw: str) -> None:
    assert parse_file_name(raw) is None


@pytest.mark.parametrize("digits", [str(MAX_VERSION + 1), "9" * 20, "9" * 6000])
def test_a_version_above_bigint_is_refused_by_its_file(digits: str) -> None:
    with pytest.raises(BundleError, match=rf"^'{digits[:19]}.*too high") as caught:
        parse_file_name(f"{digits}_a.up.sql")
    assert str(MAX_VERSION) in caught.value.hint
    assert len(caught.value.message) < 250


@given(st.from_regex(GRAMMAR) | st.text(alphabet="01_.updown\n\r sql", max_size=30) | st.text(max_size=30))
def test_the_grammar_agrees_with_its_expression(raw: str) -> None:
    found = GRAMMAR.match(raw)
    if found is not None and int(found[1]) > MAX_VERSION:
        with pytest.raises(BundleError):
            parse_file_name(raw)
        return
    parsed = parse_file_name(raw)
    expected = found and FileName(int(found[1]), found[2], Direction(found[3]))
    assert parsed == expected
