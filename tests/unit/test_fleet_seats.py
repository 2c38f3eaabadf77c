"""Databases that could not be reached: which failures count, and when they are tried again."""

from tests.fixtures.fleet_parts import Away, Clock, place, terms
from worker.fleet.seats import PATIENCE, Seats
from worker.fleet.terms import Until


def seats(clock: Clock, until: Until = Until.DONE) -> Seats:
    made = Seats(Away().doors, terms(clock, until))
    made.places = {"far": place("far"), "near": place("near")}
    return made


def test_slots_that_fail_at_one_moment_are_one_failure() -> None:
    clock = Clock()
    made = seats(clock)

    pauses = [made.missed("far") for _ in range(4)]

    assert pauses == [pauses[0]] * 4
    assert (made.open, made.hoped_for) == (["near"], ["far", "near"])
    clock.now += pauses[0]
    assert made.open == ["far", "near"]


def test_a_command_gives_a_database_up_after_attempts_with_pauses_between_them() -> None:
    clock = Clock()
    made = seats(clock)

    for _ in range(PATIENCE):
        assert "far" in made.hoped_for
        clock.now += made.missed("far")

    assert made.open == made.hoped_for == ["near"]


def test_a_database_that_was_not_left_alone_in_a_round_is_nothing_to_come_back_for() -> None:
    clock = Clock()
    made = seats(clock, Until.STOPPED)
    pause = made.missed("far")
    assert made.next_look(clock.now) == clock.now + pause

    clock.now += pause

    assert made.next_look(clock.now) is None
    assert made.next_look(clock.now - pause) == clock.now
