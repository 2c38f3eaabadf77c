"""What systemd is told: READY as `/readyz` means it, statuses in one line, and nothing that stops the worker."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from tests.fixtures.service_manager import ServiceManager, service_manager
from tests.fixtures.statuses import a_row, a_snapshot, a_status
from worker.core.events.event import Event, Outcome
from worker.core.events.events import (
    BundleOffered,
    DatabaseRefused,
    DatabaseUnreachable,
    JobFailed,
    LockReleased,
    LockWaiting,
    TargetPaused,
    WorkerDraining,
)
from worker.core.events.migration_events import BatchStarted, MigrationStarted, PipelineStarted, SegmentFinished
from worker.core.planning.job import JobState
from worker.core.planning.readiness import AtLeast
from worker.core.status.snapshot import Snapshot
from worker.systemd import Manager, Notifier, status_of

NOT_YET = a_status(readiness=a_row(versions=(1, 2), lowest_pending=3), state=JobState.RUNNING)


@pytest.fixture(params=["path", "abstract"])
def listening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServiceManager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@tidegate-test-{uuid4().hex}"
    with service_manager(address) as manager:
        yield manager


class Worker:
    """A worker whose knowledge a test changes."""

    def __init__(self, address: str, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.notifier = Notifier(
            Manager({"NOTIFY_SOCKET": address}),
            lambda: self.snapshot,
            AtLeast(3),
            lambda text: text.replace("key", "***"),
        )

    def looks(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.notifier.looked()


def test_ready_is_said_once_and_only_when_the_requirement_is_met(listening: ServiceManager) -> None:
    worker = Worker(listening.address, a_snapshot())
    worker.looks(a_snapshot(NOT_YET))
    worker.looks(a_snapshot(database="it is away"))
    worker.looks(a_snapshot())
    worker.looks(a_snapshot())
    worker.notifier.sink(WorkerDraining("SIGTERM", 20.0), {})
    listening.wait_for("STATUS=stopping")
    assert [said for said in listening.said if "STATUS" not in said] == ["READY=1", "STOPPING=1"]
    assert [said for said in listening.said if "STATUS" in said] == [
        "STATUS=not ready: public.schema_migrations: version 3 is not applied",
        "STATUS=not ready: it is away",
        "STATUS=ready for version 3",
        "STATUS=ready for version 3",
        "STATUS=stopping, within 20 s",
    ]


def test_ready_is_said_beside_a_failed_newer_bundle_whose_failure_stays_on_show(listening: ServiceManager) -> None:
    worker = Worker(listening.address, a_snapshot())
    worker.notifier.sink(JobFailed(Outcome.FAILED, "migration", "4_x.up.sql:1:\nno key\x07", "mend it", 0, 1.0), {})
    worker.looks(a_snapshot(a_status(state=JobState.FAILED)))
    listening.wait_for("READY=1")
    assert listening.said == ["STATUS=failed: 4_x.up.sql:1: no ***\x07", "READY=1"]


def test_a_manager_that_is_gone_is_no_trouble_and_hears_ready_when_it_is_back(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    worker = Worker(address, a_snapshot())
    worker.looks(a_snapshot())
    with service_manager(address) as manager:
        worker.looks(a_snapshot())
        manager.wait_for("READY=1")


def test_a_manager_that_does_not_read_does_not_hold_the_worker_up(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as full:
        full.bind(address)
        manager = Manager({"NOTIFY_SOCKET": address})
        taken = [manager.send("STATUS=busy") for _ in range(10_000)]
    assert taken[0]
    assert not taken[-1]


def test_a_text_that_is_no_unicode_is_sent_all_the_same(listening: ServiceManager) -> None:
    Worker(listening.address, a_snapshot()).notifier.sink(TargetPaused("by \udcff"), {})
    listening.wait_for("STATUS=left alone: by ?")


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (DatabaseUnreachable("connection refused", 0.5), "no database: connection refused"),
        (DatabaseRefused("wrong password", "check it", 4, 0.5), "no database: wrong password"),
        (BundleOffered("1.4.0", "abc", "published"), "looking at bundle 1.4.0"),
        (
            LockWaiting("owner", "migrate", "10.0.0.1", 7, "now", ours=False),
            "waiting for the lock: migrate of owner holds it",
        ),
        (MigrationStarted(3, "orders", "up", "message", 0), "migration 3 orders runs up"),
        (BatchStarted(3, 9, 5), "migrations 3 to 9 run up together"),
        (PipelineStarted(3, 9, 5), "migrations 3 to 9 run up together"),
        (SegmentFinished(3, 1, 4, 0.1), "migration 3: 1 of 4 segments done"),
        (TargetPaused("pinned by goto 2"), "left alone: pinned by goto 2"),
        (LockReleased(1.0), None),
    ],
)
def test_each_step_is_told_in_words(event: Event, status: str | None) -> None:
    assert status_of(event) == status


def test_what_a_child_would_find_is_taken_out_of_the_environment() -> None:
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    manager = Manager(environ)
    assert environ == {"HOME": "/"}
    assert manager
    assert manager.watchdog_seconds == 2


@pytest.mark.parametrize(("limit", "pid"), [("", ""), ("0", ""), ("2000000", "1"), ("soon", "")])
def test_a_watchdog_of_another_process_or_none_is_not_fed(limit: str, pid: str) -> None:
    manager = Manager({"WATCHDOG_USEC": limit, "WATCHDOG_PID": pid})
    assert manager.watchdog_seconds is None
    assert not manager


async def test_the_watchdog_hears_of_the_event_loop_in_half_its_time(tmp_path: Path) -> None:
    with service_manager(str(tmp_path / "notify")) as listening:
        manager = Manager({"NOTIFY_SOCKET": listening.address, "WATCHDOG_USEC": "40000"})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(manager.beat)
            await anyio.to_thread.run_sync(listening.wait_for, "WATCHDOG=1")
            tasks.cancel_scope.cancel()
