"""Metrics: their names and types, what events count, and gauges that follow the snapshot."""

from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.fixtures.statuses import ELSEWHERE, NOON, a_fleet, a_row, a_snapshot, a_status
from worker.core.events.event import Event, Outcome
from worker.core.events.events import (
    BundlePublished,
    DatabaseRefused,
    DatabaseUnreachable,
    FenceRejected,
    JobFailed,
    JobFinished,
    JobStarted,
    ListenerLost,
    LockAcquired,
    LockLeft,
    LockReleased,
    LockTimedOut,
    LockWaiting,
    ReadinessSet,
    WorkerWoken,
)
from worker.core.events.fleet_events import TargetLeft
from worker.core.events.migration_events import AppBlocked, MigrationFinished, MigrationRetried, MigrationWaiting
from worker.core.fleet.count import Count
from worker.core.planning.job import JobState
from worker.core.running.blocking import Kind
from worker.core.status.fleet_status import Halt
from worker.core.status.snapshot import Running
from worker.gauges import TARGET_LIMIT, Round
from worker.metrics import Metrics

TARGET = "public.schema_migrations"
TYPES = {
    "tidegate_migrations": "counter",
    "tidegate_jobs": "counter",
    "tidegate_publishes": "counter",
    "tidegate_lock_attempts": "counter",
    "tidegate_fence_rejections": "counter",
    "tidegate_wakeups": "counter",
    "tidegate_listener_reconnects": "counter",
    "tidegate_retries": "counter",
    "tidegate_work_found": "counter",
    "tidegate_migration_waits": "counter",
    "tidegate_app_blocked": "counter",
    "tidegate_lock_waiting": "gauge",
    "tidegate_database_reachable": "gauge",
    "tidegate_target_paused": "gauge",
    "tidegate_ready": "gauge",
    "tidegate_migrations_pending": "gauge",
    "tidegate_fence_epoch": "gauge",
    "tidegate_drift_objects": "gauge",
    "tidegate_last_success_timestamp_seconds": "gauge",
    "tidegate_jobs_current": "gauge",
    "tidegate_job_started_timestamp_seconds": "gauge",
    "tidegate_lock_held": "gauge",
    "tidegate_lock_held_by_stranger": "gauge",
    "tidegate_listener_connected": "gauge",
    "tidegate_migration_progress_ratio": "gauge",
    "tidegate_build_info": "gauge",
    "tidegate_migration_duration_seconds": "histogram",
    "tidegate_lock_wait_seconds": "histogram",
    "tidegate_publish_to_ready_seconds": "histogram",
    "tidegate_app_blocked_seconds": "histogram",
}


def finished(outcome: Outcome = Outcome.SUCCEEDED) -> MigrationFinished:
    return MigrationFinished(3, "add", "up", "transactional", outcome, 0.5, 0, 0.0, 2.0)


def waiting(*, ours: bool) -> LockWaiting:
    return LockWaiting("app", "psql", "10.0.0.9", 7, "2026-03-04T12:00:00Z", ours=ours)


STARTED = JobStarted(3, 4, 6)
WAITS = {"holder": "client"}
FAILED = JobFailed(Outcome.REFUSED, "dirty", "the version table is dirty", "force it", 0, 1.0)
RUNNING = Running(version=7, name="index", mode="journalled", segment=3, segments=4, started_at=NOON)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("0.1.0", lambda: NOON)


def families(metrics: Metrics) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(metrics.text()[0].decode())}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    found = [
        sample.value
        for family in families(metrics).values()
        for sample in family.samples
        if sample.name == f"tidegate_{name}" and sample.labels == labels
    ]
    return found[0] if found else None


def test_all_metrics_have_their_documented_names_and_types(metrics: Metrics) -> None:
    metrics.observe(a_snapshot(a_status(state=JobState.RUNNING, job_started_at=NOON), running=RUNNING))
    assert {name: family.type for name, family in families(metrics).items()} == TYPES


def test_every_metric_is_described_and_none_has_a_created_series(metrics: Metrics) -> None:
    metrics.sink(finished(), {})
    assert all(family.documentation for family in families(metrics).values())
    assert b"_created" not in metrics.text()[0]


def test_the_content_type_is_that_of_the_text_format(metrics: Metrics) -> None:
    assert metrics.text()[1] == "text/plain; version=0.0.4; charset=utf-8"


def test_two_metrics_objects_share_nothing(metrics: Metrics) -> None:
    metrics.sink(FenceRejected(4), {})
    assert value(Metrics("0.1.0", lambda: NOON), "fence_rejections_total") == 0


