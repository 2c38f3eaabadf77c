"""The query of `/readyz`: what it takes, and what it refuses in words."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.bundles.migration import MAX_VERSION
from worker.core.planning.readiness import AtLeast, OfBundle, Requirement
from worker.errors import UsageError
from worker.http.query import Question, parse


@pytest.mark.parametrize(
    ("pairs", "requirement", "target"),
    [
        ([], None, None),
        ([("at_least", "0")], AtLeast(0), None),
        ([("at_least", "007")], AtLeast(7), None),
        ([("at_least", str(MAX_VERSION))], AtLeast(MAX_VERSION), None),
        ([("bundle", "1.4.0")], OfBundle("1.4.0"), None),
        ([("target", "a.b")], None, "a.b"),
        ([("target", "a.b"), ("at_least", "3")], AtLeast(3), "a.b"),
    ],
)
def test_a_question_is_read(pairs: list[tuple[str, str]], requirement: Requirement | None, target: str | None) -> None:
    assert parse(pairs) == Question(requirement, target)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([("atleast", "3")], "unknown parameter 'atleast'"),
        ([("at_least", "3"), ("at_least", "4")], "more than once"),
        ([("at_least", "3"), ("bundle", "x")], "given together"),
        ([("bundle", "")], "bundle is empty"),
        ([("target", "")], "target is empty"),
        ([("target", "a\0b")], "target holds a NUL"),
        ([("bundle", "1.4\0")], "bundle holds a NUL"),
        *[
            ([("at_least", text)], "at_least is")
            for text in ("", "x", "-1", "+1", "1.0", " 1", "1_0", "1\n", "\u0661", "\u00b2")
        ],
        ([("at_least", str(MAX_VERSION + 1))], "at_least is"),
        ([("at_least", "9" * 10_000)], "at_least is"),
    ],
)
def test_a_wrong_question_is_refused_in_words(pairs: list[tuple[str, str]], words: str) -> None:
    with pytest.raises(UsageError, match=words) as refusal:
        parse(pairs)
    assert refusal.value.hint
    assert len(refusal.value.message) < 100


@given(st.lists(st.tuples(st.sampled_from(("at_least", "bundle", "target", "x")), st.text(max_size=25))))
def test_any_query_is_read_or_refused(pairs: list[tuple[str, str]]) -> None:
    with suppress(UsageError):
        found = parse(pairs)
        assert isinstance(found, Question)
        assert "\0" not in f"{found.target}"
