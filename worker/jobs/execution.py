"""One job under the lock: brings a plan's effects about, and states in the readiness row what came of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from worker.applier import pipeline
from worker.applier.batch import run_batch
from worker.applier.limits import Share
from worker.applier.run import Applier, applying
from worker.applier.steps import Step, joins
from worker.applier.telling import Telling
from worker.core.bundles.bundle import Bundle
from worker.core.bundles.migration import Direction, Gate
from worker.core.events.events import LedgerAdopted, ReadinessSet
from worker.core.planning.batch import batches, leading
from worker.core.planning.pace import Pace
from worker.core.planning.plan import Adopt, Effect, Observed, Pending, Run, after
from worker.core.planning.readiness import Readiness
from worker.errors import RefusedError
from worker.jobs.look import View
from worker.jobs.readiness import readiness_of
from worker.jobs.site import Site
from worker.postgres.faults import FencedError
from worker.postgres.lock import Held
from worker.postgres.readiness_row import readiness_sql
from worker.postgres.session import DrainedError
from worker.postgres.target_half import Action, TargetHalf, lower_readiness_sql, pin_sql
from worker.postgres.transaction import QUICKLY_WITHOUT_STANDBY, at_once, fenced

if TYPE_CHECKING:
    from worker.bundles.trust import Warrant


class Statement:
    """Writes the readiness row of one held target; `required` are the versions of the line's bundles, by label."""

    def __init__(self, held: Held, site: Site, view: View, required: Mapping[str, tuple[int, ...]]) -> None:
        self._held = held
        self._site = site
        self._view = view
        self._required = required
        self._half = TargetHalf(held.session, held.target)

    def met(self, observed: Observed) -> tuple[str, ...]:
        """Labels of the bundles that are met where this is so."""
        return self._row(observed).bundles

    async def write(self, observed: Observed) -> Readiness:
        """Write the row inside the caller's fenced transaction, who then says `stated`."""
        row = self._row(observed)
        await self._half.write_readiness(self._held, row)
        return row

    def stated(self, row: Readiness) -> None:
        """Have it known that the row is committed."""
        self._held.session.stated(self._held.target.name, row)
        self._tell(row, None)

    async def state(self, observed: Observed, also: str, applied: Sequence[int]) -> Readiness:
        """Write the row in one message, with SQL that commits together with it, and have it known."""
        row, held = self._row(observed), self._held
        await at_once(held, "writing readiness", *filter(None, (also,)), readiness_sql(held, row))
        held.session.stated(held.target.name, row)
        wanted_at = None if self._view.wanted is None else self._view.wanted.wanted_at
        is_reached = bool(applied) and row.lowest_pending is None
        self._tell(row, await self._half.since_wanted(wanted_at) if is_reached and wanted_at is not None else None)
        return row

    def _row(self, observed: Observed) -> Readiness:
        return readiness_of(self._view, self._site, self._required, observed, self._held.epoch)

    def _tell(self, row: Readiness, seconds: float | None) -> None:
        highest = row.versions[-1] if row.versions else None
        self._held.session.emit(ReadinessSet(row.bundle or "", highest, row.lowest_pending, seconds))


