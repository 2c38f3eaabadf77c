"""The power with which a cost grows: linear is 1, whatever is fixed is taken off, and noise is no growth."""

from collections.abc import Callable

import pytest

from tests.bench.growth import MOST, exponent, memory_grows, time_grows
from tests.bench.results import Result, Turn

_COUNTS = (100, 1_000, 10_000, 100_000)


@pytest.mark.parametrize(
    ("cost", "power"),
    [
        (lambda count: 0.2 + count / 1_000, 1.0),
        (lambda count: 30 + count / 1_000, 1.0),
        (lambda count: (count / 1_000) ** 2, 2.0),
        (lambda _count: 0.2, 0.0),
    ],
)
def test_the_power_is_that_of_the_formula_whatever_is_fixed(cost: Callable[[int], float], power: float) -> None:
    found = exponent([(count, cost(count)) for count in _COUNTS], 0.01)

    assert found == pytest.approx(power, abs=0.05)


def test_one_step_that_is_worse_than_linear_is_not_hidden_by_the_others() -> None:
    found = exponent([(100, 0.2), (1_000, 1.2), (10_000, 10.2), (100_000, 300.2)], 0.1)

    assert found is not None
    assert found > MOST


def test_what_lies_within_the_noise_is_no_growth() -> None:
    assert exponent([(100, 0.20), (1_000, 0.21), (10_000, 0.35), (100_000, 0.39)], 0.2) == 0.0


def test_two_counts_tell_nothing() -> None:
    assert exponent([(100, 0.2), (200, 0.4)], 0.1) is None


def test_nothing_is_said_of_growth_where_a_size_failed() -> None:
    results = {
        f"{count}": Result(f"{count}", [Turn(count / 100, memory=34 + count / 10)], targets=count)
        for count in (100, 200, 2_000)
    }
    assert time_grows(0.2).measure(results) == pytest.approx(1.0)
    assert memory_grows().measure(results) == pytest.approx(1.0)

    results["4000"] = Result("4000", trouble="exit 5", targets=4_000)
    assert time_grows(0.2).measure(results) is None
