"""Migrations that are sent together in one message: what each of them records, and how it is told."""

from collections.abc import Mapping, Sequence

from worker.applier.limits import Limits
from worker.applier.messages import Message, Timeouts, Work, final, recorded_at_sql
from worker.applier.run import Applier, read, started
from worker.core.bundles.migration import Direction
from worker.core.events.event import Emitter, Outcome
from worker.core.events.migration_events import MigrationFinished
from worker.core.planning.batch import is_joining
from worker.core.planning.plan import Run
from worker.core.sql.script import Script
from worker.core.value import dataclass
from worker.postgres.lock import Held
from worker.postgres.target_half import TargetHalf

UNTROUBLED = (0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Step:
    """A migration that goes up with others, the version table's value behind it, and SQL that commits with it."""

    effect: Run
    version_after: int | None
    also: tuple[str, ...] = ()


def joins(effect: Run) -> bool:
    """Whether a migration can be sent together with others.

    Raises:
        RefusedError: Its text cannot be run as what it claims to be.
    """
    return is_joining(effect, read(effect.migration, effect.direction))


def works_of(held: Held, bundle: str, steps: Sequence[Step]) -> tuple[Work, ...]:
    """What is sent for each of them; all but the first one are timed from the record before it."""
    began, since = held.session.clock(), None
    works = []
    for step in steps:
        migration, mode = step.effect.migration, read(step.effect.migration, Direction.UP).mode
        lender = step.effect.lender or bundle
        works.append(Work(held, migration, Direction.UP, mode, lender, step.version_after, began, step.also, since))
        since = recorded_at_sql(held, migration.version)
    return tuple(works)


def message_of(work: Work, timeouts: Timeouts) -> Message:
    """A transaction of its own."""
    return final(work, next(iter(script_of(work).segments), None), timeouts)


def timeouts_of(limits: Limits) -> Timeouts:
    """Those of a migration that has no say in them."""
    return Timeouts(limits.lock_timeout_ms, 0, limits.statement_timeout_ms)


def script_of(work: Work) -> Script:
    """The classified text."""
    return read(work.migration, work.direction)


async def durations_of(applier: Applier, works: Sequence[Work]) -> dict[int, float]:
    """Which versions of them the ledger holds of this job, and the milliseconds that each of them took."""
    held, versions = applier.held, [work.migration.version for work in works]
    return await TargetHalf(held.session, held.target).durations(held.epoch, versions)


def tell_started(emit: Emitter, work: Work) -> None:
    """Tell that a migration begins."""
    emit(started(work, script_of(work)))


def tell_finished(
    emit: Emitter, work: Work, milliseconds: float, befell: tuple[int, float, float] = UNTROUBLED
) -> None:
    """Tell that a migration is committed; `befell` is its retries, and the seconds that it waited and blocked."""
    migration, seconds = work.migration, milliseconds / 1000
    up, mode = work.direction.value, work.mode.value
    emit(MigrationFinished(migration.version, migration.name, up, mode, Outcome.SUCCEEDED, seconds, *befell))


def tell_done(emit: Emitter, works: Sequence[Work], durations: Mapping[int, float]) -> None:
    """Tell those that are committed, by version and milliseconds."""
    for work in works:
        if (milliseconds := durations.get(work.migration.version)) is not None:
            tell_started(emit, work)
            tell_finished(emit, work, milliseconds)
