"""Runs a migration by segments: what no single transaction can hold, under the journal.

A block commits together with its journal row. A statement that cannot run in a transaction has its intent committed
before it is sent and its result after it, so that a later run knows that it was begun, and looks before it repeats it.
"""

from dataclasses import dataclass

import asyncpg

from worker.applier import messages
from worker.applier.locate import failed
from worker.applier.messages import Message, Timeouts, Work
from worker.applier.recover import Verdict, recover, settling
from worker.applier.send import send
from worker.core.events import SegmentFinished
from worker.core.plan import Progress
from worker.core.script import Script, Segment, SegmentKind
from worker.errors import InDoubtError, RefusedError
from worker.postgres.lock import release_foreign, retake_foreign


async def run_journalled(
    work: Work, script: Script, resume: Progress | None, timeouts: Timeouts, advisory_timeout: float | None
) -> None:
    """Run the segments that are not done; the last one records the migration.

    Raises:
        RefusedError: The file's segments are not those that the journal says were run.
        InDoubtError: A cut statement may or may not have taken effect, or needs a session that is gone.
    """
    done = 0 if resume is None else _done(work, script, resume)
    for segment in script.segments[done:]:
        began = work.held.session.clock()
        run = _Run(work, script.segments, segment, timeouts, advisory_timeout)
        match segment.kind:
            case SegmentKind.BLOCK:
                await run.block()
            case SegmentKind.ALONE:
                await run.alone(cut=resume is not None and resume.cut is not None and segment.index == done)
        seconds = work.held.session.clock() - began
        number, count = segment.index + 1, len(script.segments)
        work.held.session.emit(SegmentFinished(work.migration.version, number, count, seconds))


def _done(work: Work, script: Script, resume: Progress) -> int:
    """How many segments are done already; they must be the ones that the file begins with now."""
    done = len(resume.done)
    if tuple(segment.digest for segment in script.segments[:done]) != resume.done:
        raise RefusedError(
            f"migration {work.migration.version} is half done, and what was run of it has changed in the file since",
            hint=f"restore its first {done} parts as they were; only what was not run yet may be changed",
            reason="half_done",
        )
    if done and script.segments[done].needs_session:
        raise InDoubtError(
            f"migration {work.migration.version} was cut behind part {done}, and the rest needs temporary tables, "
            "prepared statements or cursors of a session that is gone",
            hint=settling(work),
        )
    return done


@dataclass(frozen=True, slots=True)
class _Run:
    """One segment of a migration that is under way."""

    work: Work
    segments: tuple[Segment, ...]
    segment: Segment
    timeouts: Timeouts
    advisory_timeout: float | None

    @property
    def _is_last(self) -> bool:
        return self.segment is self.segments[-1]

    async def block(self) -> None:
        """Commit the block together with its journal row, or with the migration's record."""
        compose = messages.final if self._is_last else messages.progress
        await self._send(compose(self.work, self.segment, self.timeouts))

    async def alone(self, *, cut: bool) -> None:
        """Commit the intent, send the statement by itself, commit the result."""
        held = self.work.held
        await send(held, messages.intent(self.work, self.segment).text)
        # From here on a golang-migrate that waits for its keys would hold a snapshot that the statement waits for.
        await release_foreign(held)
        if await recover(self.work, self.segment, cut=cut) is Verdict.TO_RUN:
            await self._send_alone()
        await retake_foreign(held, self.advisory_timeout)
        if self._is_last:
            await send(held, messages.final(self.work, None, self.timeouts).text)
        else:
            await send(held, messages.result(self.work, self.segment).text)

    async def _send_alone(self) -> None:
        held = self.work.held
        start = Message(messages.session_start(self.segment, self.timeouts), "", "")
        await send(held, start.head)
        await self._send(Message("", self.segment.text, ""))
        await send(held, messages.session_end())

    async def _send(self, message: Message) -> None:
        try:
            await send(self.work.held, message.text)
        except asyncpg.PostgresError as error:
            raise await failed(self.work, self.segment, message, error) from error
