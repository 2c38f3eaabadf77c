"""From a view of a target to the value that status, probes and metrics are made from."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from worker.core.bundles.migration import Direction, parse_file_name
from worker.core.events.failure import Failure
from worker.core.planning.job import JobState
from worker.core.status.snapshot import Panorama, TargetStatus
from worker.jobs.look import View
from worker.postgres.job_row import Job
from worker.postgres.panorama import Shown, read_panorama
from worker.postgres.session import Session

_STOPPED = frozenset({JobState.FAILED, JobState.REFUSED, JobState.IN_DOUBT})


def target_status(view: View, panorama: Panorama | None = None) -> TargetStatus:
    """What is known of a target that was looked at."""
    observed, job = view.observation.observed, view.job
    recorded, applied = observed.recorded, observed.versions
    pending = [version for version in _versions(view) if version not in applied]
    names = _names(view)
    return TargetStatus(
        target=view.survey.target.name,
        line=view.line,
        wanted=None if view.wanted is None else view.wanted.published.label,
        version=None if recorded is None else recorded.version,
        dirty=recorded is not None and recorded.dirty,
        applied=len(applied),
        pending=tuple(pending),
        state=None if job is None else job.state,
        paused=view.paused,
        epoch=view.observation.epoch,
        readiness=view.observation.readiness,
        identity=view.survey.identity,
        failure=_failure(job),
        refusal=_refusal(job),
        job_started_at=job.started_at if job is not None and job.state is JobState.RUNNING else None,
        names=tuple(names.get(version, "") for version in pending),
        hint=_text(_said(job).get("hint")) or None,
        panorama=panorama,
        elsewhere=view.elsewhere,
    )


async def panorama_of(session: Session, view: View, name: str | None = None) -> Panorama | None:
    """What is shown besides, read in one query; None where there is no control schema, or it may not be read.

    `name` is what the home half calls the target; where that half lies elsewhere, the bundles are read there.
    """
    if not view.has_control:
        return None
    shown = Shown.WHOLE if session.home is None and view.has_home else Shown.TARGET_HALF
    found = await read_panorama(session, view.survey, view.line, shown)
    if session.home is None or found is None:
        return found
    at_home = await read_panorama(session.at_home, view.survey, view.line, name=name)
    return None if at_home is None else replace(found, bundles=at_home.bundles)


def _versions(view: View) -> list[int]:
    return [] if view.wanted is None else sorted(view.wanted.published.checksums)


def _names(view: View) -> dict[int, str]:
    files = () if view.wanted is None else map(parse_file_name, view.wanted.names)
    return {file.version: file.name for file in files if file is not None and file.direction is Direction.UP}


def _said(job: Job | None) -> Mapping[str, Any]:
    """What the job's row says of why it stopped."""
    return {} if job is None or job.failure is None or job.state not in _STOPPED else job.failure


def _failure(job: Job | None) -> Failure | None:
    place = None if job is None or job.failure is None else job.failure.get("failure")
    try:
        found = None if place is None else Failure(**place)
    except TypeError:
        # A newer program wrote it, or somebody else.
        return None
    return None if found is None or not _is_sound(found) else found


def _is_sound(found: Failure) -> bool:
    """Whether its values are of the types that they should be: they come from a document that others may write."""
    texts, optional = (found.file, found.message), (found.sqlstate, found.hint)
    numbers = (found.line, found.column)
    return (
        all(isinstance(one, str) for one in texts)
        and all(isinstance(one, str | None) for one in optional)
        and all(isinstance(one, int | None) for one in numbers)
    )


def _text(found: object) -> str | None:
    return found if isinstance(found, str) else None


def _refusal(job: Job | None) -> str | None:
    if job is None or job.state is JobState.FAILED:
        return None
    return _text(_said(job).get("message"))
