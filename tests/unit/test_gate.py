"""What keeps a gate's role from the readiness row, in the order in which it is put right."""

from dataclasses import replace

import pytest

from worker.gate import Unmet, lacking
from worker.postgres.surroundings import Surroundings

ALL = Surroundings(
    role="app",
    pooled=False,
    standby=False,
    has_schema=True,
    may_use_schema=True,
    has_readiness=True,
    may_read_readiness=True,
    may_read_jobs=False,
)


@pytest.mark.parametrize(
    ("absent", "why"),
    [
        (("has_schema", "may_use_schema", "has_readiness", "may_read_readiness"), "no_schema"),
        (("may_use_schema", "may_read_readiness"), "privilege"),
        (("has_readiness", "may_read_readiness"), "no_table"),
        (("may_read_readiness",), "privilege"),
    ],
)
def test_the_first_thing_that_is_missing_is_the_reason(absent: tuple[str, ...], why: str) -> None:
    reason = lacking(replace(ALL, **dict.fromkeys(absent, False)), "tidegate")

    assert reason is not None
    assert reason.why == why


def test_with_every_right_nothing_is_missing() -> None:
    assert lacking(ALL, "tidegate") is None


def test_a_grant_quotes_the_role_and_the_schema() -> None:
    reason = lacking(replace(ALL, role='a"b', may_read_readiness=False), "gate-1")

    assert reason is not None
    assert reason.hint == 'run as its owner: GRANT SELECT ON "gate-1".readiness TO "a""b";'


def test_a_reason_is_written_with_its_hint_in_brackets() -> None:
    assert str(Unmet("x", "it rains")) == "it rains"
    assert str(Unmet("x", "it rains", "take a coat")) == "it rains (take a coat)"


@pytest.mark.parametrize(("pooled", "standby"), [(True, False), (False, True)])
def test_listen_works_on_a_primary_alone(pooled: bool, standby: bool) -> None:  # noqa: FBT001 - the two facts
    assert ALL.hears
    assert not replace(ALL, pooled=pooled, standby=standby).hears
