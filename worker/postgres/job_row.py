"""A job's row, and the document that says why one did not end well."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from worker.core.events.failure import Failure
from worker.core.planning.job import JobState
from worker.core.value import dataclass

if TYPE_CHECKING:
    from asyncpg import Record


@dataclass(frozen=True, slots=True)
class Job:
    """A job's row; `failure` is the document that `JobFailure.document` makes."""

    id: int
    state: JobState
    attempts: int
    worker: str | None
    applied: int
    started_at: datetime | None
    finished_at: datetime | None
    failure: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why a job did not end well."""

    reason: str
    message: str
    hint: str
    failure: Failure | None = None

    @property
    def document(self) -> str:
        """The failure as JSON; without the statement's text, which is in the bundle anyway."""
        place = None if self.failure is None else {k: v for k, v in asdict(self.failure).items() if k != "statement"}
        return json.dumps({"reason": self.reason, "message": self.message, "hint": self.hint, "failure": place})


def job_of(row: "Record") -> Job:
    """A job's row, from the columns that the queries of a job and `sight` give it."""
    return Job(
        row["job_id"],
        JobState(row["job_state"]),
        row["job_attempts"],
        row["job_worker"],
        row["job_applied"],
        row["job_started_at"],
        row["job_finished_at"],
        _document(row["job_failure"]),
    )


def _document(text: str | None) -> dict[str, Any] | None:
    found = None if text is None else json.loads(text)
    return found if isinstance(found, dict) else None