@pytest.mark.parametrize(
    ("event", "name", "labels"),
    [
        (finished(), "migrations_total", {"outcome": "succeeded"}),
        (finished(Outcome.FAILED), "migrations_total", {"outcome": "failed"}),
        (finished(), "migration_duration_seconds_count", {"mode": "transactional", "outcome": "succeeded"}),
        (finished(Outcome.FAILED), "app_blocked_seconds_count", {}),
        (JobFinished(Outcome.INTERRUPTED, 1, 2.0), "jobs_total", {"outcome": "interrupted"}),
        (FAILED, "jobs_total", {"outcome": "refused"}),
        (BundlePublished("1.4.0", "ab", "m"), "publishes_total", {}),
        (LockAcquired(4, 0.1), "lock_attempts_total", {"outcome": "acquired"}),
        (LockAcquired(4, 0.1), "lock_wait_seconds_count", {}),
        (LockLeft(0.2), "lock_attempts_total", {"outcome": "left"}),
        (LockLeft(0.2), "lock_wait_seconds_count", {}),
        (LockTimedOut(9.0), "lock_attempts_total", {"outcome": "timed_out"}),
        (LockTimedOut(9.0), "lock_wait_seconds_count", {}),
        (FenceRejected(4), "fence_rejections_total", {}),
        (WorkerWoken("notify"), "wakeups_total", {"source": "notify"}),
        (ListenerLost("closed", 1.0), "listener_reconnects_total", {"reason": "closed"}),
        (ListenerLost("connection to 10.0.0.1 lost", 1.0), "listener_reconnects_total", {"reason": "other"}),
        (MigrationRetried(3, "55P03", 1, 0.1), "retries_total", {"reason": "55P03"}),
        (DatabaseUnreachable("refused", 1.0), "retries_total", {"reason": "database_unreachable"}),
        (ReadinessSet("1.4.0", 3, None, 1.5), "publish_to_ready_seconds_count", {}),
        (STARTED, "work_found_total", {"source": "start"}),
        (MigrationWaiting(3, "client", "app", "psql", 7, "active", "noon"), "migration_waits_total", WAITS),
        (AppBlocked(3, 2, "app", "web", 0.3, over_budget=False), "app_blocked_total", {"stage": "lasting"}),
        (AppBlocked(3, 2, "app", "web", 9.0, over_budget=True), "app_blocked_total", {"stage": "over_budget"}),
        (DatabaseRefused("wrong", "check it", 4, 1.0), "retries_total", {"reason": "database_unreachable"}),
    ],
    ids=lambda item: item if isinstance(item, str) else None,
)
def test_an_event_is_counted_once(metrics: Metrics, event: Event, name: str, labels: dict[str, str]) -> None:
    before = value(metrics, name, **labels) or 0
    metrics.sink(event, {"target": TARGET})
    assert value(metrics, name, **labels) == before + 1


def test_readiness_that_follows_no_publish_is_not_timed(metrics: Metrics) -> None:
    metrics.sink(ReadinessSet("1.4.0", 3, None, None), {})
    assert value(metrics, "publish_to_ready_seconds_count") == 0


def test_outcomes_are_there_as_zeroes_before_the_first_of_them(metrics: Metrics) -> None:
    for outcome in Outcome:
        assert value(metrics, "migrations_total", outcome=outcome.value) == 0
        assert value(metrics, "jobs_total", outcome=outcome.value) == 0


def test_a_label_of_free_words_is_bounded(metrics: Metrics) -> None:
    for number in range(100):
        metrics.sink(WorkerWoken(f"source_{number}"), {})
    samples = families(metrics)["tidegate_wakeups"].samples
    assert len(samples) == 21
    assert value(metrics, "wakeups_total", source="other") == 100 - (20 - 6)


def test_a_histogram_reaches_an_hour(metrics: Metrics) -> None:
    metrics.sink(LockAcquired(4, 3000.0), {})
    assert value(metrics, "lock_wait_seconds_bucket", le="1800.0") == 0
    assert value(metrics, "lock_wait_seconds_bucket", le="3600.0") == 1


def test_a_targets_gauges_follow_the_snapshot(metrics: Metrics) -> None:
    metrics.observe(a_snapshot(a_status(pending=(4, 5), epoch=9)))
    assert value(metrics, "ready", target=TARGET) == 1
    assert value(metrics, "migrations_pending", target=TARGET) == 2
    assert value(metrics, "fence_epoch", target=TARGET) == 9
    assert value(metrics, "jobs_current", state="succeeded") == 1
    metrics.observe(a_snapshot(a_status(readiness=a_row(identity=ELSEWHERE), epoch=None)))
    assert value(metrics, "ready", target=TARGET) == 0
    assert value(metrics, "fence_epoch", target=TARGET) is None


