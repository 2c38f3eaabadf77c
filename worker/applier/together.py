"""Several migrations in one transaction: each with its own fence and records, and all of them or none committed."""

from collections.abc import Sequence
from dataclasses import replace

import asyncpg

from worker.applier.limits import Limits
from worker.applier.messages import Message, Timeouts, Work, joined
from worker.applier.send import LateRefusalError, Unit, send
from worker.applier.steps import message_of, script_of, timeouts_of
from worker.core.bundles.bundle import Bundle
from worker.core.bundles.migration import Direction
from worker.core.sql.script import Mode
from worker.postgres.lock import Held


def works_of(held: Held, bundle: Bundle, also: tuple[str, ...] = ()) -> tuple[Work, ...]:
    """The whole bundle, to be applied to a target that has nothing of it; `also` goes with the last migration."""
    began = held.session.clock()
    *others, last = (
        Work(held, each, Direction.UP, Mode.TRANSACTIONAL, bundle.label, each.version, began)
        for each in bundle.migrations
    )
    return (*others, replace(last, also=also))


async def run_together(works: Sequence[Work], limits: Limits) -> bool:
    """Send all of them as one transaction, and tell whether it was committed.

    Whoever is told that it was not looks again and runs them one by one: so each error is told as it always is, and
    what only a new attempt can mend is tried again.

    Raises:
        RefusedError: A text cannot be run as what it claims to be.
        FencedError: Another worker has taken over; nothing was committed.
        ConnectionLostError: The connection broke; the ledger says whether the commit came through.
    """
    timeouts = timeouts_of(limits)
    message = joined([_message(work, timeouts) for work in works])
    try:
        await send(works[-1].held, message.text, Unit.TRANSACTION)
    except (asyncpg.PostgresError, LateRefusalError):
        return False
    return True


def _message(work: Work, timeouts: Timeouts) -> Message:
    if script_of(work).mode is Mode.JOURNALLED:
        raise AssertionError(f"no single transaction can hold {work.file}")
    return message_of(work, timeouts)
