"""Transactions of our own statements: left closed whatever happens, and fenced where they write a target's records."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker.core.checkpoint import Checkpoint
from worker.postgres.faults import settle, told
from worker.postgres.lock import Held
from worker.postgres.session import Session

QUICKLY = "SET LOCAL synchronous_commit = off"
"""SQL that has a transaction's commit not wait for the disk; one behind it that does puts it there too."""

# A commit that is cancelled while it waits for a standby stands all the same; one behind it that waits vouches for it.
QUICKLY_WITHOUT_STANDBY = (
    "SELECT set_config('synchronous_commit', 'off', true) WHERE current_setting('synchronous_standby_names') = ''"
)
"""The same where no standby is waited for either."""

# A message's limit ends its wait for a standby, and the commit stands; no row is to say so before a standby knows.
WITHOUT_STANDBY = "SELECT 1 / (current_setting('synchronous_standby_names') = '')::int"
"""SQL that the server refuses where a standby is waited for."""


@asynccontextmanager
async def transaction(session: Session, doing: str, first: str = "") -> AsyncIterator[list[str]]:
    """Run the block in one transaction; `first` is SQL that is sent together with BEGIN.

    The statements that the block puts into the list are sent in one message with COMMIT.

    Raises:
        ConnectionLostError: The connection broke; whether it was committed must be looked up.
        FencedError: The epoch is stale: another worker has taken over.
        RefusedError: The role lacks a privilege, which is named.
        TimedOutError: Somebody held a lock for too long; says who.
    """
    async with told(session, doing):
        try:
            last: list[str] = []
            await session.conn.execute(f"BEGIN; {first}")
            yield last
            session.passing(Checkpoint.COMMITTING)
            await session.conn.execute("; ".join((*last, "COMMIT")))
            session.passing(Checkpoint.COMMITTED)
        except BaseException:
            # asyncpg's own transaction() rolls back without a shield, and so not at all where a scope was cancelled.
            await settle(session.conn)
            raise


@asynccontextmanager
async def fenced(held: Held, doing: str) -> AsyncIterator[list[str]]:
    """Run the block in one transaction that commits only while the lock and the epoch are held; raises as above."""
    async with transaction(held.session, doing, held.fence_sql) as last:
        yield last


async def at_once(held: Held, doing: str, *statements: str) -> None:
    """Send a whole fenced transaction in one message; raises as above."""
    session = held.session
    async with told(session, doing):
        try:
            session.passing(Checkpoint.COMMITTING)
            await session.conn.execute("; ".join(("BEGIN", held.fence_sql, *statements, "COMMIT")))
            session.passing(Checkpoint.COMMITTED)
        except BaseException:
            # A refused statement leaves the transaction open, and so does a cancelled message.
            await settle(session.conn)
            raise
