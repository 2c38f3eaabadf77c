"""The strict readiness behind `/readyz`: the worker's health first, then every target's row."""

import pytest

from tests.fixtures.statuses import ELSEWHERE, a_row, a_snapshot, a_status
from worker.core.planning.readiness import AtLeast, OfBundle, Requirement, VersionTable
from worker.core.status.probe import Answer, probe
from worker.core.status.snapshot import Snapshot

BEHIND = a_status(target="b.m", readiness=a_row(versions=(1, 2), bundles=("1.3.0",), lowest_pending=3))


@pytest.mark.parametrize(
    ("snapshot", "requirement", "target", "why"),
    [
        (a_snapshot(), None, None, None),
        (a_snapshot(), AtLeast(3), None, None),
        (a_snapshot(), AtLeast(4), None, "not_applied"),
        (a_snapshot(), OfBundle("1.3.0"), None, None),
        (a_snapshot(draining=True), None, None, "draining"),
        (a_snapshot(database="refused"), None, None, "database"),
        (a_snapshot(draining=True, database="refused"), None, None, "draining"),
        (a_snapshot(targets=()), None, None, "no_target"),
        (a_snapshot(), None, "other.m", "no_target"),
        (a_snapshot(a_status(wanted=None)), None, None, "not_applied"),
        (a_snapshot(a_status(wanted="1.5.0")), None, None, "not_applied"),
        (a_snapshot(a_status(readiness=None)), None, None, "no_row"),
        (a_snapshot(a_status(readiness=a_row(identity=ELSEWHERE))), None, None, "identity"),
        (a_snapshot(a_status(readiness=a_row(version_table=VersionTable.DIRTY))), AtLeast(1), None, "version_table"),
        (a_snapshot(a_status(readiness=a_row(serves=3))), AtLeast(2), None, "not_served"),
        (a_snapshot(a_status(), BEHIND), None, None, "not_applied"),
        (a_snapshot(a_status(), BEHIND), AtLeast(3), None, "not_applied"),
        (a_snapshot(a_status(), BEHIND), AtLeast(2), None, None),
        (a_snapshot(a_status(), BEHIND), None, "public.schema_migrations", None),
        (a_snapshot(a_status(readiness=a_row(lowest_pending=2))), AtLeast(3), None, "pending"),
    ],
)
def test_a_probe_is_answered(
    snapshot: Snapshot, requirement: Requirement | None, target: str | None, why: str | None
) -> None:
    answer = probe(snapshot, requirement, target)
    assert (answer.ready, answer.why) == (why is None, why)
    assert answer.message


def test_a_refusal_names_the_target_and_a_failed_database_says_why() -> None:
    assert probe(a_snapshot(a_status(), BEHIND), AtLeast(3), None).message.startswith("b.m: ")
    assert probe(a_snapshot(database="connection refused"), None, None) == Answer(
        ready=False, requirement="every wanted bundle", why="database", message="connection refused"
    )
