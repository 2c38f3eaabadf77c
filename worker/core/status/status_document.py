"""The status document: what `/status.json` serves, as plain values for a JSON encoder.

Format 1. Fields may be added; none changes its meaning or goes away within a major version. Times are UTC in
ISO 8601 with a final `Z`; what is not known is null. A field that holds an object has that object's fields below it,
by dots; `[]` stands for each object of a list. A failed statement's text is never part of it.

| field | meaning |
| --- | --- |
| `format` | 1 |
| `worker`, `version` | this worker's name, and the program's version |
| `started_at`, `at` | when the worker began, and when all of this was true |
| `database` | null while the database can be reached, else why not |
| `looked_at` | when the targets were last read |
| `draining`, `listening`, `holds_lock` | the worker is stopping; LISTEN is in place; it holds the lock |
| `lock_wait` | null, or who holds the lock that this worker waits for |
| `lock_wait.role`, `.application`, `.address`, `.pid` | the holder's session |
| `lock_wait.connected_since`, `.ours`, `.since` | when it connected (text); whether it is Tidegate; begin of the wait |
| `trouble` | null, or why the last round could not go on |
| `trouble.reason`, `.message`, `.hint`, `.since` | a stable word, why, what to do, since when |
| `job` | null, or the job that this worker is at |
| `job.target`, `.bundle`, `.done`, `.total`, `.started_at` | where, what, and how many of its migrations are done |
| `job.first`, `.last` | null, or the ends of those that go together now, in one transaction or one message |
| `running` | null, or the migration that runs |
| `running.version`, `.name`, `.direction`, `.mode` | which, up or down, and how |
| `running.segment`, `.segments`, `.statements` | part that runs, parts, and statements of the file |
| `running.started_at`, `.retries`, `.cause` | since when; rolled back attempts; SQLSTATE or `app_blocked` of the last |
| `running.waiting` | null, or whom it waits for |
| `running.waiting.pid`, `.kind`, `.role`, `.application`, `.state` | the session in the way; `kind` as in the logs |
| `running.waiting.transaction_since`, `.query_seconds` | since when its transaction is open; age of its query |
| `running.waiting.remedy`, `.since` | what a person can do; since when it is waited for |
| `running.blocked` | null, or the application's sessions behind it |
| `running.blocked.sessions`, `.longest` | how many; those that wait longest |
| `running.blocked.longest[].pid`, `.role`, `.application`, `.seconds` | who, and for how long by now |
| `running.progress` | null, or what the server tells of a long command |
| `running.progress.command`, `.phase`, `.done`, `.total`, `.unit` | such as an index build; a `total` of 0: not known |
| `targets` | one object for each target |
| `targets[].target`, `.line`, `.wanted` | its name, its line, the wanted bundle's label |
| `targets[].version`, `.dirty` | the version table's row |
| `targets[].applied`, `.pending`, `.names` | how many are applied; versions that are not, and their names |
| `targets[].state`, `.job_started_at` | of its job |
| `targets[].paused`, `.refusal`, `.hint` | why it is left alone; why it was refused; what to do about it |
| `targets[].elsewhere` | null, or how to ask a fleet's home in another database, which says what is wanted here |
| `targets[].epoch` | of the fence |
| `targets[].identity` | the server and the database |
| `targets[].identity.system_identifier` | as text, since it exceeds what a JSON number can safely hold |
| `targets[].identity.database_oid` | the database's oid |
| `targets[].readiness` | null, or the readiness row |
| `targets[].readiness.bundle`, `.versions`, `.bundles` | the wanted bundle; what is applied; what it is ready for |
| `targets[].readiness.lowest_pending`, `.deferred`, `.serves` | first waited for; not waited for; oldest served |
| `targets[].readiness.version_table`, `.epoch`, `.identity` | clean, dirty or diverged; where and when it was written |
| `targets[].readiness.identity.system_identifier`, `.database_oid` | as above |
| `targets[].failure` | null, or where a migration failed |
| `targets[].failure.file`, `.line`, `.column` | the place; a line or column that is not known is null |
| `targets[].failure.sqlstate`, `.message`, `.hint` | what the server said, and what to do |
| `targets[].panorama` | null, or what came before and who else is there |
| `targets[].panorama.at`, `.lock`, `.bundles`, `.steps`, `.peers` | when it was read; at most 20, 30, 200 of each |
| `targets[].panorama.lock.role`, `.application`, `.pid` | whose session held the lock then |
| `targets[].panorama.bundles[].label`, `.migrations` | a bundle of the line, newest first; how many it holds |
| `targets[].panorama.bundles[].published_at`, `.published_by` | when and by which role |
| `targets[].panorama.bundles[].wanted`, `.withdrawn` | whether it is the wanted one; whether it was taken back |
| `targets[].panorama.bundles[].state`, `.attempts`, `.applied` | of its job; `applied` in the last attempt |
| `targets[].panorama.bundles[].worker`, `.started_at`, `.finished_at` | of the last attempt |
| `targets[].panorama.steps[].at`, `.action`, `.version`, `.name` | a line of the history, newest first |
| `targets[].panorama.steps[].bundle`, `.mode`, `.duration_ms` | of which bundle, how, and for how long |
| `targets[].panorama.steps[].role`, `.worker` | by whom |
| `targets[].panorama.peers[].name`, `.part` | another copy of the program: worker, command, or gate |
| `targets[].panorama.peers[].role`, `.address`, `.since`, `.pids` | its sessions |
| `fleet` | of a worker of a fleet: its targets by line and state; else empty |
| `fleet[].line`, `.wanted`, `.state`, `.targets` | so many targets of a line, and what the line wants |
| `halted` | the lines of a fleet whose error budget is used up, and that have something left to do |
| `halted[].line`, `.failures`, `.budget`, `.left` | so many ended badly, so many may, and so many are not begun |
| `troubled` | of a fleet: the first thirty targets that need a person or could not be reached |
| `troubled[].target`, `.line`, `.state`, `.message`, `.hint` | which, in which state, why, and what to do |
| `misdeclared` | the groups of a fleet's file that could not be read |
| `misdeclared[].group`, `.message`, `.hint` | its place in the file, why, and what to do |
| `at_work` | the targets of a fleet that this worker brings now |
| `at_work[].target`, `.bundle`, `.done`, `.total` | where, to what, and how many of its migrations are done |
| `at_work[].started_at`, `.migration` | since when; null, or version and name of the one that runs |
| `targets[].drift` | null before the first look at the catalogue |
| `targets[].drift.unknown`, `.bundle`, `.taken_at` | why it is not known; what it is compared with |
| `targets[].drift.objects`, `.differences` | how many objects differ; the first hundred of them |
| `targets[].drift.differences[].kind`, `.object`, `.change` | which, and whether it was added, removed or changed |
| `targets[].drift.differences[].parts`, `.right_until` | names of what differs; after which bundle it was right |
"""

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum

