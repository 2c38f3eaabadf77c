"""A finding: what a look at a live database showed, why it matters, and what mends it."""

from enum import Enum

from worker.core.value import dataclass


class Severity(Enum):
    """What comes of it: a run would fail or do harm, may surprise, or it is as it should be."""

    ERROR = "error"
    WARNING = "warning"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of a check.

    `check` is a stable word for machines. `message` names the role and the object; `sql` is what somebody who may
    runs as it stands, `advice` what is to be changed outside the database. Either can be empty.
    """

    check: str
    severity: Severity
    message: str
    sql: str = ""
    advice: str = ""

    @property
    def hint(self) -> str:
        """What to do, in one line."""
        return either(self.sql, self.advice)


def either(*ways: str) -> str:
    """Ways to mend something, in one line; SQL among them may have its semicolon, an empty one is none."""
    return "; or ".join(way.rstrip(";") for way in ways if way)


def error(check: str, message: str, sql: str = "", advice: str = "") -> Finding:
    """A run would fail, or do harm."""
    return Finding(check, Severity.ERROR, message, sql, advice)


def warning(check: str, message: str, sql: str = "", advice: str = "") -> Finding:
    """It may surprise somebody."""
    return Finding(check, Severity.WARNING, message, sql, advice)


def fine(check: str, message: str) -> Finding:
    """It is as it should be."""
    return Finding(check, Severity.OK, message)
