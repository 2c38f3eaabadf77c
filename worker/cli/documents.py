"""What `--json` prints, verb by verb: one document on one line. A test holds every verb's real document to it.

A key is never taken away within a major version, nor does its meaning change; new ones may come. A list that is
written here with one element holds any number of them. `Maybe` may be null. Times are RFC 3339 in UTC. Versions are
whole numbers from 0 to 2^63-1.
"""

from worker.core.value import dataclass


@dataclass(frozen=True, slots=True)
class Maybe:
    """Null, or a value of that shape."""

    shape: object


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of these words."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Time:
    """A moment, RFC 3339."""


_REPORT = {
    "result": OneOf(("applied", "up_to_date", "nothing_wanted", "left_alone")),
    "target": str,
    "bundle": Maybe(str),
    "applied": [int],  # versions, in the order in which they were run
    "adopted": int,  # how many were taken over from golang-migrate
    "version": Maybe(int),
    "pinned": Maybe(str),  # the command that pinned the target
    "why": Maybe(str),  # why nothing was done
}

_LOCK = {
    "table": str,  # as the catalogue has it; else as the statement has it, or "the table of" an index that it names
    "mode": OneOf(
        ("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE",
         "EXCLUSIVE", "ACCESS EXCLUSIVE")
    ),
    "holds_up": OneOf(("nothing", "writes", "reads and writes")),
    "size_bytes": Maybe(int),  # with indexes, TOAST and partitions; null: not there yet, or not to be told
    "rows": Maybe(int),  # the planner's estimate; null before any ANALYZE
}  # fmt: skip

_STEP = {
    "version": int,
    "name": str,
    "direction": OneOf(("up", "down")),
    "bundle": str,
    "mode": OneOf(("transactional", "journalled", "empty")),
    "statements": int,
    "segments": int,
    "gate": OneOf(("on", "off")),
    "resumes": bool,
    "locks": [_LOCK],  # the strongest on each table that was there before the migration
    "unknown_locks": [int],  # lines of statements that may lock more than their text tells
}

_FINDING = {
    "file": str,
    "line": int,
    "column": int,  # both from 1, the column in characters
    "severity": OneOf(("warning", "error")),
    "rule": str,
    "message": str,
    "advice": str,
}

_DIFFERENCE = {"version": int, "file": str, "recorded": str, "present": str}

_DRIFT = {
    "target": str,
    "unknown": Maybe(str),  # why the catalogue cannot be compared now
    "bundle": Maybe(str),  # after which it was last taken as right
    "taken_at": Maybe(Time()),
    "differences": [
        {
            "kind": str,
            "object": str,
            "change": OneOf(("added", "removed", "changed")),
            "right_until": Maybe(str),  # the bundle after which the object was last right
            "parts": [{"part": str, "was": Maybe(str), "now": Maybe(str)}],
        }
    ],
}

_SIGNED = {
    "sequence": int,
    "audience": str,
    "line": str,
    "keys": [str],  # ids of all keys that are said to have signed
    "by": [str],  # names of the trusted ones among them
}

_STATES = (
    "failed",
    "refused",
    "in_doubt",
    "unreachable",
    "waiting",
    "left_alone",
    "paused",
    "running",
    "due",
    "succeeded",
)

_FLEET = {
    "targets": int,
    "states": {OneOf(_STATES): int},  # so many targets are in each state that any is in
    "lines": [{"line": str, "wanted": Maybe(str), "state": OneOf(_STATES), "targets": int}],
    "applied": int,  # so many targets were brought further by this command
    "migrations": int,  # so many migrations it ran in them
    "troubled": [
        {"target": str, "line": str, "state": OneOf(_STATES), "reason": str, "message": str, "hint": str}
    ],  # the first hundred that need a person or could not be reached
    "left": [
        {"target": str, "line": str, "state": OneOf(_STATES), "message": str, "hint": str}
    ],  # those that --target named and `up` left as they are: the line is halted, or they are pinned or paused
    "misdeclared": [{"group": str, "message": str, "hint": str}],  # groups of the file that could not be read
}

DOCUMENTS: dict[str, object] = {
    "up --fleet": _FLEET,
    "status --fleet": _FLEET,
    "doctor --fleet": {
        "targets": int,
        "databases": int,
        "sound": int,  # so many targets have nothing wrong that would make a run fail
        "findings": [
            {
                "where": str,  # the first target, the database, the group, or the home half
                "targets": int,  # with so many targets it is the same; 0: it is of no target
                "check": str,
                "severity": OneOf(("error", "warning")),
                "message": str,
                "advice": str,
                "sql": str,
            }
        ],  # at most a hundred
        "omitted": int,
    },
    "up": _REPORT,
    "down": _REPORT,
    "goto": _REPORT,
    "plan": {
        "target": str,
        "bundle": str,
        "adopt": [int],  # versions that golang-migrate recorded
        "run": [_STEP],
        "share_transaction": [[int]],  # the versions of each transaction that several migrations would share
        "findings": Maybe([_FINDING]),  # null without --lint
    },
    "publish": {"line": str, "label": str, "digest": str, "changed": bool, "message": str},
    "history": [
        {
            "at": Time(),
            "action": OneOf(("up", "down", "adopt", "force", "repair", "answer")),
            "version": int,
            "name": str,
            "bundle": str,
            "mode": str,
            "duration_ms": float,
            "role": str,
            "worker": str,
            "note": Maybe(str),
        }
    ],  # newest first
    "version": {"version": Maybe(int), "dirty": bool},
    "doctor": [
        {"check": str, "severity": OneOf(("error", "warning", "ok")), "message": str, "advice": str, "sql": str}
    ],
    "bundle list": [
        {
            "label": str,
            "digest": str,
            "versions": [int],
            "published_at": Time(),
            "published_by": str,
            "wanted": bool,
            "withdrawn": bool,
        }
    ],
    "bundle verify": {
        "source": Maybe({"label": str, "digest": str, "signed": Maybe(_SIGNED)}),  # null: none was named
        "published": Maybe(
            [{"label": str, "trusted": bool, "signed": Maybe(_SIGNED), "why": Maybe(str)}]  # oldest first
        ),  # null: only the source was checked
    },
    "status --drift": _DRIFT,
    "admin fingerprint": _DRIFT,  # as it was until then
    "admin adopt": {"target": str, "version": Maybe(int), "adopted": [int], "forgotten": [int], "pinned": Maybe(str)},
    "admin config": [{"name": str, "value": str, "origin": str}],
    "admin repair": {"target": str, "bundle": str, "accepted": [_DIFFERENCE], "differs": [_DIFFERENCE]},
    "admin uninstall": {
        "result": OneOf(("dropped", "nothing_there")),
        "schema": str,
        "dropped": [{"kind": str, "name": str, "rows": Maybe(int)}],
        "grants": [{"role": str, "privileges": str, "on": str}],
        "kept": [{"target": str, "table": bool, "version": Maybe(int), "dirty": Maybe(bool)}],
    },
}
"""By verb. `status` prints the status document, whose fields `worker/core/status/status_document.py` lists."""

ELSEWHERE = frozenset({"status"})
