"""What became of a target that was claimed, from what bringing it came to."""

from worker.core.backoff import Backoff
from worker.errors import InDoubtError, MigrationFailedError, NoDatabaseError, TidegateError, TimedOutError
from worker.fleet.seats import Seats
from worker.fleet.terms import Terms, Until
from worker.jobs.site import Report, Result
from worker.postgres.faults import ConnectionLostError, FencedError
from worker.postgres.fleet import GIVEN_UP_SECONDS, Claim, Done, End, Problem

BAD = frozenset({End.FAILED, End.REFUSED, End.IN_DOUBT})
"""The ends that a person has to look at, and that the error budget counts."""

_AGAIN = Backoff(first=0.5, ceiling=15.0)
_ATTEMPTS = 6
_AWAY = Problem("no_database", "its database cannot be reached", "see the other targets of that database")


def end_of(error: TidegateError) -> End:
    """How an error leaves a target."""
    match error:
        case MigrationFailedError():
            return End.FAILED
        case InDoubtError():
            return End.IN_DOUBT
        case FencedError() | ConnectionLostError():
            return End.INTERRUPTED
        case NoDatabaseError():
            return End.UNREACHABLE
        case TimedOutError():
            return End.WAITING
        case _:
            return End.REFUSED


def unsettled(claim: Claim) -> Done:
    """A target that is given back as it was."""
    return Done(claim, End.INTERRUPTED, settles=False)


def out_of_reach(claim: Claim) -> Done:
    """A target whose database is known to be away."""
    return Done(claim, End.UNREACHABLE, _AWAY, settles=False)


def reported(claim: Claim, report: Report) -> Done:
    """A target that was brought, or left alone."""
    if report.result in {Result.APPLIED, Result.UP_TO_DATE}:
        return Done(claim, End.SUCCEEDED)
    why = report.why or "nothing is published"
    return Done(claim, End.LEFT_ALONE, Problem("left_alone", why, "tidegate resume, or retry, says go on"))


class Ends:
    """Remembers which targets were cut or had to wait, so that they are tried again, and at last given up."""

    def __init__(self, terms: Terms, seats: Seats) -> None:
        self._terms = terms
        self._seats = seats
        self._attempts: dict[int, int] = {}

    def is_again(self, claim: Claim) -> bool:
        """Whether an attempt at the target was cut or had to wait."""
        return claim.id in self._attempts

    def came_through(self, claim: Claim) -> None:
        """A target came to an end."""
        self._attempts.pop(claim.id, None)
        self._seats.reached(claim.database)

    def failed(self, claim: Claim, error: TidegateError) -> Done:
        """A target that an error ended."""
        end, problem = end_of(error), Problem(error.reason, error.message, error.hint)
        if end in BAD:
            self.came_through(claim)
            return Done(claim, end, problem)
        if end is End.UNREACHABLE:
            self._seats.missed(claim.database)
            return Done(claim, end, problem, settles=False)
        step = 1 if end is End.INTERRUPTED else _ATTEMPTS
        tried = self._attempts[claim.id] = self._attempts.get(claim.id, 0) + step
        if self._terms.until is Until.DONE and tried >= _ATTEMPTS:
            end = End.UNREACHABLE if end is End.INTERRUPTED else end
            return Done(claim, end, problem, settles=False, pause=GIVEN_UP_SECONDS)
        pause = _AGAIN.delay(tried, self._terms.jitter())
        return Done(claim, end, None if end is End.INTERRUPTED else problem, settles=False, pause=pause)
