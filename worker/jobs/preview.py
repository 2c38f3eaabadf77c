"""What a goal would come to, found by a look and changing nothing."""

from worker.core.bundles.bundle import Bundle
from worker.core.planning.plan import Effect, Goal, Pending, Refused, Run
from worker.core.value import dataclass
from worker.jobs.look import View, is_wanted, look
from worker.jobs.offer import check, refused
from worker.jobs.site import Site
from worker.jobs.work import required_at_hand, work_out
from worker.postgres.session import Session


@dataclass(frozen=True, slots=True)
class Preview:
    """The target as it was seen, the bundle in question, and what would be done; no effects where nothing would."""

    view: View
    bundle: Bundle
    effects: tuple[Effect, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """The effects that run a migration."""
        return tuple(effect for effect in self.effects if isinstance(effect, Run))


async def preview(session: Session, site: Site, given: Bundle | None, goal: Goal) -> Preview:
    """Plan for the given bundle, which would be offered first, else for the wanted one.

    Raises:
        RefusedError: There is neither, or nothing may be done, and why.
        BundleError: A file that is pending cannot be run as SQL.
    """
    view = await look(session, site, given)
    bundle = await required_at_hand(session, site, view, given)
    if given is not None and not is_wanted(view, given):
        check(given, view, site)
    decided = (await work_out(session, site, view, bundle, goal)).plan
    if isinstance(decided, Refused):
        raise refused(decided, view.survey.target)
    return Preview(view, bundle, decided.effects if isinstance(decided, Pending) else ())
