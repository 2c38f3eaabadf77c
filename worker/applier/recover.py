"""Looks at what a cut or failed statement left behind, and mends it, before it is repeated or taken as done."""

from enum import Enum
from functools import partial
from typing import assert_never

from worker.applier.attempts import Attempts, Lone
from worker.applier.messages import Message, Timeouts, Work, finishing, lone_end, lone_start
from worker.applier.send import send
from worker.core.events.migration_events import SegmentRecovered
from worker.core.running.recovery import (
    Build,
    Detach,
    Drop,
    NotBuild,
    Opaque,
    Presence,
    Rebuild,
    Repeatable,
    Temper,
    about,
)
from worker.core.running.remains import (
    Ask,
    Before,
    Clear,
    Done,
    Finalize,
    Refuse,
    Run,
    Step,
    judge_build,
    judge_detach,
    judge_drop,
    judge_presence,
    judge_rebuild,
    judge_unseen,
    shown,
)
from worker.core.sql.script import Segment
from worker.core.target import quote_literal
from worker.errors import InDoubtError, RefusedError
from worker.postgres.faults import told
from worker.postgres.remains import Remains, until_built

_LOOKING = Timeouts(lock_ms=10_000, patient_ms=0, statement_ms=30_000)


class Verdict(Enum):
    """What is left to do for a lone statement."""

    TO_RUN = "to_run"
    DONE = "done"


async def recover(attempts: Attempts, segment: Segment, before: Before, limit: float | None) -> Verdict:
    """Decide what is left of a lone statement, and do it; the session is set up as the statement needs it.

    `limit` is how long, in seconds, to wait for another session that builds an index of the same table.

    Raises:
        InDoubtError: It was cut, and the catalogue cannot say whether it took effect.
        RefusedError: What is there keeps the statement from doing what it says, and is not its own.
        MigrationFailedError: What an earlier run left behind cannot be dropped.
        TimedOutError: Another session was still at it.
    """
    work = attempts.work
    step = await _decide(work, segment.statements[0].text, before, limit)
    match step:
        case Run(why):
            if why:
                _tell(work, segment, why)
            return Verdict.TO_RUN
        case Done(why):
            _tell(work, segment, f"taken as done: {why}")
            return Verdict.DONE
        case Clear():
            await _clear(attempts, segment, step)
            return Verdict.TO_RUN
        case Finalize():
            await _finalize(attempts, segment, step)
            return Verdict.DONE
        case Ask(question):
            raise _in_doubt(work, segment, question)
        case Refuse(message, hint):
            raise RefusedError(f"{_place(work, segment)}: {message}", hint=hint, reason="invalid")
        case _:
            assert_never(step)


async def asked(work: Work, segment: Segment, limit: float | None) -> str | None:
    """What a person is to answer about a statement that was cut; None where the catalogue tells.

    Raises:
        RefusedError: The session cannot be set up as the statement needs it.
        TimedOutError: Another session was still at it.
    """
    async with told(work.held.session, f"looking at what {_place(work, segment)} left"):
        await send(work.held, lone_start(segment, _LOOKING).text)
        step = await _decide(work, segment.statements[0].text, Before.CUT, limit)
        await send(work.held, lone_end().text)
    return step.question if isinstance(step, Ask) else None


async def _decide(work: Work, statement: str, before: Before, limit: float | None) -> Step:
    """Look, and decide; before a first run only where something of an INVALID index could be taken for a success."""
    what = about(statement)
    if isinstance(what, Build):
        return await _decide_build(work, what, before, limit)
    return Run() if before is Before.NOT_BEGUN else await _decide_again(Remains(work.held.session), what, before)


async def _decide_again(remains: Remains, what: NotBuild, before: Before) -> Step:
    match what:
        case Drop():
            return judge_drop(what, before, await remains.index(what))
        case Rebuild():
            return judge_rebuild(before, await remains.rebuilt(what))
        case Detach():
            return judge_detach(what, before, await remains.attachment(what))
        case Presence():
            return judge_presence(what, before, await remains.existence(what))
        case Repeatable() | Opaque():
            return judge_unseen(what, before)
        case _:
            assert_never(what)


async def _decide_build(work: Work, build: Build, before: Before, limit: float | None) -> Step:
    session = work.held.session
    remains = Remains(session)
    step = judge_build(build, before, await remains.namesakes(build))
    if not isinstance(step, Clear | Refuse):
        return step
    # It may be INVALID only because another session builds it at this moment.
    await until_built(session, build.table, limit)
    return judge_build(build, before, await remains.namesakes(build))


async def _clear(attempts: Attempts, segment: Segment, step: Clear) -> None:
    for index in step.indexes:
        _tell(attempts.work, segment, f"dropping the invalid index {shown(index)}")
        drop = Message("", f"DROP INDEX CONCURRENTLY IF EXISTS {shown(index)}", "")
        await attempts.alone(Lone(None, drop, Temper.PATIENT, partial(lone_start, segment), _is_left))


async def _is_left() -> bool:
    """A drop that was cut is finished by its repetition, whatever it left."""
    return True


async def _finalize(attempts: Attempts, segment: Segment, step: Finalize) -> None:
    table, partition = shown(step.table), shown(step.partition)
    _tell(attempts.work, segment, f"finishing the detachment of {partition} from {table}")
    sql = f"ALTER TABLE {table} DETACH PARTITION {partition} FINALIZE"
    inherits = "SELECT FROM pg_catalog.pg_inherits WHERE inhparent = pg_catalog.to_regclass({}) AND inhrelid = {}"
    child = f"pg_catalog.to_regclass({quote_literal(partition)})"
    proof = f"SELECT NOT EXISTS ({inherits.format(quote_literal(table), child)})"
    await attempts.transact(None, lambda now: finishing(attempts.work, sql, proof, now))


def _in_doubt(work: Work, segment: Segment, question: str) -> InDoubtError:
    version, command = work.migration.version, "tidegate retry --segment"
    at = f"--at {version}:{segment.index + 1}"
    return InDoubtError(
        f"{_place(work, segment)}: the statement was cut, and {question}",
        hint=f"if it took effect: {command} done {at}; if not, and it is to run: {command} not-done {at}; "
        f"if the whole migration is complete: tidegate force {version}, tidegate resume",
    )


def _place(work: Work, segment: Segment) -> str:
    return f"{work.file}:{segment.statements[0].line}"


def settling(work: Work) -> str:
    """The commands that answer whether a migration is complete."""
    version = work.migration.version
    return (
        f"look at the schema: if the migration is complete, tidegate force {version}; "
        "if nothing of it is there, undo what is and force the version before it; then tidegate resume"
    )


def _tell(work: Work, segment: Segment, step: str) -> None:
    work.held.session.emit(SegmentRecovered(work.migration.version, segment.index + 1, step))
