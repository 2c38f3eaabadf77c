"""Compares a target's database with its fingerprint; writes nothing."""

from collections.abc import Callable

from worker.core.planning.assess import version_table
from worker.core.planning.readiness import VersionTable
from worker.core.status.drift import Unknown, Verdict, drift, latest, news
from worker.core.status.fingerprint import agrees, incomparable
from worker.errors import TidegateError
from worker.jobs.look import View
from worker.postgres.catalogue import Catalogue
from worker.postgres.faults import ConnectionLostError
from worker.postgres.session import Session


async def find_drift(session: Session, view: View) -> Verdict:
    """Tell what differs from what the last job left, or why that cannot be said now.

    Raises:
        ConnectionLostError: The connection broke.
        RefusedError: The role may not read the fingerprint.
        TimedOutError: Somebody holds a lock that the comparison needs.
    """
    if not view.has_control:
        return Unknown("there is no control schema yet")
    if version_table(view.observation.observed) is not VersionTable.CLEAN:
        return Unknown("another program moved the version table, and what it did to the schema is not known")
    return await _compared(Catalogue(session))


async def _compared(catalogue: Catalogue) -> Verdict:
    async with catalogue.looking():
        state = await catalogue.state()
        why = incomparable(state)
        if why is not None or state is None or state.fingerprint is None:
            return Unknown(why or "")
        found = () if agrees(state) else await catalogue.differences()
        # A job may have committed since the state was read: then what differs is its work.
        if found and await catalogue.state() != state:
            return Unknown("a job ended while the catalogue was compared")
    return drift(state.fingerprint, found)


class DriftWatch:
    """Looks for drift every `interval` seconds, None for never, and at once where a job has changed the target.

    `clock` gives monotonic seconds, `jitter` numbers in [0, 1).
    """

    def __init__(self, interval: float | None, clock: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._interval = interval
        self._clock = clock
        self._jitter = jitter
        self._due = clock()
        self._seen: object = None
        self._verdict: Verdict | None = None
        self._known: Verdict | None = None

    async def look(self, session: Session, view: View) -> Verdict | None:
        """What is known of drift by now; tells once what is new about it.

        Raises:
            ConnectionLostError: The connection broke.
        """
        job, observation = view.job, view.observation
        seen = (observation.epoch, observation.observed, None if job is None else job.state)
        if self._interval is not None and (self._clock() >= self._due or seen != self._seen):
            self._verdict = await _verdict(session, view)
            for event in news(self._known, self._verdict):
                session.bind(target=view.survey.target.name).emit(event)
            self._known = latest(self._known, self._verdict)
            self._seen, self._due = seen, self._clock() + self._interval * (0.75 + self._jitter() / 2)
        return self._verdict


async def _verdict(session: Session, view: View) -> Verdict:
    try:
        return await find_drift(session, view)
    except ConnectionLostError:
        raise
    except TidegateError as error:
        return Unknown(error.message)