def test_the_series_of_a_target_that_vanished_go(metrics: Metrics) -> None:
    metrics.observe(a_snapshot(a_status(), a_status(target="b.m")))
    metrics.sink(JobFinished(Outcome.SUCCEEDED, 1, 2.0), {"target": "b.m"})
    assert value(metrics, "last_success_timestamp_seconds", target="b.m") == NOON.timestamp()
    metrics.observe(a_snapshot())
    assert b"b.m" not in metrics.text()[0]
    assert value(metrics, "ready", target=TARGET) == 1


def test_a_job_that_did_not_succeed_is_no_success(metrics: Metrics) -> None:
    metrics.observe(a_snapshot())
    metrics.sink(JobFinished(Outcome.INTERRUPTED, 1, 2.0), {"target": TARGET})
    metrics.sink(FAILED, {"target": TARGET})
    assert value(metrics, "last_success_timestamp_seconds", target=TARGET) is None


def test_beyond_the_limit_targets_are_counted_by_state_only(metrics: Metrics) -> None:
    many = tuple(a_status(target=f"t{number}.m") for number in range(TARGET_LIMIT))
    metrics.observe(a_snapshot(*many))
    assert value(metrics, "ready", target="t0.m") == 1
    assert "tidegate_targets" not in families(metrics)
    metrics.observe(a_snapshot(*many, a_status(state=JobState.FAILED)))
    assert b"target=" not in metrics.text()[0]
    assert value(metrics, "targets", state="succeeded") == TARGET_LIMIT
    assert value(metrics, "targets", state="failed") == 1


def test_a_strangers_lock_is_told_until_the_lock_is_ours(metrics: Metrics) -> None:
    for ended in (
        LockAcquired(4, 1.0),
        LockLeft(0.2),
        LockReleased(0.1),
        LockTimedOut(9.0),
        FAILED,
        waiting(ours=True),
    ):
        metrics.sink(waiting(ours=False), {"target": TARGET})
        assert value(metrics, "lock_held_by_stranger") == 1
        metrics.sink(ended, {"target": TARGET})
        assert value(metrics, "lock_held_by_stranger") == 0


def test_a_strangers_lock_on_one_target_outlasts_our_lock_on_another(metrics: Metrics) -> None:
    metrics.sink(waiting(ours=False), {"target": "a.m"})
    metrics.sink(LockAcquired(4, 1.0), {"target": "b.m"})
    assert value(metrics, "lock_held_by_stranger") == 1


def test_progress_is_the_part_of_the_segments_that_is_finished(metrics: Metrics) -> None:
    metrics.observe(a_snapshot(running=RUNNING))
    assert value(metrics, "migration_progress_ratio") == 0.5
    metrics.observe(a_snapshot())
    assert value(metrics, "migration_progress_ratio") is None


def test_the_oldest_running_job_gives_its_start(metrics: Metrics) -> None:
    early, late = (
        a_status(target=f"{number}.m", state=JobState.RUNNING, job_started_at=NOON + timedelta(seconds=number))
        for number in (1, 2)
    )
    settled = a_status(target="0.m", state=JobState.FAILED, job_started_at=NOON)
    metrics.observe(a_snapshot(late, early, settled))
    assert value(metrics, "job_started_timestamp_seconds") == NOON.timestamp() + 1


def test_the_workers_own_gauges_follow_the_snapshot(metrics: Metrics) -> None:
    metrics.observe(a_snapshot(holds_lock=True, listening=False))
    assert value(metrics, "lock_held") == 1
    assert value(metrics, "listener_connected") == 0
    assert value(metrics, "build_info", version="0.1.0") == 1


def test_every_kind_of_blocker_has_a_series_of_its_own(metrics: Metrics) -> None:
    for kind in Kind:
        assert value(metrics, "migration_waits_total", holder=kind.name.lower()) == 0


def test_a_job_that_runs_is_told_though_the_last_look_was_before_it(metrics: Metrics) -> None:
    metrics.observe(a_snapshot(a_status(pending=(4, 5, 6), state=JobState.PENDING, readiness=None)))
    assert value(metrics, "job_started_timestamp_seconds") is None
    metrics.sink(STARTED, {"target": TARGET})
    assert value(metrics, "job_started_timestamp_seconds") == NOON.timestamp()
    assert (value(metrics, "jobs_current", state="running"), value(metrics, "jobs_current", state="pending")) == (1, 0)
    metrics.sink(finished(), {"target": TARGET})
    metrics.sink(finished(Outcome.FAILED), {"target": TARGET})
    assert value(metrics, "migrations_pending", target=TARGET) == 2
    metrics.sink(FAILED, {"target": TARGET})
    assert value(metrics, "job_started_timestamp_seconds") is None
    assert (value(metrics, "jobs_current", state="running"), value(metrics, "jobs_current", state="pending")) == (0, 1)
    assert value(metrics, "migrations_pending", target=TARGET) == 3


