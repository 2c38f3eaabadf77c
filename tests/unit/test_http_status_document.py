"""The status document: complete, encodable, and without a statement's text."""

import dataclasses
import json
from datetime import timedelta, timezone
from typing import Any

from tests.fixtures.statuses import HERE, NOON, a_row, a_snapshot, a_status
from worker.core.drift import Unknown, drift
from worker.core.failure import Failure
from worker.core.fingerprint import Deviation, Fingerprint, Thing
from worker.core.job import JobState
from worker.core.snapshot import Running
from worker.core.status_document import status_document

FAILURE = Failure("3_a.up.sql", "42P07", "relation exists", "drop it", 4, 1, "CREATE TABLE t ()")
RUNNING = Running(version=7, name="index", mode="journalled", segment=3, segments=4, started_at=NOON)
FULL = a_snapshot(
    a_status(state=JobState.FAILED, failure=FAILURE, job_started_at=NOON, pending=(4, 5), paused="pinned at 3"),
    running=RUNNING,
)


def encoded(snapshot: Any) -> Any:
    return json.loads(json.dumps(status_document(snapshot)))


def names(value: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(value)}


def test_every_field_of_the_snapshot_is_in_the_document_but_the_failed_statement() -> None:
    document = encoded(FULL)
    target = document["targets"][0]
    assert set(document) == names(FULL) | {"format"}
    assert set(document["running"]) == names(RUNNING)
    assert set(target) == names(FULL.targets[0])
    assert set(target["readiness"]) == names(a_row())
    assert set(target["failure"]) == names(FAILURE) - {"statement"}
    assert "CREATE TABLE" not in json.dumps(document)


def test_values_are_plain_and_a_system_identifier_is_text() -> None:
    target = encoded(FULL)["targets"][0]
    assert (target["state"], target["pending"]) == ("failed", [4, 5])
    assert target["identity"] == {"system_identifier": str(HERE.system_identifier), "database_oid": 16_384}
    assert target["readiness"]["version_table"] == "clean"


def test_a_time_is_told_in_utc() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=2)))
    assert encoded(a_snapshot(at=elsewhere))["at"] == "2026-03-04T12:00:00Z"


def test_what_is_not_known_is_null() -> None:
    document = encoded(a_snapshot(a_status(state=None, readiness=None)))
    assert document["running"] is None
    assert document["database"] is None
    assert [document["targets"][0][name] for name in ("state", "readiness", "failure", "job_started_at")] == [None] * 4


def test_drift_is_told_by_names_and_without_definitions() -> None:
    found = Deviation(Thing("view", "s.v"), {"definition": "SELECT 1"}, {"definition": "SELECT 2"})
    verdict = drift(Fingerprint("1.3.0", NOON, same_server=True), [found])
    assert encoded(a_snapshot(a_status(drift=verdict)))["targets"][0]["drift"] == {
        "unknown": None,
        "bundle": "1.3.0",
        "taken_at": "2026-03-04T12:00:00Z",
        "objects": 1,
        "differences": [
            {"kind": "view", "object": "s.v", "change": "changed", "parts": ["definition"], "right_until": "1.3.0"}
        ],
    }
    unknown = encoded(a_snapshot(a_status(drift=Unknown("a migration is under way"))))["targets"][0]["drift"]
    assert (unknown["unknown"], unknown["objects"]) == ("a migration is under way", None)
