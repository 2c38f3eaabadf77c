"""Tidegate inside another Python program: apply, publish, wait, status and drift, as the command does them.

Everything is asynchronous, on asyncio. `database` is a Postgres URL or keyword string; without it the environment says
where, as for the command. `settings` are the command's, by the names that `tidegate admin config` prints, as text:
`schema="control"`, `migrations_table="versions"`; they go before the environment. What happens is logged by the
standard library's logger `tidegate`. Errors are those of `worker.errors`, and no connection is left behind.
"""

from argparse import Namespace
from functools import cached_property
from os import PathLike, fspath

from worker.asgi import log_event, ready
from worker.bundles.archive import read_source
from worker.bundles.directory import local_path
from worker.cli.app import App
from worker.cli.arguments import Flags
from worker.core.bundles.wanted import AlreadyWanted, Intent, KnownNowWanted
from worker.core.events.event import Emitter
from worker.core.planning.job import JobState
from worker.core.planning.reconcile import Insistence
from worker.core.status.drift import Change, Difference, Drift, Part, Unknown
from worker.core.status.masking import masked
from worker.core.status.snapshot import TargetStatus
from worker.core.value import dataclass
from worker.errors import TidegateError, UsageError
from worker.jobs.bring import bring
from worker.jobs.drift import find_drift
from worker.jobs.look import look, look_settled
from worker.jobs.offer import publish as publish_bundle
from worker.jobs.site import Report, Request, Result
from worker.jobs.status import target_status
from worker.postgres.session import Session
from worker.settings.table import SETTINGS

__all__ = [
    "Change", "Difference", "Drift", "JobState", "Part", "Published", "Report", "Result", "TargetStatus",
    "TidegateError", "Unknown", "apply", "drift", "publish", "status", "wait_ready",
]  # fmt: skip

Source = str | PathLike[str]
_NAMES = frozenset(setting.name for setting in SETTINGS)


@dataclass(frozen=True, slots=True)
class Published:
    """What a publish came to; `label` is the one that it was first published with, `changed` that it became wanted."""

    line: str
    label: str
    digest: str
    changed: bool


async def apply(
    directory: Source | None = None, *, database: str | None = None, label: str | None = None, **settings: str
) -> Report:
    """Bring the database to this directory's migrations, or without one to the wanted bundle, as `tidegate up`.

    Raises:
        UsageError: A setting or the directory cannot be used.
        RefusedError: Nothing may be done, and why.
        MigrationFailedError: A migration failed; what came before it is applied.
        InDoubtError: A cut statement needs a person.
        NoDatabaseError: The database cannot be reached.
        TimedOutError: The lock was not free in time.
    """
    app = _app(database, settings | _given(source=directory, label=label))
    bundle = app.source()

    async def work(session: Session) -> Report:
        return await bring(session, app.site, Request(Insistence.COMMAND, offer=bundle), bundle)

    return await app.with_session(work)


async def publish(
    source: Source, *, database: str | None = None, label: str | None = None, **settings: str
) -> Published:
    """Make a directory or an archive the wanted bundle; workers apply it, as after `tidegate publish`.

    Raises:
        UsageError: A setting or the source cannot be used.
        RefusedError: It cannot be applied to this database, or its label belongs to other content.
        NoDatabaseError: The database cannot be reached.
    """
    app = _app(database, settings | _given(label=label))
    app.trust.ready()
    bundle = read_source(local_path(fspath(source)), app.settings.target.label, app.trust.vet)

    async def work(session: Session) -> Published:
        view = await look_settled(session, app.site, bundle)
        done = await publish_bundle(session, app.site, view, bundle, Intent.EXPLICIT)
        known = done.bundle.label if isinstance(done, (AlreadyWanted, KnownNowWanted)) else bundle.label
        return Published(view.line, known, bundle.digest, not isinstance(done, AlreadyWanted))

    return await app.with_session(work)


async def wait_ready(
    require: str | None = None,
    *,
    database: str | None = None,
    target: str | None = None,
    timeout: str | None = None,  # noqa: ASYNC109 - it is a setting's text
) -> None:
    """Return once the schema is what an application needs, as `tidegate wait`.

    Args:
        require: `version:V`, `bundle:LABEL` or `dir:PATH`; else `TIDEGATE_REQUIRE` or `DB_SCHEMA_DIR` says it.
        database: where.
        target: the version table's schema and name, where the database has several.
        timeout: for example `5m`; `none` waits for ever, `0` looks once.

    Raises:
        UsageError: No requirement or database is set, or a setting is wrong.
        TimedOutError: The time is up; the message holds the last reason.
    """
    async with ready(require=require, database=database, target=target, timeout=timeout):
        return


async def status(*, database: str | None = None, **settings: str) -> TargetStatus:
    """Look at the target, and change nothing, as `tidegate status`.

    Raises:
        UsageError: A setting cannot be used.
        RefusedError: The role may not look.
        NoDatabaseError: The database cannot be reached.
    """
    app = _app(database, settings)

    async def work(session: Session) -> TargetStatus:
        return masked(target_status(await look(session, app.site)), app.mask)

    return await app.with_session(work)


async def drift(*, database: str | None = None, **settings: str) -> Drift | Unknown:
    """Tell what differs from what the last job left, as `status --drift`, and change nothing; raises as above."""
    app = _app(database, settings)

    async def work(session: Session) -> Drift | Unknown:
        return await find_drift(session, await look(session, app.site))

    return await app.with_session(work)


class _Embedded(App):
    """The command's composition root, whose events the program's own log takes."""

    @cached_property
    def emit(self) -> Emitter:
        return Emitter((log_event,))


def _app(database: str | None, settings: dict[str, str]) -> App:
    unknown = sorted(settings.keys() - _NAMES)
    if unknown:
        raise UsageError(f"there is no setting {unknown[0]}", hint="tidegate admin config prints them all")
    return _Embedded(Flags({"database": database, **settings}, Namespace()))


def _given(**values: Source | None) -> dict[str, str]:
    return {name: fspath(value) for name, value in values.items() if value is not None}
