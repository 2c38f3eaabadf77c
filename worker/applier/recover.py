"""Looks at what a cut statement left behind, and mends it, before it is repeated or taken as done."""

from enum import Enum

from worker.applier.messages import Work
from worker.applier.send import send
from worker.core.events import SegmentRecovered
from worker.core.recovery import ConcurrentIndex, IndexAction, QualifiedName, concurrent_target, is_repeatable
from worker.core.script import Segment
from worker.core.target import quote_identifier
from worker.errors import InDoubtError

_INDEX = """
SELECT n.nspname::text AS schema, c.relname::text AS name, i.indisvalid AS valid
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relname = $1
    AND CASE WHEN $2::text IS NULL THEN pg_catalog.pg_table_is_visible(i.indrelid) ELSE n.nspname = $2 END
"""


class Verdict(Enum):
    """What is left to do for a lone statement."""

    TO_RUN = "to_run"
    DONE = "done"


async def recover(work: Work, segment: Segment, *, cut: bool) -> Verdict:
    """Decide what is left of a lone statement, `cut` if it was begun before and its result is not known.

    Raises:
        InDoubtError: It was cut, and the catalogue cannot say whether it took effect.
    """
    statement = segment.statements[0].text
    about = concurrent_target(statement)
    if about is not None and about.index is not None and about.action is not IndexAction.REINDEX:
        return await _index(work, segment, about, about.index, cut=cut)
    if not cut or is_repeatable(statement):
        return Verdict.TO_RUN
    raise InDoubtError(
        f"{work.file}: the statement in line {segment.statements[0].line} was cut, "
        "and whether it took effect cannot be seen in the catalogue",
        hint=settling(work),
    )


def settling(work: Work) -> str:
    """The two commands that answer an open question about a migration."""
    version = work.migration.version
    return (
        f"look at the schema: if the migration is complete, tidegate force {version}; "
        "if nothing of it is there, undo what is and force the version before it; then tidegate resume"
    )


async def _index(work: Work, segment: Segment, about: ConcurrentIndex, index: QualifiedName, *, cut: bool) -> Verdict:
    """An index that a cut statement left behind is INVALID: it is dropped before the statement is repeated.

    CREATE INDEX CONCURRENTLY IF NOT EXISTS would take an INVALID index for a success.
    """
    schema = index.schema or (None if about.table is None else about.table.schema)
    row = await work.held.session.conn.fetchrow(_INDEX, index.name, schema)
    if about.action is IndexAction.DROP:
        return Verdict.DONE if row is None and cut else Verdict.TO_RUN
    if row is None or not (cut or about.if_not_exists):
        return Verdict.TO_RUN
    if row["valid"]:
        return Verdict.DONE if cut else Verdict.TO_RUN
    name = f"{quote_identifier(row['schema'])}.{quote_identifier(row['name'])}"
    work.held.session.emit(
        SegmentRecovered(work.migration.version, segment.index + 1, f"dropping the invalid index {name}")
    )
    await send(work.held, f"DROP INDEX CONCURRENTLY {name}")
    return Verdict.TO_RUN
