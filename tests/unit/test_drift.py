"""Drift and fingerprints as values: what is told, once, and what is carried over a job."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.events.drift_events import DriftFound, DriftGone
from worker.core.status.drift import Change, Drift, Unknown, drift, latest, news
from worker.core.status.fingerprint import (
    Deviation,
    Fingerprint,
    Parts,
    State,
    Thing,
    deviating,
    incomparable,
    substance,
    untouched,
)

HERE = Fingerprint("1.0", datetime(2026, 3, 4, tzinfo=UTC), same_server=True)
ELSEWHERE = Fingerprint("1.0", datetime(2026, 3, 4, tzinfo=UTC), same_server=False)
STATE = State(HERE, "a", "a", half_done=False, marked=False, unchanged=False)

words = st.text("abc", min_size=1, max_size=2)
parts = st.dictionaries(st.sampled_from(["type", "default", "definition"]), words, max_size=3)
things = st.builds(Thing, st.sampled_from(["table", "column", "index"]), words)
catalogues = st.dictionaries(things, parts, max_size=6)


def between(right: dict[Thing, Parts], now: dict[Thing, Parts]) -> tuple[Deviation, ...]:
    """What the server's comparison of a fingerprint and a catalogue gives."""
    keys = sorted({*right, *now})
    return tuple(Deviation(key, right.get(key), now.get(key)) for key in keys if right.get(key) != now.get(key))


@given(catalogues)
def test_a_catalogue_has_not_drifted_from_itself(catalogue: dict[Thing, Parts]) -> None:
    assert drift(HERE, between(catalogue, catalogue)).differences == ()


@given(catalogues, catalogues)
def test_every_object_that_differs_is_told_once_with_all_parts_that_differ(
    right: dict[Thing, Parts], now: dict[Thing, Parts]
) -> None:
    told = drift(HERE, between(right, now)).differences
    assert [one.thing for one in told] == [key for key in sorted({*right, *now}) if right.get(key) != now.get(key)]
    for one in told:
        was, is_now = right.get(one.thing), now.get(one.thing)
        assert one.change is (Change.ADDED if was is None else Change.REMOVED if is_now is None else Change.CHANGED)
        if was is not None and is_now is not None:
            assert {part.name for part in one.parts} == {
                name for name in {*was, *is_now} if was.get(name) != is_now.get(name)
            }


@given(catalogues, catalogues, catalogues)
def test_what_a_job_left_as_it_was_found_stays_drift_and_all_else_is_right(
    right: dict[Thing, Parts], before: dict[Thing, Parts], after: dict[Thing, Parts]
) -> None:
    marks = {each.thing: each.now for each in between(right, before)}
    kept = untouched(marks, between(right, after))
    for thing in {*right, *before, *after}:
        by_hand, by_job = right.get(thing) != before.get(thing), before.get(thing) != after.get(thing)
        assert (thing in kept) is (by_hand and not by_job)


@given(catalogues, catalogues, catalogues)
def test_news_tells_what_came_and_what_went_and_nothing_twice(
    right: dict[Thing, Parts], one: dict[Thing, Parts], two: dict[Thing, Parts]
) -> None:
    before, after = drift(HERE, between(right, one)), drift(HERE, between(right, two))
    assert news(after, after) == ()
    kinds = [type(event) for event in news(before, after)]
    assert (DriftFound in kinds) is bool(set(after.differences) - set(before.differences))
    gone = {d.thing for d in before.differences} - {d.thing for d in after.differences}
    assert (DriftGone in kinds) is bool(gone)


def test_what_hangs_on_a_table_that_came_or_went_is_told_by_the_table() -> None:
    found = [
        Deviation(Thing("table", "s.t"), None, {}),
        Deviation(Thing("column", "s.t.a"), None, {"on": "s.t"}),
        Deviation(Thing("index", "s.i"), {"on": "s.t"}, None),
        Deviation(Thing("column", "s.u.a"), None, {"on": "s.u"}),
    ]
    assert [str(one) for one in drift(HERE, found).differences] == [
        "column s.u.a added",
        "index s.i removed",
        "table s.t added",
    ]


def test_a_look_that_could_not_compare_tells_nothing_and_forgets_nothing() -> None:
    known = drift(HERE, [Deviation(Thing("table", "s.t"), {}, None)])
    unknown = Unknown("a migration is under way")
    assert news(known, unknown) == ()
    assert latest(known, unknown) is known
    assert latest(None, unknown) is unknown
    assert news(latest(known, unknown), Drift("1.0", HERE.taken_at)) == (DriftGone(0, "table s.t"),)


def test_many_objects_are_counted_and_five_are_named() -> None:
    (event,) = news(None, drift(HERE, [Deviation(Thing("table", f"t{n}"), {}, None) for n in range(7)]))
    assert event == DriftFound(
        7, "table t0 removed; table t1 removed; table t2 removed; table t3 removed; table t4 removed; and 2 more", "1.0"
    )


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (
            "CHECK (((state)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))",
            "CHECK (((state)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text])))",
        ),
        (" SELECT t.a,\n    t.b\n   FROM s.t;", " SELECT a,\n    b\n   FROM s.t;"),
        ("CHECK ((VALUE >= (0)::numeric(10,2)))", "CHECK (VALUE >= 0)"),
        ("nextval('s.q'::regclass)", "nextval('s.q'::regclass)"),
    ],
)
def test_another_server_may_write_the_same_definition_down_in_another_way(here: str, there: str) -> None:
    found = [Deviation(Thing("constraint", "t.c"), {"definition": here}, {"definition": there})]
    assert deviating(found, ELSEWHERE) == ()
    assert (deviating(found, HERE) == tuple(found)) is True


@pytest.mark.parametrize(
    ("here", "there"),
    [("CHECK (a > 1)", "CHECK (a > 2)"), ("CHECK (a > 1)", "CHECK (b > 1)"), ("'x'::text", "'y'::text")],
)
def test_another_definition_is_another_one_on_another_server_too(here: str, there: str) -> None:
    assert substance({"definition": here}) != substance({"definition": there})


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (None, "older than fingerprints"),
        (State(None, None, "a", half_done=False, marked=False, unchanged=False), "no fingerprint was taken yet"),
        (State(HERE, "a", "b", half_done=False, marked=False, unchanged=False), "the ledger has moved"),
        (State(HERE, "a", "a", half_done=True, marked=False, unchanged=False), "a migration is under way"),
    ],
)
def test_a_difference_is_no_drift_where_the_fingerprint_cannot_be_compared(state: State | None, why: str) -> None:
    assert why in (incomparable(state) or "")
    assert incomparable(STATE) is None
