"""What a linter finds in migrations: its answer as values, and whether that is more than a threshold lets pass."""

import json
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any

from worker.core.checks.findings import Severity
from worker.core.value import dataclass

# Every migration is run under a lock timeout, and cancelled when it keeps the application waiting for long; one that
# is cut half-way through is taken up where it was.
_ANSWERED = frozenset(
    {"prefer-robust-stmts", "require-lock-timeout", "require-statement-timeout", "require-timeout-settings"}
)


class Threshold(Enum):
    """From which severity on a finding refuses."""

    NONE = "none"
    WARNING = "warning"
    ERROR = "error"

    def refuses(self, severity: Severity) -> bool:
        """Whether a finding of that severity is too much."""
        match self:
            case Threshold.NONE:
                return False
            case Threshold.ERROR:
                return severity is Severity.ERROR
            case Threshold.WARNING:
                return severity is not Severity.OK


@dataclass(frozen=True, slots=True)
class Remark:
    """One finding in a file; `line`, `column` and `end` count characters from 1, `end` is behind the last one.

    `end` is None where the place goes on in a later line.
    """

    file: str
    line: int
    column: int
    end: int | None
    severity: Severity
    rule: str
    message: str
    advice: str


def read_remarks(answer: str, files: Sequence[tuple[str, str]]) -> tuple[Remark, ...]:
    """Read squawk's JSON; the path of the n-th file (name and text) ended in `/n.sql`.

    Raises:
        ValueError: It is not the answer that was expected.
    """
    try:
        found = [_remark(each, *files[_number(each["file"])]) for each in json.loads(answer)]
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"an answer of another form: {error!r}") from error
    return tuple(remark for remark in found if remark.rule not in _ANSWERED)


def _number(path: str) -> int:
    return int(path.rpartition("/")[2].removesuffix(".sql"))


def _remark(raw: dict[str, Any], file: str, text: str) -> Remark:
    lines = text.split("\n")
    line = lines[raw["line"]] if raw["line"] < len(lines) else ""
    return Remark(
        file=file,
        line=raw["line"] + 1,
        column=_characters(line, raw["column"]) + 1,
        end=_characters(line, raw["column_end"]) + 1 if raw["line_end"] == raw["line"] else None,
        severity=Severity.ERROR if raw["level"] == "Error" else Severity.WARNING,
        rule=raw["rule_name"],
        message=_one_line(raw["message"]),
        advice=_one_line(raw["help"] or ""),
    )


def _characters(line: str, size: int) -> int:
    """How many characters the first bytes of a line are: the linter counts bytes of UTF-8."""
    return len(line.encode()[:size].decode(errors="ignore"))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def counted(remarks: Iterable[Remark]) -> str:
    """How many of each severity, for a message."""
    severities = [remark.severity for remark in remarks]
    counts = [(severities.count(each), each.value) for each in (Severity.ERROR, Severity.WARNING)]
    return " and ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts if count)
