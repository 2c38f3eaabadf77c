"""The strict readiness of a worker, as `/readyz` and the `ready` gauge tell it: its health and its targets' rows.

A gate asks the row alone (`worker.core.planning.readiness`); this asks besides whether the worker can see the database
and goes on working. That is why it does not belong in the readiness probe of an API.
"""

from enum import Enum

from worker.core.planning.readiness import (
    Identity,
    NotReady,
    OfBundle,
    Readiness,
    Ready,
    Requirement,
    Verdict,
    Why,
    judge,
)
from worker.core.status.snapshot import Snapshot, TargetStatus
from worker.core.value import dataclass


class Obstacle(Enum):
    """Why a worker is not ready before any row is looked at; stable words for machines."""

    DRAINING = "draining"
    DATABASE = "database"
    NO_TARGET = "no_target"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a probe is told; `why` is None where `ready` holds, else a word of `Obstacle` or of `Why`."""

    ready: bool
    requirement: str
    why: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of one target of a fleet; `away` says why nothing could be."""

    target: str
    wanted: str | None = None
    readiness: Readiness | None = None
    identity: Identity | None = None
    away: str | None = None


def answer(reading: Reading | None, name: str, requirement: Requirement | None, *, draining: bool) -> Answer:
    """Answer for one target of a fleet; None where the fleet has no such target."""
    asked = "the wanted bundle" if requirement is None else str(requirement)
    why, message = _verdict(reading, name, requirement)
    if draining:
        why, message = Obstacle.DRAINING.value, "the worker is stopping"
    return Answer(ready=why is None, requirement=asked, why=why, message=message)


def _verdict(reading: Reading | None, name: str, requirement: Requirement | None) -> tuple[str | None, str]:
    if reading is None:
        return Obstacle.NO_TARGET.value, f"target {name} is not known"
    if reading.away is not None:
        return Obstacle.DATABASE.value, reading.away
    verdict = judge_target(reading, requirement)
    return (verdict.why.value, f"{name}: {verdict.message}") if isinstance(verdict, NotReady) else (None, "ready")


def judge_target(status: TargetStatus | Reading, requirement: Requirement | None) -> Verdict:
    """Judge a target's row; without a requirement, the bundle that is wanted there is the requirement."""
    if status.identity is None:
        return NotReady(Why.NO_ROW, "the target has no readiness row yet")
    if requirement is not None:
        return judge(requirement, status.readiness, status.identity)
    if status.wanted is None:
        return NotReady(Why.NOT_APPLIED, "no bundle is wanted yet")
    return judge(OfBundle(status.wanted), status.readiness, status.identity)


def probe(snapshot: Snapshot, requirement: Requirement | None, target: str | None) -> Answer:
    """Answer for one target, or for all of them where `target` is None; the first one that is not ready is named."""
    asked = "every wanted bundle" if requirement is None else str(requirement)
    obstacle = _obstacle(snapshot, target)
    if obstacle is not None:
        return Answer(ready=False, requirement=asked, why=obstacle[0].value, message=obstacle[1])
    for count in snapshot.fleet:
        if target is None and count.state != "succeeded":
            message = f"{count.targets} targets of line {count.line} are {count.state.replace('_', ' ')}"
            return Answer(ready=False, requirement=asked, why=Why.NOT_APPLIED.value, message=message)
    for status in _chosen(snapshot, target):
        verdict = judge_target(status, requirement)
        if isinstance(verdict, NotReady):
            return Answer(
                ready=False, requirement=asked, why=verdict.why.value, message=f"{status.target}: {verdict.message}"
            )
    return Answer(ready=True, requirement=asked, why=None, message="ready")


def target_is_ready(status: TargetStatus) -> bool:
    """Whether everything that is wanted on the target is applied."""
    return isinstance(judge_target(status, None), Ready)


def _chosen(snapshot: Snapshot, target: str | None) -> tuple[TargetStatus, ...]:
    return tuple(status for status in snapshot.targets if target is None or status.target == target)


def _obstacle(snapshot: Snapshot, target: str | None) -> tuple[Obstacle, str] | None:
    if snapshot.draining:
        return Obstacle.DRAINING, "the worker is stopping"
    if snapshot.database is not None:
        return Obstacle.DATABASE, snapshot.database
    if not _chosen(snapshot, target) and not (snapshot.fleet and target is None):
        return Obstacle.NO_TARGET, "no target is known yet" if target is None else f"target {target} is not known"
    return None
