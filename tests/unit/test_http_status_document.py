"""The status document: complete, documented, encodable, and without a statement's text."""

import dataclasses
import json
import re
from collections.abc import Iterator
from datetime import timedelta, timezone
from typing import Any

from tests.fixtures.statuses import HERE, NOON, a_panorama, a_running, a_snapshot, a_status
from worker.core.events.failure import Failure
from worker.core.fleet.count import Count
from worker.core.planning.job import JobState
from worker.core.status import status_document as module
from worker.core.status.drift import Unknown, drift
from worker.core.status.fingerprint import Deviation, Fingerprint, Thing
from worker.core.status.fleet_status import AtWork, Halt, Misdeclared, TroubledTarget
from worker.core.status.snapshot import JobProgress, LockWait, Trouble
from worker.core.status.status_document import status_document

FAILURE = Failure("3_a.up.sql", "42P07", "relation exists", "drop it", 4, 1, "CREATE TABLE t ()")
FOUND = Deviation(Thing("view", "s.v"), {"definition": "SELECT 1"}, {"definition": "SELECT 2"})
DRIFT = drift(Fingerprint("1.3.0", NOON, same_server=True), [FOUND])
FULL = a_snapshot(
    a_status(
        state=JobState.FAILED, failure=FAILURE, hint="drop it", job_started_at=NOON, pending=(4, 5), names=("a", "b"),
        paused="pinned at 3", refusal="no", panorama=a_panorama(), drift=DRIFT,
    ),
    running=a_running(),
    looked_at=NOON,
    job=JobProgress("public.schema_migrations", "1.4.0", 2, 7, NOON),
    trouble=Trouble("privilege", "no", "grant it", NOON),
    fleet=(Count("app", "1.4.0", "due", 3),),
    halted=(Halt("app", 5, 5, 90),),
    troubled=(TroubledTarget("t1.m", "app", "failed", "no", "mend it"),),
    misdeclared=(Misdeclared("fleet.toml, targets 2", "yields none", "correct it"),),
    at_work=(AtWork("t2.m", "1.4.0", 1, 2, NOON, "7 index_orders"),),
    lock_wait=LockWait("ops", "psql", "local", 7, "2026-03-04T11:00:00+00:00", ours=False, since=NOON),
)  # fmt: skip


def encoded(snapshot: Any) -> Any:
    return json.loads(json.dumps(status_document(snapshot)))


def names(value: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(value)}


def paths(value: Any, at: str = "") -> Iterator[str]:
    """Every field of the document, as its table writes it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{at}.{name}".removeprefix(".")
            yield from paths(inner, f"{at}.{name}".removeprefix("."))
    if isinstance(value, list):
        for each in value:
            yield from paths(each, f"{at}[]")


def documented() -> set[str]:
    """The fields that the table names; `.name` stands beside the field before it."""
    found: set[str] = set()
    for row in re.findall(r"^\| (`.*?) \|", module.__doc__ or "", re.MULTILINE):
        parent = ""
        for name in re.findall(r"`([^`]+)`", row):
            found.add(parent + name if name.startswith(".") else name)
            parent = name.rpartition(".")[0] if not name.startswith(".") else parent
    return found


def test_the_table_names_every_field_of_the_document_and_no_other() -> None:
    assert set(paths(encoded(FULL))) == documented()


def test_every_field_of_the_snapshot_is_in_the_document_but_the_failed_statement() -> None:
    document = encoded(FULL)
    target = document["targets"][0]
    assert set(document) == names(FULL) | {"format"}
    assert set(document["running"]) == names(FULL.running)
    assert set(target) == names(FULL.targets[0])
    assert set(target["failure"]) == names(FAILURE) - {"statement"}
    assert "CREATE TABLE" not in json.dumps(document)


def test_values_are_plain_and_a_system_identifier_is_text() -> None:
    target = encoded(FULL)["targets"][0]
    assert (target["state"], target["pending"]) == ("failed", [4, 5])
    assert target["identity"] == {"system_identifier": str(HERE.system_identifier), "database_oid": 16_384}
    assert target["readiness"]["version_table"] == "clean"


def test_who_is_waited_for_is_told_with_what_to_do_about_it() -> None:
    waiting = encoded(FULL)["running"]["waiting"]
    assert (waiting["kind"], waiting["application"], waiting["query_seconds"]) == ("client", "report", 8.5)
    assert waiting["remedy"] == "let it end, or end it with SELECT pg_terminate_backend(7)"
    assert (waiting["transaction_since"], waiting["since"]) == ("2026-03-04T11:59:00Z", "2026-03-04T12:00:00Z")


def test_a_time_is_told_in_utc() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=2)))
    assert encoded(a_snapshot(at=elsewhere))["at"] == "2026-03-04T12:00:00Z"


def test_what_is_not_known_is_null() -> None:
    document = encoded(a_snapshot(a_status(state=None, readiness=None)))
    assert [document[name] for name in ("running", "database", "job", "lock_wait", "looked_at", "trouble")] == [
        None
    ] * 6
    unknown = ("state", "readiness", "failure", "job_started_at", "hint", "elsewhere", "panorama", "drift")
    assert [document["targets"][0][name] for name in unknown] == [None] * 8


def test_drift_is_told_by_names_and_without_definitions() -> None:
    assert encoded(FULL)["targets"][0]["drift"] == {
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