def test_a_target_is_not_ready_and_its_database_reached_while_its_first_job_runs(metrics: Metrics) -> None:
    metrics.observe(replace(a_snapshot(), targets=(), database="the database has not been reached yet"))
    assert value(metrics, "database_reachable") == 0
    metrics.sink(STARTED, {"target": TARGET})
    assert value(metrics, "database_reachable") == 1
    assert (value(metrics, "ready", target=TARGET), value(metrics, "migrations_pending", target=TARGET)) == (0, 3)


def test_what_was_cut_off_without_a_word_is_over_with_the_next_round(metrics: Metrics) -> None:
    metrics.observe(a_snapshot())
    metrics.sink(STARTED, {"target": TARGET})
    metrics.sink(waiting(ours=False), {"target": TARGET})
    metrics.sink(WorkerWoken("retry"), {})
    assert value(metrics, "job_started_timestamp_seconds") is None
    assert (value(metrics, "lock_waiting"), value(metrics, "lock_held_by_stranger")) == (0, 0)


def test_what_was_cut_off_at_a_target_of_a_fleet_is_over_once_it_is_left(metrics: Metrics) -> None:
    metrics.observe(a_fleet(database="the database cannot be reached"))
    for target in ("a.m", "b.m"):
        metrics.sink(STARTED, {"target": target})
    metrics.sink(waiting(ours=False), {"target": "c.m"})
    assert (value(metrics, "database_reachable"), value(metrics, "lock_held_by_stranger")) == (1, 1)
    for target in ("a.m", "c.m"):
        metrics.sink(TargetLeft(), {"target": target})
    assert (value(metrics, "lock_waiting"), value(metrics, "lock_held_by_stranger")) == (0, 0)
    assert value(metrics, "job_started_timestamp_seconds") == NOON.timestamp()
    metrics.sink(TargetLeft(), {"target": "b.m"})
    assert value(metrics, "job_started_timestamp_seconds") is None
    assert value(metrics, "database_reachable") == 0


def test_a_worker_of_a_fleet_keeps_nothing_of_the_targets_that_it_brought() -> None:
    found = Round()
    for number in range(1_000):
        for event in (STARTED, JobFinished(Outcome.SUCCEEDED, 1, 1.0), TargetLeft()):
            found.take(event, f"t{number}.m", 0.0)
    assert found == Round()


def test_waiting_for_a_replica_is_waiting_and_not_for_a_stranger(metrics: Metrics) -> None:
    metrics.sink(waiting(ours=True), {"target": TARGET})
    assert (value(metrics, "lock_waiting"), value(metrics, "lock_held_by_stranger")) == (1, 0)
    metrics.sink(LockReleased(0.1), {"target": TARGET})
    assert value(metrics, "lock_waiting") == 0


def test_work_is_counted_for_what_asked_for_the_look(metrics: Metrics) -> None:
    for source in ("poll", "notify"):
        metrics.sink(WorkerWoken(source), {})
        metrics.sink(STARTED, {"target": TARGET})
    metrics.sink(WorkerWoken("poll"), {})
    assert (value(metrics, "work_found_total", source="poll"), value(metrics, "work_found_total", source="notify")) == (
        1,
        1,
    )


def test_a_paused_target_is_told(metrics: Metrics) -> None:
    metrics.observe(a_snapshot(a_status(paused="paused by me"), a_status(target="b.m")))
    assert (value(metrics, "target_paused", target=TARGET), value(metrics, "target_paused", target="b.m")) == (1, 0)


def test_a_fleet_has_series_of_its_lines_and_none_of_a_target() -> None:
    metrics = Metrics("0", lambda: NOON)
    metrics.observe(a_fleet(halted=(Halt("shop", 50, 50, 940),)))
    text = metrics.text()[0].decode()
    assert 'tidegate_fleet_targets{line="shop",state="failed"} 50.0' in text
    assert 'tidegate_fleet_targets{line="audit",state="failed"} 0.0' in text
    assert 'tidegate_fleet_line_halted{line="shop"} 1.0' in text
    assert 'tidegate_fleet_line_halted{line="audit"} 0.0' in text
    assert 'tidegate_jobs_current{state="failed"} 50.0' in text
    assert 'tidegate_jobs_current{state="pending"} 940.0' in text
    assert 'tidegate_targets{state="unreachable"} 9.0' in text
    assert "target=" not in text


def test_the_series_of_a_fleet_are_bounded_and_lose_no_target() -> None:
    metrics = Metrics("0", lambda: NOON)
    metrics.observe(a_fleet(fleet=tuple(Count(f"line{n:04}", "1.0", "due", 2) for n in range(1_000))))
    found = [line for line in metrics.text()[0].decode().splitlines() if line.startswith("tidegate_fleet_")]
    assert len(found) < 300
    assert 'tidegate_fleet_targets{line="other",state="due"} 1960.0' in found
