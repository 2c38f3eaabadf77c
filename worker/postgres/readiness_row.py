"""The readiness row as it is written: by a query of its own, or in the message of what it states."""

from datetime import datetime

from worker.core.planning.readiness import Readiness
from worker.core.target import Target
from worker.postgres.lock import Held
from worker.postgres.queries import Value, queries, with_values
from worker.postgres.session import Session


def readiness_sql(held: Held, row: Readiness, wanted_at: datetime | None) -> str:
    """SQL that writes the readiness row, and tells the gates, in the transaction of what it states."""
    sql = queries("target", held.session.control)["write_readiness"]
    return with_values(sql, *readiness_values(held.session, held.target, row, wanted_at))


def readiness_values(session: Session, target: Target, row: Readiness, wanted_at: datetime | None) -> tuple[Value, ...]:
    """What the query `write_readiness` is given; `wanted_at` is when the bundle became wanted."""
    return (
        target.name,
        row.bundle,
        list(map(str, row.versions)),
        row.lowest_pending,
        list(map(str, row.deferred)),
        list(row.bundles),
        row.serves,
        row.version_table.value,
        row.identity.system_identifier,
        row.identity.database_oid,
        row.epoch,
        session.worker,
        wanted_at,
        f"{session.control}_ready",
    )
