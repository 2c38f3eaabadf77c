"""Takes the catalogue's fingerprint when a job ends, and remembers at its begin what was changed by hand before."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from worker.core.events.drift_events import FingerprintSkipped
from worker.core.planning.plan import Adopt, Effect
from worker.core.status.drift import Verdict
from worker.core.status.fingerprint import State, agrees, deviating, incomparable, untouched
from worker.errors import RefusedError, TidegateError
from worker.jobs.amend import current, holding
from worker.jobs.drift import find_drift
from worker.jobs.look import View, look
from worker.jobs.site import Site
from worker.postgres.catalogue import Catalogue
from worker.postgres.faults import ConnectionLostError, FencedError
from worker.postgres.lock import Held
from worker.postgres.session import Session
from worker.postgres.target_half import TargetHalf


async def remember(held: Held, effects: Iterable[Effect], state: State | None) -> None:
    """Mark what is not right before a job: unless the job touches it, it is not right afterwards either.

    What golang-migrate applied meanwhile is to be taken over, and is no drift. `state` is how the catalogue stands to
    its fingerprint, None where that was not read since the fence was raised.
    """
    if any(isinstance(effect, Adopt) for effect in effects):
        return
    catalogue = Catalogue(held.session)
    async with _dispensable(held):
        state = state or await catalogue.known()
        if state is None or state.fingerprint is None or incomparable(state) is not None or agrees(state):
            return
        async with catalogue.looking():
            found = deviating(await catalogue.differences(), state.fingerprint)
        if found or state.marked:
            async with catalogue.taking(held):
                await catalogue.mark(found, state.fingerprint.bundle)


async def take(held: Held, bundle: str, also: str = "") -> bool:
    """Take the catalogue as right after this bundle, unless that was done already or a migration is half done.

    `also` is SQL that commits together with it; returns whether it was committed.
    """
    catalogue, is_committed = Catalogue(held.session), False
    async with _dispensable(held):
        async with catalogue.taking(held) as last:
            state = await catalogue.state()
            if state is not None and not state.half_done and state.ledger != state.ledger_now:
                kept = untouched(await catalogue.marks(), await catalogue.differences()) if state.marked else ()
                last.append(catalogue.take(held, bundle, kept))
            if also:
                last.append(also)
        is_committed = True
    return is_committed  # noqa: RET504  `_dispensable` may have ended the block before


async def accept(session: Session, site: Site) -> tuple[str, Verdict]:
    """Take the catalogue as right whatever was changed by hand; returns the target, and what was drift until then.

    Raises:
        RefusedError: A migration is under way, so that nothing is right yet; or a privilege is missing.
        TimedOutError: The lock was not free in time.
        FencedError: Another worker has taken the target over.
    """
    view = await current(session, site, await look(session, site), None)
    async with holding(session, site, view) as held:
        view = await look(session, site)
        if view.observation.observed.progress is not None:
            raise RefusedError(
                f"a migration of {held.target.name} is half done",
                hint="tidegate up goes on with it, and takes the fingerprint at its end",
                reason="half_done",
            )
        was, catalogue = await find_drift(held.session, view), Catalogue(held.session)
        async with catalogue.taking(held) as last:
            last.append(catalogue.take(held, await _label(held, view), ()))
    return held.target.name, was


async def _label(held: Held, view: View) -> str:
    """The bundle that the highest applied version was recorded from."""
    highest, recorded = view.observation.observed.highest, await TargetHalf(held.session, held.target).recorded_from()
    return "none" if highest is None else recorded[highest]


@asynccontextmanager
async def _dispensable(held: Held) -> AsyncIterator[None]:
    """Let a job go on without a fingerprint; a lost connection or epoch is the job's own affair."""
    try:
        yield
    except (ConnectionLostError, FencedError):
        raise
    except TidegateError as error:
        held.session.emit(FingerprintSkipped(error.message))
