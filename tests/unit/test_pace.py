"""How many migrations go into the next message: never many more than were quick before."""

from hypothesis import given
from hypothesis import strategies as st

from worker.core.planning.pace import AIM_SECONDS, MOST, Pace

seconds = st.floats(0, 1000)


@given(st.lists(st.tuples(st.integers(1, MOST), seconds), max_size=30))
def test_a_message_holds_from_one_to_the_most_and_up_to_twice_as_many_as_the_last(
    sent: list[tuple[int, float]],
) -> None:
    pace = Pace()
    assert pace.size == 1
    for count, took in sent:
        following = pace.after(count, took)
        assert 1 <= following.size <= min(MOST, 2 * count)
        pace = following


@given(st.integers(1, MOST), st.floats(0.0001, 1000))
def test_as_many_follow_as_come_back_in_time_if_they_are_as_quick(size: int, took: float) -> None:
    following = Pace(size).after(size, took).size

    assert following == 1 or following * took / size <= AIM_SECONDS * 1.001


def test_quick_ones_double_and_a_slow_one_has_the_next_one_alone() -> None:
    sizes, pace = [], Pace()
    for _ in range(8):
        sizes.append(pace.size)
        pace = pace.after(pace.size, 0.0)

    assert sizes == [1, 2, 4, 8, 16, 32, 64, 64]
    assert pace.after(64, 1.0).size == 6
    assert pace.after(1, 0.1).size == 1
