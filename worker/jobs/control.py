"""Has the control schema made or upgraded, and trusts none that somebody else made meanwhile."""

from collections.abc import Callable

from worker import control_schema
from worker.control_schema import Found
from worker.core.bundles.bundle import Bundle
from worker.jobs.look import Control, View, look
from worker.jobs.preflight import check_standing
from worker.jobs.site import Site
from worker.postgres.session import Session


async def have_control(
    session: Session, site: Site, view: View, given: Bundle | None, also: Callable[[], tuple[str, ...]] = tuple
) -> bool:
    """Have a control schema that is as new as this program, where the view showed none or an older one.

    Returns whether all of it was made here, and what `also` gives with it (`control_schema.ensure`).

    Raises:
        RefusedError: The role may not write there, or somebody else's objects are there; names the SQL to run.
        TimedOutError: Another worker was at it for longer than the limit.
    """
    if view.control is Control.CURRENT:
        return False
    found = Found.SOMETHING if view.survey.has_control else Found.NOTHING
    is_made = await control_schema.ensure(session, site.limits, site.readers, found, also)
    if not is_made:
        # A trigger that a stranger put there would run with this role's rights at the first write.
        check_standing((await look(session, site, given)).survey.standing)
    return is_made
