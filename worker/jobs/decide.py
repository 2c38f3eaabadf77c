"""Decides what a request comes to at a target as it was seen: nothing, to leave it alone, to mend its row, or to work.

The same decision is made three times: from an unlocked look, under the lock, and again once the fence is raised. Only
the last one leads to a write.
"""

from dataclasses import dataclass, replace
from enum import Enum

from worker.core.bundle import Bundle
from worker.core.job import SETTLED, JobState
from worker.core.plan import Plan, Refused, UpToDate, plan
from worker.jobs.look import View, is_wanted, order_of
from worker.jobs.readiness import is_settled, is_stale
from worker.jobs.site import LATEST, Insistence, Request, Result, Site

_PASSING = frozenset({"dirty", "version_table", "diverged", "unrelated", "checksum", "order"})
"""Reasons of a plan that refuses: they go away with their cause, and so does the refusal."""


class Act(Enum):
    """What to do; `STAMP` writes the readiness row and nothing else."""

    NOTHING = "nothing"
    STAMP = "stamp"
    WORK = "work"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do; `result` and `why` say what to report where nothing is worked on, `bundle` what was decided with."""

    act: Act
    result: Result
    why: str | None = None
    bundle: Bundle | None = None


def decide_early(site: Site, request: Request, view: View, given: Bundle | None) -> Decision | None:
    """Decide without a bundle's files, where that can be done; `given` is the bundle to apply whatever is wanted."""
    if given is None and view.wanted is None:
        return _left(view, Result.NOTHING_WANTED, f"nothing is published on {view.line}")
    if request.insistence is Insistence.ROUND and view.paused is not None:
        return _left(view, Result.LEFT_ALONE, view.paused)
    if given is None and _asks_for_all(request, view) and is_settled(view, site):
        return Decision(Act.NOTHING, Result.UP_TO_DATE)
    return None


def decide(site: Site, request: Request, view: View, bundle: Bundle) -> Decision:
    """Decide with the bundle at hand."""
    if request.insistence is Insistence.ROUND:
        decided = plan(bundle, view.observation.observed, order_of(site, bundle), request.goal)
        if (why := why_waiting(view, decided)) is not None:
            return replace(_left(view, Result.LEFT_ALONE, why), bundle=bundle)
    elif _asks_for_all(request, view) and _is_done(bundle, view, site):
        return Decision(Act.NOTHING, Result.UP_TO_DATE, bundle=bundle)
    return Decision(Act.WORK, Result.UP_TO_DATE, bundle=bundle)


def _asks_for_all(request: Request, view: View) -> bool:
    """Tell that all of a bundle is asked for, and that there is no pin which that would end."""
    return request.goal == LATEST and (request.pin is not None or view.observation.pinned is None)


def _is_done(given: Bundle, view: View, site: Site) -> bool:
    """Tell that a bundle is applied, wanted or not, and that the row says what is true: an older image, for one."""
    if view.observation.readiness is None or is_stale(view):
        return False
    done = isinstance(plan(given, view.observation.observed, order_of(site, given), LATEST), UpToDate)
    return done and (is_settled(view, site) or not is_wanted(view, given))


def why_waiting(view: View, decided: Plan) -> str | None:
    """Why a worker does not try again: the job waits for a person, and what stopped it is still so."""
    job = view.job
    if job is None or job.state not in SETTLED or isinstance(decided, UpToDate):
        return None
    passing = job.state is JobState.REFUSED and (job.failure or {}).get("reason") in _PASSING
    if passing and not isinstance(decided, Refused):
        return None
    return f"its job is {job.state.value}; it waits for tidegate retry, or for another bundle"


def _left(view: View, result: Result, why: str) -> Decision:
    """Nothing is applied; but a row that states what is no longer so keeps every gate closed, or one open."""
    return Decision(Act.STAMP if is_stale(view) else Act.NOTHING, result, why)
