"""The status document: what `/status.json` serves, as plain values for a JSON encoder.

Format 1. Fields may be added; none changes its meaning or goes away within a major version. Times are UTC in
ISO 8601 with a final `Z`; what is not known is null.

| field | meaning |
| --- | --- |
| `format` | 1 |
| `worker`, `version` | this worker's name, and the program's version |
| `started_at`, `at` | when the worker began, and when all of this was true |
| `database` | null while the database can be reached, else why not |
| `draining`, `listening`, `holds_lock` | the worker is stopping; LISTEN is in place; it holds the lock |
| `running` | null, or `version`, `name`, `mode`, `segment`, `segments`, `started_at` of the migration that runs |
| `targets` | one object for each target, as below |

A target: `target`, `line`, `wanted` (a bundle's label), `version` and `dirty` (the version table's), `applied`
(how many), `pending` (versions), `state` (of its job), `paused` (why), `epoch`, `job_started_at`, `refusal`,
`identity` (`system_identifier` as text, since it exceeds what a JSON number can safely hold, and `database_oid`),
`readiness` (null, or the fields of the readiness row, with an `identity` of its own), `failure` (null, or
`file`, `line`, `column`, `sqlstate`, `message`, `hint`), and `drift` (null before the first look; else `unknown`, why
the catalogue cannot be compared now, or null, and `bundle`, `taken_at`, `objects`, how many differ, and `differences`,
the first hundred of them: `kind`, `object`, `change` (added, removed, changed), `parts` (names), `right_until`, the
bundle after which it was last right). Neither a failed statement's text nor a definition is ever part of it.
"""

from datetime import UTC, datetime

from worker.core.drift import Difference, Unknown, Verdict
from worker.core.failure import Failure
from worker.core.readiness import Identity, Readiness
from worker.core.snapshot import Running, Snapshot, TargetStatus

Document = dict[str, object]
_SHOWN = 100


def status_document(snapshot: Snapshot) -> Document:
    """The snapshot as a document of format 1."""
    return {
        "format": 1,
        "worker": snapshot.worker,
        "version": snapshot.version,
        "started_at": _time(snapshot.started_at),
        "at": _time(snapshot.at),
        "database": snapshot.database,
        "draining": snapshot.draining,
        "listening": snapshot.listening,
        "holds_lock": snapshot.holds_lock,
        "running": None if snapshot.running is None else _running(snapshot.running),
        "targets": [_target(status) for status in snapshot.targets],
    }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _running(running: Running) -> Document:
    return {
        "version": running.version,
        "name": running.name,
        "mode": running.mode,
        "segment": running.segment,
        "segments": running.segments,
        "started_at": _time(running.started_at),
    }


def _target(status: TargetStatus) -> Document:
    return {
        "target": status.target,
        "line": status.line,
        "wanted": status.wanted,
        "version": status.version,
        "dirty": status.dirty,
        "applied": status.applied,
        "pending": list(status.pending),
        "state": None if status.state is None else status.state.value,
        "paused": status.paused,
        "epoch": status.epoch,
        "job_started_at": None if status.job_started_at is None else _time(status.job_started_at),
        "refusal": status.refusal,
        "identity": _identity(status.identity),
        "readiness": None if status.readiness is None else _readiness(status.readiness),
        "failure": None if status.failure is None else _failure(status.failure),
        "drift": None if status.drift is None else _drift(status.drift),
    }


def _identity(identity: Identity) -> Document:
    return {"system_identifier": str(identity.system_identifier), "database_oid": identity.database_oid}


def _readiness(row: Readiness) -> Document:
    return {
        "bundle": row.bundle,
        "versions": list(row.versions),
        "lowest_pending": row.lowest_pending,
        "deferred": list(row.deferred),
        "bundles": list(row.bundles),
        "serves": row.serves,
        "version_table": row.version_table.value,
        "identity": _identity(row.identity),
        "epoch": row.epoch,
    }


def _failure(failure: Failure) -> Document:
    return {
        "file": failure.file,
        "line": failure.line,
        "column": failure.column,
        "sqlstate": failure.sqlstate,
        "message": failure.message,
        "hint": failure.hint,
    }


def _drift(verdict: Verdict) -> Document:
    if isinstance(verdict, Unknown):
        return {"unknown": verdict.why, "bundle": None, "taken_at": None, "objects": None, "differences": []}
    return {
        "unknown": None,
        "bundle": verdict.bundle,
        "taken_at": _time(verdict.taken_at),
        "objects": len(verdict.differences),
        "differences": [_difference(one) for one in verdict.differences[:_SHOWN]],
    }


def _difference(one: Difference) -> Document:
    return {
        "kind": one.thing.kind,
        "object": one.thing.name,
        "change": one.change.value,
        "parts": [part.name for part in one.parts],
        "right_until": one.right_until,
    }
