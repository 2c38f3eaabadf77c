"""Looks at what a cut statement left behind, and mends it, before it is repeated or taken as done."""

from enum import Enum
from typing import TYPE_CHECKING

from worker.applier.attempts import Attempts
from worker.applier.messages import Message, Work
from worker.core.events import SegmentRecovered
from worker.core.recovery import ConcurrentIndex, IndexAction, QualifiedName, concurrent_target, is_repeatable
from worker.core.script import Segment
from worker.core.target import quote_identifier
from worker.errors import InDoubtError
from worker.postgres.faults import told

if TYPE_CHECKING:
    from asyncpg import Record

# An index lies in its table's schema, and its name is looked up there; $3 is null where the statement names no table.
_INDEX = """
SELECT n.nspname::text AS schema, c.relname::text AS name, i.indisvalid AS valid
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relname = $1 AND ($3::text IS NULL OR t.relname = $3)
    AND CASE
        WHEN $2::text IS NOT NULL THEN n.nspname = $2
        WHEN $3::text IS NOT NULL THEN pg_catalog.pg_table_is_visible(t.oid)
        ELSE pg_catalog.pg_table_is_visible(c.oid)
    END
"""


_NAMELESS = QualifiedName(None, "")


class Before(Enum):
    """What became of a lone statement in an earlier run."""

    NOT_BEGUN = "not begun"
    FAILED = "failed"
    CUT = "cut"


class Verdict(Enum):
    """What is left to do for a lone statement."""

    TO_RUN = "to_run"
    DONE = "done"


async def recover(attempts: Attempts, segment: Segment, before: Before) -> Verdict:
    """Decide what is left of a lone statement; the session is set up as the statement needs it.

    Raises:
        InDoubtError: It was cut, and the catalogue cannot say whether it took effect.
        MigrationFailedError: What an earlier run left behind cannot be dropped.
    """
    statement = segment.statements[0].text
    about = concurrent_target(statement)
    if about is not None and about.index is not None and about.action is not IndexAction.REINDEX:
        return await _index(attempts, segment, about, before)
    if before is not Before.CUT or is_repeatable(statement):
        return Verdict.TO_RUN
    work = attempts.work
    raise InDoubtError(
        f"{work.file}: the statement in line {segment.statements[0].line} was cut, "
        "and whether it took effect cannot be seen in the catalogue",
        hint=settling(work),
    )


def can_be_judged(statement: str) -> bool:
    """Whether `recover` can tell what is left of a statement that was cut."""
    about = concurrent_target(statement)
    return is_repeatable(statement) or (about is not None and about.index is not None)


def settling(work: Work) -> str:
    """The two commands that answer an open question about a migration."""
    version = work.migration.version
    return (
        f"look at the schema: if the migration is complete, tidegate force {version}; "
        "if nothing of it is there, undo what is and force the version before it; then tidegate resume"
    )


async def _index(attempts: Attempts, segment: Segment, about: ConcurrentIndex, before: Before) -> Verdict:
    """An index that a cut or failed statement left behind is INVALID: it is dropped before the statement is repeated.

    CREATE INDEX CONCURRENTLY IF NOT EXISTS would take an INVALID index for a success.
    """
    work = attempts.work
    row = await _look(work, about)
    if about.action is IndexAction.DROP:
        return _done(work, segment, "the index is gone") if row is None and before is Before.CUT else Verdict.TO_RUN
    if row is None or (before is Before.NOT_BEGUN and not about.if_not_exists):
        return Verdict.TO_RUN
    if row["valid"]:
        return _done(work, segment, "the index is there and valid") if before is Before.CUT else Verdict.TO_RUN
    name = f"{quote_identifier(row['schema'])}.{quote_identifier(row['name'])}"
    _tell(work, segment, f"dropping the invalid index {name}")
    await attempts.once(None, Message("", f"DROP INDEX CONCURRENTLY {name}", ""))
    return Verdict.TO_RUN


async def _look(work: Work, about: ConcurrentIndex) -> "Record | None":
    index, table = about.index or _NAMELESS, about.table or _NAMELESS
    async with told(work.held.session, f"looking for the index {index.name}"):
        return await work.held.session.conn.fetchrow(
            _INDEX, index.name, index.schema or table.schema, table.name or None
        )


def _done(work: Work, segment: Segment, why: str) -> Verdict:
    _tell(work, segment, f"taken as done: {why}")
    return Verdict.DONE


def _tell(work: Work, segment: Segment, step: str) -> None:
    work.held.session.emit(SegmentRecovered(work.migration.version, segment.index + 1, step))
