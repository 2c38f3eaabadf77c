"""Gathers what decides about a request at a target as it was seen, and has the core decide."""

from typing import TYPE_CHECKING

from worker.core.bundles.bundle import Bundle
from worker.core.planning.plan import Plan
from worker.core.planning.reconcile import Action, Asked, JobSeen, Row, Scope, Seen, Subject, next_action
from worker.core.value import dataclass
from worker.jobs.look import View, is_wanted
from worker.jobs.readiness import is_settled, is_stale
from worker.jobs.site import LATEST, Request, Result, Site

if TYPE_CHECKING:
    from worker.jobs.work import Work


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do; `result` and `why` say what to report where nothing is worked on, `work` what it is otherwise."""

    action: Action
    result: Result
    why: str | None = None
    work: "Work | None" = None


def decide_early(site: Site, request: Request, view: View, given: Bundle | None) -> Decision | None:
    """Decide without a bundle's files, where that can be done; `given` is the bundle to apply whatever is wanted."""
    decision = _decision(request, view, _seen(site, view, given, None), None)
    return None if decision.action is Action.PLAN else decision


def decide(site: Site, request: Request, view: View, given: Bundle | None, work: "Work") -> Decision:
    """Decide with a plan, made with the given bundle or else with the wanted one."""
    return _decision(request, view, _seen(site, view, given, work.plan), work)


def _decision(request: Request, view: View, seen: Seen, work: "Work | None") -> Decision:
    decided = next_action(Asked(request.insistence, _scope(request, view)), seen)
    if decided.why is None:
        return Decision(decided.action, Result.UP_TO_DATE, work=work)
    result = Result.NOTHING_WANTED if seen.subject is Subject.NOTHING else Result.LEFT_ALONE
    why = _unwanted(view, decided.why) if seen.subject is Subject.NOTHING else decided.why
    return Decision(decided.action, result, why, work)


def _unwanted(view: View, why: str) -> str:
    if view.elsewhere is None:
        return f"{why} on {view.line}"
    return f"what is wanted is said in another database, the home of a fleet: {view.elsewhere}"


def _scope(request: Request, view: View) -> Scope:
    lets_go = request.pin is None and view.observation.pinned is not None
    return Scope.ALL if request.goal == LATEST and not lets_go else Scope.BESIDES


def _seen(site: Site, view: View, given: Bundle | None, decided: Plan | None) -> Seen:
    job = None if view.job is None else JobSeen(view.job.state, (view.job.failure or {}).get("reason"))
    return Seen(_subject(view, given), _row(site, view, given), view.paused, job, decided)


def _subject(view: View, given: Bundle | None) -> Subject:
    if given is not None:
        return Subject.WANTED if is_wanted(view, given) else Subject.OTHER
    return Subject.NOTHING if view.wanted is None else Subject.WANTED


def _row(site: Site, view: View, given: Bundle | None) -> Row:
    if view.observation.readiness is None:
        return Row.MISSING
    if is_stale(view):
        return Row.STALE
    return Row.SETTLED if _is_itself(view, given) and is_settled(view, site) else Row.TRUE


def _is_itself(view: View, given: Bundle | None) -> bool:
    """Tell that the wanted bundle's row has the files that were given, if any were: others can write it."""
    return given is None or (view.wanted is not None and view.wanted.published.checksums == given.checksums)
