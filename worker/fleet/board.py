"""What a fleet's worker knows: the fleet as it was counted last, and the targets that this worker brings now."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from worker.board import Board
from worker.core.events.event import Context, Event, Outcome
from worker.core.events.events import (
    JobFailed,
    JobFinished,
    JobStarted,
    ListenerConnected,
    ListenerLost,
    WorkerDraining,
)
from worker.core.events.fleet_events import TargetLeft
from worker.core.events.migration_events import MigrationFinished, MigrationStarted
from worker.core.status.fleet_status import AtWork, FleetStatus, Misdeclared, TroubledTarget
from worker.core.status.masking import Mask
from worker.core.status.snapshot import Snapshot


class FleetBoard(Board):
    """Takes events and counts; several targets are at work at once, and none of them speaks for the fleet."""

    def __init__(self, worker: str, version: str, now: Callable[[], datetime], mask: Mask = str) -> None:
        super().__init__(worker, version, now, mask)
        self._clock = now
        self._masked = mask
        self._status = FleetStatus(())
        self._at_work: dict[str, AtWork] = {}

    def sink(self, event: Event, context: Context) -> None:
        """Take an event."""
        target = str(context.get("target", ""))
        match event:
            case ListenerConnected() | ListenerLost() | WorkerDraining():
                super().sink(event, context)
            case JobStarted(pending=pending):
                bundle = str(context.get("bundle", ""))
                self._at_work[target] = AtWork(target, bundle, 0, pending, self._clock())
            case JobFinished() | JobFailed() | TargetLeft():
                self._at_work.pop(target, None)
            case MigrationStarted() | MigrationFinished() if target in self._at_work:
                self._at_work[target] = _moved(self._at_work[target], event)
            case _:
                pass

    def fleet_read(self, status: FleetStatus, *, is_idle: bool) -> None:
        """The home half was read; an idle worker is at no target, whatever a lost connection cut off without a word."""
        if is_idle:
            self._at_work.clear()
        mask = self._masked
        self._status = replace(
            status,
            troubled=tuple(_masked(each, mask) for each in status.troubled),
            misdeclared=tuple(Misdeclared(e.group, mask(e.message), mask(e.hint)) for e in status.misdeclared),
        )
        self.fleet_reached(status.counts)

    def snapshot(self) -> Snapshot:
        """Everything, now."""
        return replace(
            super().snapshot(),
            halted=self._status.halted,
            troubled=self._status.troubled,
            misdeclared=self._status.misdeclared,
            at_work=tuple(self._at_work.values()),
        )


def _moved(at_work: AtWork, event: MigrationStarted | MigrationFinished) -> AtWork:
    if isinstance(event, MigrationStarted):
        return replace(at_work, migration=f"{event.version} {event.migration}")
    done = at_work.done + (event.outcome is Outcome.SUCCEEDED)
    return replace(at_work, migration=None, done=done)


def _masked(each: TroubledTarget, mask: Mask) -> TroubledTarget:
    return replace(each, message=mask(each.message), hint=mask(each.hint))
