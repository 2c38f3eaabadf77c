"""What a person must know within seconds: what goes on, whom it waits for or keeps waiting, and what to do."""

from worker.core.planning.job import JobState
from worker.core.planning.readiness import Requirement
from worker.core.status.drift import Drift
from worker.core.status.fleet_summary import of_fleet
from worker.core.status.probe import probe
from worker.core.status.snapshot import Blocked, LockWait, Running, Snapshot, TargetStatus, Waiting
from worker.core.status.tone import Summary, Tone


def summarise(snapshot: Snapshot, requirement: Requirement | None) -> Summary:
    """Say what matters most; the requirement is the worker's own."""
    return (
        _of_worker(snapshot)
        or of_fleet(snapshot)
        or _of_work(snapshot)
        or _of_trouble(snapshot)
        or next((said for status in snapshot.targets if (said := _of_target(status))), None)
        or _of_readiness(snapshot, requirement)
    )


def _of_worker(snapshot: Snapshot) -> Summary | None:
    if snapshot.database is not None:
        known = "It is tried again by itself" + ("; what is shown below was true before" if snapshot.targets else "")
        tone = Tone.BAD if snapshot.looked_at is not None else Tone.WAITING
        return Summary(tone, "No database", snapshot.database, known)
    if snapshot.draining:
        running = "" if snapshot.running is None else f" when migration {_named(snapshot.running)} is done"
        return Summary(Tone.BUSY, "Stopping", f"The worker was told to stop; it ends{running or ' now'}")
    return None


def _of_work(snapshot: Snapshot) -> Summary | None:
    running, job = snapshot.running, snapshot.job
    if snapshot.lock_wait is not None:
        return _of_lock(snapshot.lock_wait)
    if running is not None and running.waiting is not None:
        return _of_waiting(running, running.waiting)
    if running is not None and running.blocked is not None:
        return _of_blocked(running, running.blocked)
    if job is None and running is None:
        return None
    what = "" if running is None else f"Migration {_named(running)} goes {running.direction}"
    what = f"Migrations {job.together} go up together" if job is not None and job.together else what
    done = "" if job is None else f"{job.done} of {_count(job.total, 'migration')} of bundle {job.bundle} done"
    return Summary(Tone.BUSY, "Applying", "; ".join(filter(None, (what, done))))


def _of_lock(wait: LockWait) -> Summary:
    who = f"{wait.application or 'an unnamed application'} of role {wait.role}, backend {wait.pid}, holds it"
    advice = (
        "Another Tidegate is at work; this one goes on when that has ended"
        if wait.ours
        else f"Let it end, or end it with SELECT pg_terminate_backend({wait.pid})"
    )
    return Summary(Tone.WAITING, "Waiting for its turn", f"The lock of the target is taken: {who}", advice)


def _of_waiting(running: Running, waiting: Waiting) -> Summary:
    detail = f"Migration {_named(running)} waits for {waiting.holder}"
    return Summary(Tone.WAITING, "Waiting for a lock", detail, _sentence(waiting.holder.remedy))


def _of_blocked(running: Running, blocked: Blocked) -> Summary:
    detail = f"Migration {_named(running)} keeps {_count(blocked.sessions, 'session')} of the application waiting"
    advice = (
        "Past the block budget it is cancelled and tried again later, by itself; TIDEGATE_BLOCK_BUDGET is the limit"
    )
    return Summary(Tone.WAITING, "In the application's way", detail, advice)


def _of_trouble(snapshot: Snapshot) -> Summary | None:
    trouble = snapshot.trouble
    needs_person = any(status.state in _STOPPED for status in snapshot.targets)
    if trouble is None or needs_person:
        return None
    return Summary(Tone.BAD, "A person is needed", trouble.message, _sentence(trouble.hint))


_STOPPED = {
    JobState.FAILED: ("A migration failed", "mend it and publish the bundle under another label, or tidegate retry"),
    JobState.REFUSED: ("Refused", "mend what is named, then tidegate retry"),
    JobState.IN_DOUBT: ("In doubt", "look at what the statement did, and answer it"),
}


def _of_target(status: TargetStatus) -> Summary | None:
    if status.state in _STOPPED:
        title, advice = _STOPPED[status.state]
        detail = (
            str(status.failure) if status.failure is not None else status.refusal or "The job's row does not say why"
        )
        return Summary(Tone.BAD, title, detail, _sentence(status.hint or advice))
    if status.dirty:
        return Summary(Tone.BAD, "Dirty", f"The version table says that version {status.version} is half applied")
    if status.paused is not None:
        return Summary(Tone.IDLE, "Left alone", f"{status.target} is {status.paused}", "tidegate resume lets it go on")
    return None


def _of_readiness(snapshot: Snapshot, requirement: Requirement | None) -> Summary:
    if not snapshot.targets:
        return Summary(Tone.IDLE, "Looking", "The target has not been read yet")
    elsewhere = next((status.elsewhere for status in snapshot.targets if status.elsewhere is not None), None)
    if elsewhere is not None:
        detail = "What is wanted of this target is said in another database, the home of a fleet"
        return Summary(Tone.IDLE, "Told elsewhere", detail, _sentence(elsewhere))
    if all(status.wanted is None for status in snapshot.targets):
        advice = "tidegate publish DIRECTORY --label LABEL says what to bring it to"
        return Summary(Tone.IDLE, "Nothing wanted yet", "No bundle is published for this line", advice)
    pending = sum(len(status.pending) for status in snapshot.targets)
    answer = probe(snapshot, requirement, None)
    if not answer.ready:
        return Summary(Tone.WAITING, "Not ready", _sentence(answer.message))
    if pending:
        what = f"{_count(pending, 'migration')} that the gate does not wait for"
        return Summary(Tone.GOOD, "Ready", f"Met: {answer.requirement}; pending: {what}")
    return Summary(Tone.GOOD, "Ready", "; ".join(map(_applied, snapshot.targets)), _drifted(snapshot))


def _drifted(snapshot: Snapshot) -> str:
    found = [status.drift for status in snapshot.targets if isinstance(status.drift, Drift)]
    number = sum(len(drift.differences) for drift in found)
    return f"tidegate status --drift names {_count(number, 'object')} changed by hand" if number else ""


def _applied(status: TargetStatus) -> str:
    version = "" if status.version is None else f", at version {status.version}"
    return f"{status.wanted or 'What was there'} is applied: {_count(status.applied, 'migration')}{version}"


def _named(running: Running) -> str:
    return f"{running.version} {running.name}".strip()


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
