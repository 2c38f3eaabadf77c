"""Has an idle session know what a job asks before it sends its first migration."""

from contextlib import suppress

import asyncpg

from worker.errors import RefusedError, TimedOutError
from worker.jobs.look import View, glance_for_work, glance_whole
from worker.jobs.site import Site
from worker.postgres.advisory import Keys
from worker.postgres.faults import told
from worker.postgres.home_half import job_queries
from worker.postgres.lock import try_raising_sql
from worker.postgres.queries import queries
from worker.postgres.session import Session
from worker.postgres.statements import hurried, prepare


async def warm(session: Session, site: Site, view: View) -> None:
    """Have the statements of a job on this target planned or parsed, and what they call.

    It is for speed alone: what a lock or the server keeps from it meets the job, if it is still so then.

    Raises:
        ConnectionLostError: The connection broke.
    """
    keys = Keys.of_target(view.survey.target, view.survey.database)
    with suppress(RefusedError, TimedOutError):
        # The server plans a statement when it is first run.
        async with hurried(session.conn):
            await glance_whole(session, site, view)
            await glance_for_work(session, site, view)
        async with told(session, "preparing for the next job"):
            with suppress(asyncpg.LockNotAvailableError):
                await prepare(session.at_home.conn, job_queries(session.control))
                await prepare(session.conn, [try_raising_sql(session.control, keys)])
                await session.conn.execute(queries("target", session.control)["rehearse"])
