"""Sizes, counts and times as people read them."""

import pytest

from worker.core.amounts import count_text, seconds_text, size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 kB"),
        (32_800_768, "31.3 MB"),
        (200 * 1024**3, "200 GB"),
        (2**60, "1024 PB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (999, "999"), (4_012_345, "4 M"), (123_456, "123 k")])
def test_counts(count: int, text: str) -> None:
    assert count_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"), (0.0032, "3.2 ms"), (0.25, "250 ms"), (4.5, "4.5 s"), (59.94, "59.9 s"), (59.99, "1 min 0 s"),
        (125, "2 min 5 s"), (4800, "1 h 20 min"), (266_400, "3 d 2 h"),
    ],
)  # fmt: skip
def test_times(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text