from worker.core.events.failure import Failure
from worker.core.planning.readiness import Identity
from worker.core.status.drift import Difference, Drift, Unknown, Verdict
from worker.core.status.snapshot import Snapshot, Waiting

Document = dict[str, object]
_SHOWN = 100


def status_document(snapshot: Snapshot) -> Document:
    """The snapshot as a document of format 1."""
    return {"format": 1, **_object(snapshot)}


def _plain(value: object) -> object:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Enum():
            return value.value
        case tuple():
            return [_plain(each) for each in value]
        case _:
            return _object(value) if is_dataclass(value) else value


def _object(value: object) -> Document:
    match value:
        case Failure():
            return {name: text for name, text in _fields(value).items() if name != "statement"}
        case Identity():
            return {"system_identifier": str(value.system_identifier), "database_oid": value.database_oid}
        case Waiting():
            return _waiting(value)
        case Drift() | Unknown():
            return _drift(value)
        case _:
            return _fields(value)


def _fields(value: object) -> Document:
    if not is_dataclass(value):
        raise AssertionError(f"{value!r} is no object of the document")
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def _waiting(waiting: Waiting) -> Document:
    holder = _fields(waiting.holder)
    holder["transaction_since"] = holder.pop("since")
    return {**holder, "remedy": waiting.holder.remedy, "since": _plain(waiting.since)}


def _drift(verdict: Verdict) -> Document:
    if isinstance(verdict, Unknown):
        return {"unknown": verdict.why, "bundle": None, "taken_at": None, "objects": None, "differences": []}
    return {
        "unknown": None,
        "bundle": verdict.bundle,
        "taken_at": _plain(verdict.taken_at),
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
