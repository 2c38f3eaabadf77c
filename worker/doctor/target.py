"""Checks of one target and of one gate, on the live database."""

from typing import TYPE_CHECKING

from worker.core.bundles.bundle import Bundle
from worker.core.checks.checkup import examine
from worker.core.checks.findings import Finding, Severity, error, fine, warning
from worker.core.planning.plan import Latest
from worker.errors import RefusedError, TidegateError
from worker.gate import lacking
from worker.jobs.preview import preview
from worker.jobs.site import Site
from worker.postgres.checkup import read_facts
from worker.postgres.session import Session
from worker.postgres.surroundings import read_surroundings
from worker.postgres.survey import survey

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection


async def examine_target(session: Session, site: Site, bundle: Bundle | None) -> tuple[Finding, ...]:
    """Check what a run would meet: the role, the schema, settings, locks, and whether the bundle can be applied.

    Raises:
        RefusedError: The session has no schema for the version table.
        ConnectionLostError: The connection broke.
    """
    seen = await survey(session, site.schema, site.table)
    findings = examine(await read_facts(session, seen, site.readers))
    if any(each.severity is Severity.ERROR for each in findings):
        return findings
    return (*findings, *await _planned(session, site, bundle))


async def _planned(session: Session, site: Site, bundle: Bundle | None) -> tuple[Finding, ...]:
    """What the planner says; without a bundle it says nothing."""
    try:
        seen = await preview(session, site, bundle, Latest())
    except RefusedError as refusal:
        return () if refusal.reason == "no_version" else (of_refusal(refusal),)
    count = len(seen.runs)
    return (fine("plan", f"bundle {seen.bundle.label}: {count} migrations are pending"),)


async def examine_gate(conn: "Connection[Record]", control: str) -> tuple[Finding, ...]:
    """Check what an application's gate needs: USAGE on the control schema and SELECT on readiness."""
    around = await read_surroundings(conn, control)
    unmet = lacking(around, control)
    if unmet is None:
        found = fine("gate", f"role {around.role} may read readiness")
    else:
        found = error(f"gate_{unmet.why}", unmet.message, advice=unmet.hint)
    if around.hears:
        return (found,)
    why = "a pooler stands before the server" if around.pooled else "the server is a standby"
    return (found, warning("gate_listen", f"{why}: the gate hears no notification, and polls every 2 s"))


def of_refusal(refusal: TidegateError) -> Finding:
    """What kept the doctor from looking at all, as a finding."""
    return error(refusal.reason, refusal.message, advice=refusal.hint)