class Execution:
    """The effects on one held target, in order; `observed` is what its database says by now."""

    def __init__(self, held: Held, site: Site, view: View, bundle: Bundle, statement: Statement) -> None:
        self._held = held
        self._view = view
        self._bundle = bundle
        self._limits = site.limits
        self._statement = statement
        self._half = TargetHalf(held.session, held.target)
        self._written: Observed | None = None
        self.observed = view.observation.observed
        self.applied: list[int] = []
        self.adopted = 0
        self.warrant: Warrant | None = None

    async def run(self, pending: Pending, pin: str | None) -> None:
        """Bring the effects about, one after the other; `pin` goes into each one's transaction.

        Raises:
            DrainedError: Asked to stop; the readiness row states what is applied by now.
        """
        if not self._view.survey.has_table:
            await self._half.ensure_version_table()
        async with applying(self._held, self._bundle.label, self._limits) as applier:
            try:
                if self._limits.batch > 1:
                    await self._batched(applier, pending, pin)
                else:
                    await self._pipelined(applier, pending, pin)
            except DrainedError:
                await self.write_readiness()
                raise

    def _check_draining(self) -> None:
        if self._held.session.draining():
            raise DrainedError

    async def _pipelined(self, applier: Applier, pending: Pending, pin: str | None) -> None:
        """Send as many in one message as come back soon; what stops such a message runs by itself after that."""
        telling = Telling(applier)
        try:
            place = await self._paced(applier, pending, pin, telling)
        except RefusedError:
            await telling.now()
            raise
        await telling.now()
        if place < len(pending.effects):
            raise DrainedError

    async def _paced(self, applier: Applier, pending: Pending, pin: str | None, telling: Telling) -> int:
        """Run the effects until the worker is asked to stop, and tell how many of them are done."""
        pace, place, clock = Pace(), 0, self._held.session.clock
        while place < len(pending.effects) and not self._held.session.draining():
            led = leading(pending.effects, place, pace.size, joins, pipeline.MOST_CHARACTERS)
            runs = [effect for effect in led if isinstance(effect, Run)]
            began = clock()
            if len(runs) > 1:
                done = await self._several(applier, self._steps(runs, pin), telling)
            else:
                await telling.now()
                await self._one(applier, led[0], pin, Share.WHOLE)
                done = 1
            pace = pace.after(done, clock() - began) if done == len(led) else Pace()
            place += done
        return place

    async def _several(self, applier: Applier, steps: list[Step], telling: Telling) -> int:
        """Run them, and tell how many of them are done."""
        done = await pipeline.run_pipeline(applier, steps, telling)
        for step in steps[:done]:
            self._done(step.effect)
        if done < len(steps):
            await self._check_unchanged()
        return done

    async def _batched(self, applier: Applier, pending: Pending, pin: str | None) -> None:
        for batch in batches(pending.effects, self._limits.batch, joins):
            self._check_draining()
            await self._batch(applier, batch, pin)

    async def _batch(self, applier: Applier, batch: tuple[Effect, ...], pin: str | None) -> None:
        """Run a batch in one transaction, or one after the other what could not be committed so."""
        share = Share.WHOLE
        applied: frozenset[int] = frozenset()
        runs = [effect for effect in batch if isinstance(effect, Run)]
        if len(runs) > 1:
            share, applied = Share.HALF, await run_batch(applier, self._steps(runs, pin))
            if not applied:
                await self._check_unchanged()
        for effect in batch:
            if isinstance(effect, Run) and effect.migration.version in applied:
                self._done(effect)
            else:
                self._check_draining()
                await self._one(applier, effect, pin, share)

    async def _check_unchanged(self) -> None:
        """Plan no further where another program was at the target while a body had dropped the lock.

        Raises:
            FencedError: It was; look again.
        """
        now = (await self._half.observe(has_table=True)).observed
        if (now.recorded, now.versions) != (self.observed.recorded, self.observed.versions):
            raise FencedError(f"another program changed {self._held.target.name} meanwhile")

    def _steps(self, runs: list[Run], pin: str | None) -> list[Step]:
        """What each migration of a batch leaves behind, once its signature was checked."""
        steps, observed = [], self.observed
        for effect in runs:
            observed = after(observed, effect)
            self._check_warrant(effect)
            steps.append(Step(effect, observed.highest, self._also(effect, pin)))
        return steps

    def _done(self, effect: Run) -> None:
        self.observed = after(self.observed, effect)
        self.applied.append(effect.migration.version)

    def _check_warrant(self, effect: Run) -> None:
        if self.warrant is not None:
            self.warrant.check(effect.migration.up if effect.direction is Direction.UP else effect.migration.down)

    def _also(self, effect: Run, pin: str | None) -> tuple[str, ...]:
        return (*self._lowered(effect), *(() if pin is None else (pin_sql(self._held, pin),)))

    async def _one(self, applier: Applier, effect: Effect, pin: str | None, share: Share) -> None:
        then = after(self.observed, effect)
        if isinstance(effect, Adopt):
            await self._adopt(effect)
        else:
            if self._is_deferred(effect):
                # What the gate waits for is done: nobody need wait for the rest.
                await self.write_readiness()
            self._check_warrant(effect)
            await applier.run(effect, then.highest, self._also(effect, pin), share)
            self.applied.append(effect.migration.version)
        self.observed = then

    async def _adopt(self, effect: Adopt) -> None:
        async with fenced(self._held, "adopting versions"):
            await self._half.adopt(self._held, effect.entries, self._bundle.label, Action.ADOPT)
        self.adopted += len(effect.entries)
        self._held.session.emit(LedgerAdopted(len(effect.entries), effect.entries[-1].version))

    def _is_deferred(self, effect: Run) -> bool:
        up = effect.migration.up
        ungated = effect.direction is Direction.UP and up is not None and up.directives.gate is Gate.OFF
        return ungated and self._written != self.observed

    def _lowered(self, effect: Run) -> tuple[str, ...]:
        """A down lowers readiness in its own transaction, so that it never states what is gone."""
        if effect.direction is Direction.UP:
            return ()
        version = effect.migration.version
        return (lower_readiness_sql(self._held, version, self._statement.met(after(self.observed, effect))),)

    async def finish(self, pin: str | None) -> Readiness:
        """State what is true at the end; in the same transaction the target is pinned, or let go without a `pin`.

        It is pinned with each migration already, but there need not have been one.
        """
        if pin is not None or self._view.observation.pinned is not None:
            return await self.write_readiness(pin_sql(self._held, pin))
        # What the row states is on disk: the last migration's commit waited, or the fence's. The row itself follows
        # with the job's end where that lies in the same database; one that a server's crash takes is written again.
        return await self.write_readiness(QUICKLY_WITHOUT_STANDBY if self._held.session.home is None else "")

    async def write_readiness(self, also: str = "") -> Readiness:
        """Write the row that states what is true now; `also` is SQL that commits together with it."""
        row = await self._statement.state(self.observed, also, self.applied)
        self._written = self.observed
        return row
