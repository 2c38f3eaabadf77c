"""From a view of a target to the value that status, probes and metrics are made from."""

from worker.core.failure import Failure
from worker.core.job import JobState
from worker.core.snapshot import TargetStatus
from worker.jobs.look import View
from worker.postgres.home_half import Job


def target_status(view: View) -> TargetStatus:
    """What is known of a target that was looked at."""
    observed, job = view.observation.observed, view.job
    recorded = observed.recorded
    versions = () if view.wanted is None else sorted(view.wanted.published.checksums)
    return TargetStatus(
        target=view.survey.target.name,
        line=view.line,
        wanted=None if view.wanted is None else view.wanted.published.label,
        version=None if recorded is None else recorded.version,
        dirty=recorded is not None and recorded.dirty,
        applied=len(observed.ledger),
        pending=tuple(version for version in versions if version not in observed.versions),
        state=None if job is None else job.state,
        paused=view.paused,
        epoch=view.observation.epoch,
        readiness=view.observation.readiness,
        identity=view.survey.identity,
        failure=_failure(job),
        refusal=_refusal(job),
        job_started_at=job.started_at if job is not None and job.state is JobState.RUNNING else None,
    )


def _failure(job: Job | None) -> Failure | None:
    place = None if job is None or job.failure is None else job.failure.get("failure")
    try:
        return None if place is None else Failure(**place)
    except TypeError:
        # A newer program wrote it, or somebody else.
        return None


def _refusal(job: Job | None) -> str | None:
    if job is None or job.failure is None or job.state not in {JobState.REFUSED, JobState.IN_DOUBT}:
        return None
    return str(job.failure.get("message"))
