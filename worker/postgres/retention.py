"""Removes from the home half what it keeps for a time only."""

from worker.postgres.faults import told
from worker.postgres.queries import queries, with_values
from worker.postgres.session import Session

MOST = 1000
"""How many events one statement removes."""


async def forget_events(session: Session) -> bool:
    """Remove events of jobs that are older than ninety days, up to `MOST`; tells whether it were that many.

    Raises:
        ConnectionLostError: The connection broke.
        RefusedError: The role lacks the privilege.
        TimedOutError: Somebody holds a lock on the table.
    """
    home = session.at_home
    async with told(home, "removing old events of jobs"):
        said = await home.conn.execute(with_values(queries("home", home.control)["forget_events"], MOST))
    return said == f"DELETE {MOST}"
