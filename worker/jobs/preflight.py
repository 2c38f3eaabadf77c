"""Refuses what would fail for want of a right, or leave things to the wrong owner, before anything is changed."""

from collections.abc import Iterable

from worker.core.checks.findings import Finding
from worker.core.checks.standing import Standing, obstacles, obstacles_to_looking
from worker.errors import RefusedError

_SAYING = frozenset({"owner", "intruder"})
"""The checks whose names say what is the matter; for the others it is a privilege that is lacking."""


def check_sight(standing: Standing) -> None:
    """Refuse to look where the role may not.

    Raises:
        RefusedError: Names the role, the object, and the SQL to run.
    """
    _raise_first(obstacles_to_looking(standing))


def check_standing(standing: Standing) -> None:
    """Refuse to begin a run that could not end well.

    Raises:
        RefusedError: Names the role, the object, and the SQL to run.
    """
    _raise_first(obstacles(standing))


def check_publisher(standing: Standing) -> None:
    """Refuse to let a publisher make the control schema: it would own it, and so what the migrator has to own.

    Raises:
        RefusedError: Names who is to make it.
    """
    if obstacles(standing):
        raise RefusedError(
            f"the control schema {standing.control} is not there, and role {standing.role} is not to make it",
            hint="let the migrator make it: tidegate admin upgrade; then run the SQL of tidegate admin grants again",
            reason="privilege",
        )


def _raise_first(findings: Iterable[Finding]) -> None:
    for finding in findings:
        raise RefusedError(
            finding.message, hint=finding.hint, reason=finding.check if finding.check in _SAYING else "privilege"
        )
