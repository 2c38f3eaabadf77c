"""Durations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.duration import MAX_DURATION_MS, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("0", 0), ("0s", 0), ("250ms", 250), ("20s", 20_000), ("5m", 300_000), ("1h", 3_600_000), ("007s", 7_000)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", " 5s", "5s\n", "1h30m", "1.5h", "+5s", "5S", "5min", "\u0665s"])
def test_anything_else_says_what_it_got_and_what_it_takes(text: str) -> None:
    with pytest.raises(ValueError, match=r"^got .*; it takes a whole number and a unit") as caught:
        parse_duration(text)
    assert str(caught.value).startswith(f"got {text!r};")


@pytest.mark.parametrize("text", [f"{MAX_DURATION_MS + 1}ms", "597h", "9" * 5000 + "s"])
def test_more_than_postgres_takes_is_too_long(text: str) -> None:
    with pytest.raises(ValueError, match=r"^got .*; it takes at most 596h"):
        parse_duration(text)


@given(st.integers(0, MAX_DURATION_MS))
def test_a_formatted_duration_reads_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds)) == milliseconds


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(0, "0"), (1, "1ms"), (1_500, "1500ms"), (90_000, "90s"), (7_200_000, "2h")]
)
def test_the_largest_exact_unit_is_used(milliseconds: int, text: str) -> None:
    assert format_duration(milliseconds) == text
