"""Runs a migration by segments: what no single transaction can hold, under the journal.

A block, and a single statement that a transaction can hold, commits together with its journal row, and is never in
doubt. A statement that cannot run in a transaction has its intent committed before it is sent and its result after it,
so that a later run knows that it was begun, and looks before it repeats it.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

from worker.applier import messages
from worker.applier.attempts import Attempts, Lone
from worker.applier.locate import is_refused_in_block
from worker.applier.messages import SegmentState, Work
from worker.applier.recover import Verdict, recover, settling
from worker.applier.send import send
from worker.core.events.migration_events import SegmentFinished, SegmentRecovered
from worker.core.planning.plan import Progress
from worker.core.running.recovery import temper_of
from worker.core.running.remains import Before
from worker.core.sql.script import Script, Segment, SegmentKind
from worker.core.sql.statements import may_commit
from worker.core.value import dataclass
from worker.errors import InDoubtError, MigrationFailedError, RefusedError, TimedOutError
from worker.postgres.lock import release_foreign, retake_foreign
from worker.postgres.remains import until_gone
from worker.postgres.session import DrainedError

# The statement was stopped from outside: it may have come to its end all the same.
_STOPPED = re.compile(r"57...")


async def run_journalled(
    attempts: Attempts, script: Script, resume: Progress | None, advisory_timeout: float | None
) -> None:
    """Run the segments that are not done; the last transaction records the migration.

    Raises:
        MigrationFailedError: A segment failed; the journal says which are done.
        RefusedError: The file's segments are not those that the journal says were run.
        InDoubtError: A cut statement may or may not have taken effect, or needs a session that is gone.
        TimedOutError: The backend of a cut statement is still there.
    """
    work = attempts.work
    if resume is not None and resume.cut_pid is not None and resume.cut_at is not None:
        # It holds the advisory lock as a rule, and then is gone by now; but its code may have given the lock back.
        await until_gone(work.held.session, resume.cut_pid, resume.cut_at, advisory_timeout)
    done = 0 if resume is None else _done(work, script, resume)
    run = _Run(attempts, advisory_timeout)
    before = _before(resume)
    recorded = False
    for segment in script.segments[done:]:
        began = work.held.session.clock()
        recorded = await run.segment(segment, before, is_last=segment is script.segments[-1])
        before = Before.NOT_BEGUN
        seconds = work.held.session.clock() - began
        number, count = segment.index + 1, len(script.segments)
        work.held.session.emit(SegmentFinished(work.migration.version, number, count, seconds))
    if not recorded:
        await attempts.transact(None, lambda now: messages.final(work, None, now))


def _before(resume: Progress | None) -> Before:
    if resume is None:
        return Before.NOT_BEGUN
    return Before.FAILED if resume.cut is None else Before.CUT


def _done(work: Work, script: Script, resume: Progress) -> int:
    """How many segments are done already; they, and one that was cut, must be those that the file begins with now."""
    done = len(resume.done)
    begun = resume.done if resume.cut is None else (*resume.done, resume.cut)
    if tuple(segment.digest for segment in script.segments[: len(begun)]) != begun:
        raise RefusedError(
            f"{work.file} is half done, and what was run of it has changed in the file since",
            hint=f"restore its first {len(begun)} parts as they were, for only what was not run yet may be changed; "
            f"or settle it: {settling(work)}",
            reason="half_done",
        )
    if done and any(segment.needs_session for segment in script.segments[done : done + 1]):
        raise InDoubtError(
            f"{work.file} was cut behind part {done}, and the rest needs temporary tables, "
            "prepared statements or cursors of a session that is gone",
            hint=settling(work),
        )
    return done


@dataclass(frozen=True, slots=True)
class _Run:
    """A migration that is under way."""

    attempts: Attempts
    advisory_timeout: float | None

    @property
    def unpin(self) -> str:
        """SQL that has names looked up where the target's are."""
        return self.attempts.work.held.session.unpin

    async def segment(self, segment: Segment, before: Before, *, is_last: bool) -> bool:
        """Run one segment; tells whether the migration is recorded with it."""
        match segment.kind:
            case SegmentKind.SINGLE if before is not Before.CUT:
                return await self._single(segment, before, is_last=is_last)
            case SegmentKind.BLOCK:
                return await self._block(segment, is_last=is_last)
            case SegmentKind.ALONE | SegmentKind.SINGLE:
                # Only what was sent alone leaves an intent that can be cut.
                await self._alone(replace(segment, kind=SegmentKind.ALONE), before)
                return False

    async def _block(self, segment: Segment, *, is_last: bool) -> bool:
        compose = messages.final if is_last else messages.progress
        await self.attempts.transact(segment, lambda now: compose(self.attempts.work, segment, now))
        return is_last

    async def _single(self, segment: Segment, before: Before, *, is_last: bool) -> bool:
        """Have a transaction of its own hold the statement, unless the server refuses that; an extension's may."""
        try:
            return await self._block(segment, is_last=is_last)
        except MigrationFailedError as error:
            if not is_refused_in_block(segment, error.failure.sqlstate):
                raise
        work, step = self.attempts.work, "the server refuses it in a transaction, so it is sent alone"
        work.held.session.emit(SegmentRecovered(work.migration.version, segment.index + 1, step))
        await self._alone(replace(segment, kind=SegmentKind.ALONE), before)
        return False

    async def _alone(self, segment: Segment, before: Before) -> None:
        """Commit the intent, send the statement by itself, commit the result.

        The intent takes the place of what the journal says of an earlier attempt, which `before` carries on. If this
        attempt is cut as well, the next run takes the statement for cut, which is the more careful of the two.
        """
        await self._note(segment, SegmentState.INTENT)
        # From here on a golang-migrate that waits for its keys would hold a snapshot that the statement waits for.
        await release_foreign(self.attempts.work.held)
        try:
            async with self._session_of(segment):
                if await recover(self.attempts, segment, before, self.advisory_timeout) is Verdict.TO_RUN:
                    await self._send_alone(segment)
        except MigrationFailedError as error:
            if _is_without_effect(segment, error):
                await self._note(segment, SegmentState.FAILED)
            raise
        except (RefusedError, TimedOutError):
            # It was only looked at: what was not cut is not cut now.
            if before is not Before.CUT:
                await self._note(segment, SegmentState.FAILED)
            raise
        # Before the keys are waited for: whatever becomes of that, the statement need not be judged again.
        await self._note(segment, SegmentState.DONE)
        await retake_foreign(self.attempts.work.held, self.advisory_timeout)

    async def _send_alone(self, segment: Segment) -> None:
        async def is_left() -> bool:
            return await recover(self.attempts, segment, Before.CUT, self.advisory_timeout) is Verdict.TO_RUN

        temper = temper_of(segment.statements[0].text)
        await self.attempts.alone(
            Lone(
                segment,
                messages.lone(segment),
                temper,
                partial(messages.lone_start, segment, unpin=self.unpin),
                is_left,
            )
        )

    @asynccontextmanager
    async def _session_of(self, segment: Segment) -> AsyncIterator[None]:
        """The session as the file's earlier statements set it up; what is recorded next finds it as it started."""
        timeouts = self.attempts.timeouts_of(temper_of(segment.statements[0].text))
        await self.attempts.once(None, messages.lone_start(segment, timeouts, self.unpin))
        try:
            yield
        except (MigrationFailedError, InDoubtError, RefusedError, TimedOutError, DrainedError):
            await send(self.attempts.work.held, messages.lone_end().text)
            raise
        await self.attempts.once(None, messages.lone_end())

    async def _note(self, segment: Segment, state: SegmentState) -> None:
        await self.attempts.transact(None, lambda _: messages.note(self.attempts.work, segment, state))


def _is_without_effect(segment: Segment, error: MigrationFailedError) -> bool:
    """Tell that the server undid what failed; DO and CALL may have committed some of their work before."""
    return not may_commit(segment.statements[0].text) and not _STOPPED.fullmatch(error.failure.sqlstate or "")
