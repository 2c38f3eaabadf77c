"""Adopt: a person has the ledger follow a version table that another program moved."""

from dataclasses import replace

from worker.core.bundles.bundle import Bundle
from worker.core.events.events import LedgerAdopted
from worker.core.planning.adoption import Accept, accept
from worker.core.planning.plan import Observed, Refused, UpToDate
from worker.core.target import Target
from worker.core.value import dataclass
from worker.jobs.amend import amending, current, holding
from worker.jobs.look import View, look, look_settled
from worker.jobs.offer import refused
from worker.jobs.site import Site
from worker.jobs.work import at_hand
from worker.postgres.lock import Held
from worker.postgres.session import Session
from worker.postgres.target_half import Action

PIN = "admin adopt"


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was done; `version` is the version table's, `pinned` what the target was pinned by."""

    target: Target
    version: int | None
    adopted: tuple[int, ...] = ()
    forgotten: tuple[int, ...] = ()
    pinned: str | None = None


async def adopt(session: Session, site: Site, given: Bundle | None = None) -> Adopted:
    """Bring the ledger in step with the version table, which is taken for true and left as it is.

    Moved up: the versions of the bundle at hand up to there are recorded as adopted. Moved back: the ledger forgets
    what is above, and the target is pinned, so that no worker undoes at once what a person did. All of it commits
    together with the readiness row; where there is nothing to do, nothing is written.

    Raises:
        RefusedError: The version table is dirty, a migration is half done, or no bundle says what was applied.
        TimedOutError: The lock was not free in time.
        FencedError: Another worker has taken the target over.
    """
    view = await look_settled(session, site, given)
    if await _decide(session, site, view, given) is None:
        return _nothing(view)
    view = await current(session, site, view, given)
    async with holding(session, site, view) as held:
        view = await look(session, site, given)
        decided = await _decide(session, site, view, given)
        # Another person may have done it meanwhile.
        return _nothing(view) if decided is None else await _follow(held, site, view, given, decided)


async def _decide(session: Session, site: Site, view: View, given: Bundle | None) -> Accept | None:
    decided = accept(await at_hand(session, site, view, given), view.observation.observed)
    if isinstance(decided, Refused):
        raise refused(decided, view.survey.target)
    return None if isinstance(decided, UpToDate) else decided


async def _follow(held: Held, site: Site, view: View, given: Bundle | None, decided: Accept) -> Adopted:
    bundle = await at_hand(held.session, site, view, given)
    version, pin = _version(view), PIN if decided.forgotten else None
    async with amending(held, site, view, "adopting versions", _followed(view, decided)) as half:
        await half.forget_above(held, version, Action.ADOPT)
        await half.adopt(held, decided.adopted, "" if bundle is None else bundle.label, Action.ADOPT)
        if pin is not None:
            await half.pin(held, pin)
    if decided.adopted:
        held.session.emit(LedgerAdopted(len(decided.adopted), decided.adopted[-1].version))
    adopted, forgotten = ([entry.version for entry in part] for part in (decided.adopted, decided.forgotten))
    return Adopted(view.survey.target, version, tuple(adopted), tuple(forgotten), pin)


def _followed(view: View, decided: Accept) -> Observed:
    observed, gone = view.observation.observed, {entry.version for entry in decided.forgotten}
    kept = (*(entry for entry in observed.ledger if entry.version not in gone), *decided.adopted)
    return replace(observed, ledger=tuple(sorted(kept, key=lambda entry: entry.version)))


def _nothing(view: View) -> Adopted:
    return Adopted(view.survey.target, _version(view))


def _version(view: View) -> int | None:
    recorded = view.observation.observed.recorded
    return None if recorded is None else recorded.version
