"""One job under the lock: brings a plan's effects about, and states in the readiness row what came of them."""

from worker.applier.run import Applier
from worker.core.assess import Wanted, assess
from worker.core.bundle import Bundle, OrderPolicy
from worker.core.events import LedgerAdopted, ReadinessSet
from worker.core.migration import Direction, Gate
from worker.core.plan import Adopt, Effect, Observed, Pending, Run, after
from worker.core.readiness import Readiness, served_bundles
from worker.jobs.look import View
from worker.jobs.site import Site
from worker.postgres.home_half import Row
from worker.postgres.lock import Held
from worker.postgres.target_half import TargetHalf, lower_readiness_sql, pin_sql


class Execution:
    """The effects on one held target, in order; `observed` is what its database says by now."""

    def __init__(self, held: Held, site: Site, view: View, bundle: Bundle, rows: tuple[Row, ...]) -> None:
        self._held = held
        self._view = view
        self._rows = rows
        self._bundle = bundle
        self._half = TargetHalf(held.session, held.target)
        self._applier = Applier(held, bundle.label, site.limits)
        self._wanted = _wanted(view.wanted, site.order or bundle.manifest.order, view.observation.observed)
        self._written: Observed | None = None
        self.observed = view.observation.observed
        self.applied: list[int] = []
        self.adopted = 0

    async def run(self, pending: Pending, pin: str | None) -> None:
        """Bring the effects about, one after the other; `pin` goes into each one's transaction."""
        if not self._view.survey.has_table:
            await self._half.ensure_version_table()
        for effect in pending.effects:
            await self._one(effect, pin)

    async def _one(self, effect: Effect, pin: str | None) -> None:
        then = after(self.observed, effect)
        if isinstance(effect, Adopt):
            await self._adopt(effect)
        else:
            if self._is_deferred(effect):
                # What the gate waits for is done: nobody need wait for the rest.
                await self.write_readiness()
            also = (*self._lowered(effect), *(() if pin is None else (pin_sql(self._held, pin),)))
            await self._applier.run(effect, then.highest, also)
            self.applied.append(effect.migration.version)
        self.observed = then

    async def _adopt(self, effect: Adopt) -> None:
        await self._half.adopt(self._held, effect.entries, self._bundle.label, "adopt")
        self.adopted += len(effect.entries)
        self._held.session.emit(LedgerAdopted(len(effect.entries), effect.entries[-1].version))

    def _is_deferred(self, effect: Run) -> bool:
        up = effect.migration.up
        ungated = effect.direction is Direction.UP and up is not None and up.directives.gate is Gate.OFF
        return ungated and self._written != self.observed

    def _lowered(self, effect: Run) -> tuple[str, ...]:
        """A down lowers readiness in its own transaction, before the schema that it takes away is gone."""
        if effect.direction is Direction.UP:
            return ()
        left = self.observed.versions - {effect.migration.version}
        bundles = served_bundles(_required(self._rows), left, None if self._wanted is None else self._wanted.serves)
        return (lower_readiness_sql(self._held, effect.migration.version, bundles),)

    async def write_readiness(self) -> Readiness:
        """Write the row that states what is true now."""
        row = assess(self._wanted, _required(self._rows), self.observed, self._view.survey.identity, self._held.epoch)
        wanted = self._view.wanted
        seconds = await self._half.write_readiness(self._held, row, None if wanted is None else wanted.wanted_at)
        self._written = self.observed
        fresh = seconds if self.applied and row.lowest_pending is None else None
        self._held.session.emit(ReadinessSet(row.bundle or "", self.observed.highest, row.lowest_pending, fresh))
        return row

    async def unpin(self) -> None:
        """Let a pinned target go."""
        if self._view.observation.pinned is not None:
            await self._half.pin(self._held, None)


def _required(rows: tuple[Row, ...]) -> dict[str, tuple[int, ...]]:
    return {row.published.label: row.required for row in rows}


def _wanted(row: Row | None, order: OrderPolicy | None, observed: Observed) -> Wanted | None:
    if row is None:
        return None
    floor = observed.highest if order is OrderPolicy.SKIP else None
    versions = tuple(v for v in sorted(row.published.checksums) if floor is None or v > floor or v in observed.versions)
    return Wanted(row.published.label, versions, frozenset(row.required), row.serves)
