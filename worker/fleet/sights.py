"""Views of claimed targets: those of one database are looked at together, so that a settled one costs little."""

from collections.abc import Sequence

import anyio

from worker import control_schema
from worker.core.bundles.wanted import wanted
from worker.core.checks.standing import obstacles, obstacles_to_looking
from worker.core.target import Target
from worker.core.value import dataclass
from worker.errors import TidegateError
from worker.jobs.look import Control, View
from worker.postgres.faults import DRIVER_ERRORS, ConnectionLostError
from worker.postgres.fleet import Claim
from worker.postgres.fleet_sight import jobs_of_many, observe_many, surveys
from worker.postgres.home_half import HomeHalf, Row
from worker.postgres.session import Session
from worker.postgres.sight import control_versions
from worker.postgres.survey import Survey

_SECONDS = 2.0
"""A look at many that takes longer, for somebody locks one of their tables, is given up: each is looked at alone."""

_FRESH_SECONDS = 5.0
"""What was seen longer ago is looked at again: rights, and who could interfere, are read in a look alone."""


@dataclass(frozen=True, slots=True)
class Glimpse:
    """A target as it was seen without a lock, and the bundles of its line; `at` is the session's clock then."""

    view: View
    rows: tuple[Row, ...]
    at: float

    def is_of(self, claim: Claim) -> bool:
        """Whether it was seen while the bundle was wanted that the target was claimed for."""
        return self.view.wanted is not None and self.view.wanted.published.id == claim.bundle


class Sights:
    """What was seen of claimed targets, until it is used; a look at many says nothing where one alone would refuse."""

    def __init__(self) -> None:
        self._seen: dict[int, Glimpse | None] = {}
        # One slot looks for all that wait to know: who comes second finds what the first has seen.
        self._looking: dict[str, anyio.Lock] = {}

    async def of(self, session: Session, claim: Claim, others: Sequence[Claim]) -> Glimpse | None:
        """What is seen of a claim; `others` are claimed too, and are looked at with it where they lie beside it."""
        async with self._looking.setdefault(claim.database, anyio.Lock()):
            if not self._knows(claim, session.clock()):
                beside = (each for each in others if _is_beside(each, claim))
                near = (claim, *(each for each in beside if not self._knows(each, session.clock())))
                seen = await glimpses(session, near)
                self._seen |= dict.fromkeys((each.id for each in near), None) | seen
            glimpse = self._seen.pop(claim.id)
            return glimpse if glimpse is not None and glimpse.is_of(claim) else None

    def _knows(self, claim: Claim, now: float) -> bool:
        """Whether it was looked at, and what was seen is still of use."""
        glimpse = self._seen.get(claim.id)
        if glimpse is None:
            return claim.id in self._seen
        return glimpse.is_of(claim) and now - glimpse.at < _FRESH_SECONDS

    def forget(self, claims: Sequence[Claim]) -> None:
        """They are given back."""
        for claim in claims:
            self._seen.pop(claim.id, None)


def _is_beside(one: Claim, other: Claim) -> bool:
    return one is not other and (one.database, one.line) == (other.database, other.line)


async def glimpses(session: Session, claims: Sequence[Claim]) -> dict[int, Glimpse | None]:
    """Look at claims of one database and line, by their ids; what is not there has to be looked at alone.

    Raises:
        ConnectionLostError: The connection broke.
    """
    with anyio.move_on_after(_SECONDS):
        try:
            return await _looked(session, claims)
        except ConnectionLostError:
            raise
        except (TidegateError, *DRIVER_ERRORS):
            if session.conn.is_closed():
                raise
    return {}


async def _looked(session: Session, claims: Sequence[Claim]) -> dict[int, Glimpse | None]:
    at, found = session.clock(), await surveys(session, [claim.target for claim in claims])
    fit = {target: seen for target, seen in found.items() if _is_fit(seen)}
    if not fit or not control_schema.covers(session, await control_versions(session)):
        return {}
    rows = await HomeHalf(session, claims[0].line).bundles()
    head = wanted([row.published for row in rows])
    row = next((each for each in rows if each.published == head), None)
    if row is None:
        return {}
    jobs = await jobs_of_many(session, [claim.name for claim in claims], row.published.id)
    observed = await observe_many(session, fit.values())

    def view(target: Target, name: str) -> View:
        own, job = jobs[name]
        return View(fit[target], Control.CURRENT, own.line, observed[target.name], row, own, job)

    return {
        claim.id: Glimpse(view(claim.target, claim.name), rows, at)
        for claim in claims
        if claim.target in fit and claim.name in jobs and jobs[claim.name][0].line == claim.line
    }


def _is_fit(seen: Survey) -> bool:
    return not (obstacles_to_looking(seen.standing) or obstacles(seen.standing))
