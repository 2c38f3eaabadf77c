"""Gathers what decides about a request at a target as it was seen, and has the core decide."""

from dataclasses import dataclass

from worker.core.bundle import Bundle
from worker.core.plan import Plan, plan
from worker.core.reconcile import Action, Asked, JobSeen, Row, Scope, Seen, Subject, next_action
from worker.jobs.look import View, is_wanted, order_of
from worker.jobs.readiness import is_settled, is_stale
from worker.jobs.site import LATEST, Request, Result, Site


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do; `result` and `why` say what to report where nothing is worked on, `bundle` what was decided with."""

    action: Action
    result: Result
    why: str | None = None
    bundle: Bundle | None = None


def decide_early(site: Site, request: Request, view: View, given: Bundle | None) -> Decision | None:
    """Decide without a bundle's files, where that can be done; `given` is the bundle to apply whatever is wanted."""
    decision = _decision(request, view, _seen(site, view, given, None), None)
    return None if decision.action is Action.PLAN else decision


def decide(site: Site, request: Request, view: View, given: Bundle | None, bundle: Bundle) -> Decision:
    """Decide with the bundle at hand: the given one, or else the wanted one."""
    decided = plan(bundle, view.observation.observed, order_of(site, bundle), request.goal)
    return _decision(request, view, _seen(site, view, given, decided), bundle)


def _decision(request: Request, view: View, seen: Seen, bundle: Bundle | None) -> Decision:
    decided = next_action(Asked(request.insistence, _scope(request, view)), seen)
    if decided.why is None:
        return Decision(decided.action, Result.UP_TO_DATE, bundle=bundle)
    result = Result.NOTHING_WANTED if seen.subject is Subject.NOTHING else Result.LEFT_ALONE
    why = f"{decided.why} on {view.line}" if seen.subject is Subject.NOTHING else decided.why
    return Decision(decided.action, result, why, bundle)


def _scope(request: Request, view: View) -> Scope:
    lets_go = request.pin is None and view.observation.pinned is not None
    return Scope.ALL if request.goal == LATEST and not lets_go else Scope.BESIDES


def _seen(site: Site, view: View, given: Bundle | None, decided: Plan | None) -> Seen:
    job = None if view.job is None else JobSeen(view.job.state, (view.job.failure or {}).get("reason"))
    return Seen(_subject(view, given), _row(site, view), view.paused, job, decided)


def _subject(view: View, given: Bundle | None) -> Subject:
    if given is not None:
        return Subject.WANTED if is_wanted(view, given) else Subject.OTHER
    return Subject.NOTHING if view.wanted is None else Subject.WANTED


def _row(site: Site, view: View) -> Row:
    if view.observation.readiness is None:
        return Row.MISSING
    if is_stale(view):
        return Row.STALE
    return Row.SETTLED if is_settled(view, site) else Row.TRUE
