"""How long somebody waits, from looks that see it now and then; what is too long, and the words for it."""

import pytest

from worker.core.running.blocking import (
    Allowance,
    Blocker,
    Kind,
    Overrun,
    Stretch,
    Waiter,
    kept_waiting,
    never_free,
    stopped,
)

WEB = Waiter(42, "app", "web", 3.25)
REPORT = Blocker(7, Kind.CLIENT, "app", "report", "idle in transaction", "2026-03-04T12:00:00Z")


def stretch(*looks: tuple[float, float | None]) -> Stretch:
    """A stretch after looks at these times, each with the time since when it goes on, if it does."""
    seen = Stretch()
    for now, since in looks:
        seen = seen.seen(now, since)
    return seen


def test_a_stretch_begins_when_the_wait_did_and_not_when_it_was_seen() -> None:
    assert stretch((10.0, 9.5)).length == 0.5


def test_a_stretch_goes_on_while_somebody_waits_whoever_that_is() -> None:
    assert stretch((10.0, 9.5), (10.25, 10.2)).length == 0.75


def test_a_stretch_ends_at_the_last_look_that_saw_it_and_counts_in_all() -> None:
    ended = stretch((10.0, 9.5), (10.25, 9.5), (11.0, None), (20.0, 19.0))
    assert (ended.total, ended.length) == (0.75, 1.0)
    assert ended.ended(20.5) == 2.25


def test_nothing_seen_is_no_time() -> None:
    nothing = stretch((1.0, None), (2.0, None))
    assert (nothing.length, nothing.ended(9.0)) == (0.0, 0.0)


LONG, SHORT = Stretch(0.0, 0.0, 3.0), Stretch(0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("allowance", "blocked", "waits", "expected"),
    [
        (Allowance(2.0, 2.0), SHORT, SHORT, None),
        (Allowance(2.0, 2.0), LONG, SHORT, Overrun.APP_BLOCKED),
        (Allowance(2.0, 2.0), SHORT, LONG, Overrun.WAITED),
        (Allowance(2.0, 2.0), LONG, LONG, Overrun.APP_BLOCKED),
        (Allowance(3.0, 3.0), LONG, LONG, None),
        (Allowance(None, None), LONG, LONG, None),
        (Allowance(2.0, None), Stretch(9.0), Stretch(9.0), None),
    ],
)
def test_an_allowance_is_for_one_stretch(
    allowance: Allowance, blocked: Stretch, waits: Stretch, expected: Overrun | None
) -> None:
    assert allowance.overrun(blocked, waits) is expected


def test_a_client_is_named_with_what_it_does_and_how_it_is_ended() -> None:
    named = "role app, application report, backend 7, idle in transaction, in a transaction since 2026-03-04T12:00:00Z"
    assert str(REPORT) == named
    assert "SELECT pg_terminate_backend(7)" in REPORT.remedy


@pytest.mark.parametrize(
    ("kind", "named", "remedy"),
    [
        (Kind.AUTOVACUUM, "an autovacuum, backend 7", "let it finish"),
        (Kind.WRAPAROUND, "an autovacuum to prevent wraparound, backend 7", "does not let it give way"),
        (Kind.PREPARED, "a prepared transaction", "ROLLBACK PREPARED"),
    ],
)
def test_what_is_no_client_is_named_as_what_it_is(kind: Kind, named: str, remedy: str) -> None:
    blocker = Blocker(7, kind, "", "", "unknown", "unknown")
    assert str(blocker) == named
    assert remedy in blocker.remedy


def test_a_lock_that_was_never_free_names_its_holder_if_somebody_saw_it() -> None:
    message, hint = never_free(REPORT, 600.0, 12, "nothing was changed")
    assert message.startswith("a lock was not to be had within 10m, in 12 attempts: it is held by role app, ")
    assert message.endswith("; nothing was changed")
    assert "TIDEGATE_LOCK_BUDGET" in hint
    assert "nobody saw by whom" in never_free(None, 0.5, 1, "nothing was changed")[0]


def test_a_blocked_application_is_named_with_the_limit() -> None:
    message, hint = kept_waiting(WEB, 10.04, 10.0, 1, "nothing was changed")
    assert "for 10.0 s (role app, application web, backend 42), and 10s is the limit" in message
    assert "in 1 attempt, and nothing was changed" in message
    assert "TIDEGATE_BLOCK_BUDGET" in hint


def test_a_cancelled_statement_ran_into_its_timeout_or_was_cancelled_by_somebody() -> None:
    assert stopped(300, 0.3)[0] == "a statement ran for longer than the 300ms that it may"
    assert stopped(300, 0.2)[0].startswith("somebody cancelled it")
    assert stopped(0, 99.0)[0].startswith("somebody cancelled it")
