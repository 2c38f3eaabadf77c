"""The readiness row as it is written: in a message of its own, or in the one of what it states."""

from worker.core.planning.readiness import Readiness
from worker.postgres.lock import Held
from worker.postgres.queries import queries, with_values


def readiness_sql(held: Held, row: Readiness) -> str:
    """SQL that writes the readiness row, and tells the gates, in the transaction of what it states."""
    session = held.session
    return with_values(
        queries("target", session.control)["write_readiness"],
        held.target.name,
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
        f"{session.control}_ready",
    )
