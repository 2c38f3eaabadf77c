"""The line of a file that a message is about, and the place in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.sql.excerpt import excerpt


@pytest.mark.parametrize("end_of_line", ["\n", "\r\n", "\r"])
def test_the_token_at_the_place_is_marked(end_of_line: str) -> None:
    found = excerpt(f"one{end_of_line}ALTER TABLE t{end_of_line}", 2, 7, None, 80)

    assert found is not None
    assert (found.number, found.line, found.line[found.start : found.end]) == (2, "ALTER TABLE t", "TABLE")


def test_without_a_column_the_line_is_marked() -> None:
    found = excerpt("  SELECT 1;  ", 1, None, None, 80)

    assert found is not None
    assert found.line[found.start : found.end] == "SELECT 1;"


def test_a_quoted_token_is_marked_as_a_whole() -> None:
    found = excerpt("SELECT 'a b c' FROM t", 1, 8, None, 80)

    assert found is not None
    assert found.line[found.start : found.end] == "'a b c'"


@pytest.mark.parametrize("line", [0, 3, 9])
def test_a_line_that_is_not_there_gives_nothing(line: int) -> None:
    assert excerpt("one\n\n", line, 1, None, 80) is None


def test_a_long_line_is_cut_around_the_place() -> None:
    found = excerpt(f"{'a ' * 500}HERE{' b' * 500}", 1, 1001, None, 60)

    assert found is not None
    assert len(found.line) == 60
    assert found.line[found.start : found.end] == "HERE"
    assert found.line[0] == found.line[-1] == "…"


@given(st.text(max_size=200), st.integers(1, 4), st.none() | st.integers(1, 250), st.integers(20, 60))
def test_whatever_the_file_holds_it_fits_and_has_no_control(
    sql: str, line: int, column: int | None, width: int
) -> None:
    found = excerpt(sql, line, column, None, width)

    if found is not None:
        assert len(found.line) <= width
        assert 0 <= found.start < found.end
        assert not any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in found.line)
