"""What an application needs, from a flag, `TIDEGATE_REQUIRE`, or the directory that it ships."""

from typing import assert_never

from worker.cli.app import App
from worker.core.planning.readiness import AtLeast, OfBundle, OfDirectory, Requirement, required_versions
from worker.errors import UsageError
from worker.settings.values import RequiredDirectory


def required(app: App) -> Requirement:
    """The requirement of a wait.

    Raises:
        UsageError: None was stated; "ready" is never meant in general.
    """
    requirement = stated(app)
    if requirement is None:
        raise UsageError(
            "no requirement was stated, and ready is never meant in general",
            hint="say --at-least VERSION, --bundle LABEL or --source DIR, or set TIDEGATE_REQUIRE or DB_SCHEMA_DIR",
        )
    return requirement


def stated(app: App) -> Requirement | None:
    """The requirement, if one was stated."""
    setting = app.settings.target.requirement
    match setting:
        case None | AtLeast() | OfBundle():
            return setting
        case RequiredDirectory(path):
            bundle = app.read(path, "source" if path == app.settings.target.source else "require")
            return OfDirectory(required_versions(bundle.migrations), path)
        case _:
            assert_never(setting)
