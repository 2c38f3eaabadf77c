"""Refuses what would fail for want of a right, or leave things to the wrong owner, before anything is changed."""

from collections.abc import Iterable

from worker.core.checks.findings import Finding, either
from worker.core.checks.standing import Standing, obstacles, obstacles_to_a_home, obstacles_to_looking
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
    _leave_to_the_migrator(standing, obstacles(standing))


def check_home(standing: Standing) -> None:
    """Refuse to make or renew the control schema of a fleet as a role that is not to own it.

    Raises:
        RefusedError: Names the role, the object, and the SQL to run.
    """
    _raise_first(obstacles_to_a_home(standing))


def check_home_publisher(standing: Standing) -> None:
    """Refuse to let a fleet's publisher make the control schema.

    Raises:
        RefusedError: Names who is to make it.
    """
    _leave_to_the_migrator(standing, obstacles_to_a_home(standing))


def _leave_to_the_migrator(standing: Standing, findings: tuple[Finding, ...]) -> None:
    if findings:
        what, fleet = "is not there", ""
        if standing.lacks_home:
            what, fleet = "holds no bundles here", "publish at the home of its fleet: say --fleet FILE"
        way = "let the migrator make it: tidegate admin upgrade; then run the SQL of tidegate admin grants again"
        raise RefusedError(
            f"the control schema {standing.control} {what}, and role {standing.role} is not to make it",
            hint=either(fleet, way),
            reason="privilege",
        )


def _raise_first(findings: Iterable[Finding]) -> None:
    for finding in findings:
        raise RefusedError(
            finding.message, hint=finding.hint, reason=finding.check if finding.check in _SAYING else "privilege"
        )
