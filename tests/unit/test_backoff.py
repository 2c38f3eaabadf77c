"""Back-off: it doubles, it has a ceiling, and it is never immediate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.backoff import Backoff


@pytest.mark.parametrize(
    ("attempt", "jitter", "seconds"),
    [(1, 0.0, 0.05), (1, 0.5, 0.075), (2, 0.0, 0.1), (3, 0.0, 0.2), (8, 0.0, 5.0), (10_000, 0.0, 5.0)],
)
def test_the_delay_doubles_up_to_the_ceiling(attempt: int, jitter: float, seconds: float) -> None:
    assert Backoff(first=0.1, ceiling=10.0).delay(attempt, jitter) == pytest.approx(seconds)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_delay_is_between_half_of_the_full_one_and_the_full_one(attempt: int, jitter: float) -> None:
    backoff = Backoff(first=0.1, ceiling=10.0)
    full = 2 * backoff.delay(attempt, 0.0)
    assert full / 2 <= backoff.delay(attempt, jitter) <= full <= 10.0


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_later_attempt_waits_no_shorter_with_the_same_jitter(attempt: int, jitter: float) -> None:
    backoff = Backoff(first=0.1, ceiling=10.0)
    assert backoff.delay(attempt, jitter) <= backoff.delay(attempt + 1, jitter)
