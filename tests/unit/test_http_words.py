"""Durations, numbers and requirements as the page says them."""

import pytest

from tests.fixtures.statuses import ELSEWHERE, NOON, a_bundle, a_panorama, a_row, a_status
from worker.core.planning.readiness import AtLeast, OfBundle
from worker.http.openings import openings
from worker.http.words import ago, count, elapsed, moment, took


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (0.9, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (3_725, "1 h 2 min"), (200_000, "2 d 7 h")],
)
def test_a_running_time_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(3, "3 s ago"), (3_725, "1 h ago")])
def test_an_age_has_its_largest_unit(seconds: float, text: str) -> None:
    assert ago(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "under 1 ms"), (0.0125, "12 ms"), (2.46, "2.5 s"), (75, "1 min 15 s")]
)
def test_a_duration_is_exact_where_it_is_short(seconds: float, text: str) -> None:
    assert took(seconds) == text


def test_a_number_is_counted_with_its_noun() -> None:
    assert (count(1, "session"), count(2, "session")) == ("1 session", "2 sessions")


def test_a_time_of_the_servers_may_be_unknown() -> None:
    assert moment("2026-03-04T12:00:00Z") == NOON
    assert moment("unknown") is None


def told(**changes: object) -> list[tuple[str, bool]]:
    return [(opening.requirement, opening.why is None) for opening in openings(a_status(**changes), None)]


def test_the_wanted_bundle_comes_first_then_the_served_ones_newest_first_then_versions() -> None:
    bundles = (a_bundle(label="1.5.0"), a_bundle(label="1.4.0"), a_bundle(label="1.3.0"))
    assert told(wanted="1.5.0", panorama=a_panorama(bundles=bundles)) == [
        ("bundle 1.5.0", False),
        ("bundle 1.4.0", True),
        ("bundle 1.3.0", True),
        ("every applied version up to 3", True),
    ]


def test_the_oldest_version_that_is_served_is_named() -> None:
    assert told(readiness=a_row(serves=2))[-1] == ("every applied version from 2 up to 3", True)


def test_nothing_is_open_on_a_row_of_another_database() -> None:
    assert not any(is_open for _, is_open in told(readiness=a_row(identity=ELSEWHERE)))
    assert told(readiness=None, wanted=None) == []


def test_the_workers_own_requirement_leads_and_is_not_told_twice() -> None:
    own = openings(a_status(), OfBundle("1.4.0"))
    assert [(opening.requirement, opening.own) for opening in own][:2] == [
        ("bundle 1.4.0", True),
        ("bundle 1.3.0", False),
    ]
    first = openings(a_status(), AtLeast(9))[0]
    assert (first.own, first.why) == (True, "version 9 is not applied")
