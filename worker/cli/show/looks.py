"""Looks at a target: what `status` shows of it, once or again and again."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio

from worker import __version__
from worker.cli import stay
from worker.core.status.masking import masked
from worker.core.status.sighting import Sighting
from worker.core.status.snapshot import Snapshot, TargetStatus
from worker.core.value import dataclass
from worker.errors import BundleError, NoDatabaseError, RefusedError, TimedOutError
from worker.jobs.look import View, look
from worker.jobs.published import load
from worker.jobs.status import panorama_of, target_status
from worker.postgres.blocking import Sight
from worker.postgres.faults import ConnectionLostError, told

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from worker.cli.app import App
    from worker.postgres.session import Session

_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """The target as it was, and what was seen of who holds its lock; None where nobody does, or it may not be seen."""

    snapshot: Snapshot
    sighting: Sighting | None


async def seen(app: "App", session: "Session") -> Look:
    """The target as it is now."""
    async with told(session, "looking at the target"):
        view = await look(session, app.site)
        panorama = await panorama_of(session, view, app.site.home_name(view.survey.target))
        lock = None if panorama is None else panorama.lock
        sighting = None if lock is None else await _sighting(Sight(session.conn, session.control, lock.pid))
        status = await _vetted(app, session, view, target_status(view, panorama))
    now, status = datetime.now(UTC), masked(status, app.mask)
    snapshot = Snapshot(
        worker=app.settings.worker, version=__version__, started_at=now, at=now, database=None, draining=False,
        listening=False, holds_lock=False, running=None, targets=(status,), looked_at=now,
    )  # fmt: skip
    return Look(snapshot, sighting)


async def _vetted(app: "App", session: "Session", view: View, status: TargetStatus) -> TargetStatus:
    """Say of what is wanted and not applied that it is not trusted: no job says so, for none is begun with it."""
    if view.wanted is None or not status.pending or not app.site.trust:
        return status
    try:
        await load(session, app.site, view, view.wanted)
    except (BundleError, RefusedError) as error:
        return replace(status, refusal=error.message, hint=error.hint)
    return status


async def _sighting(sight: Sight) -> Sighting:
    """Whatever the holder runs: from outside, its version is not known."""
    return Sighting(0, await sight.ahead(), await sight.behind(), await sight.progress())


async def looks(app: "App") -> "AsyncGenerator[Look]":
    """A look every second, for ever; while the database is away, what was last seen, and why there is nothing newer.

    Raises:
        NoDatabaseError: It cannot be reached at the first look.
    """
    stay()
    last = None
    while True:
        try:
            async with app.session() as session:
                while True:
                    last = await seen(app, session)
                    yield last
                    await anyio.sleep(_PAUSE_SECONDS)
        except (ConnectionLostError, NoDatabaseError, TimedOutError) as error:
            if last is None:
                raise
            yield Look(replace(last.snapshot, database=app.mask(error.message)), None)
        await anyio.sleep(_PAUSE_SECONDS)


def rows(status: TargetStatus) -> list[tuple[str, str]]:
    """The lines of a target, each a name and a value."""
    row = status.readiness
    lines = [
        ("target", status.target),
        ("line", status.line),
        ("wanted", status.wanted or _unwanted(status)),
        ("version", ("none" if status.version is None else str(status.version)) + (" (dirty)" if status.dirty else "")),
        ("applied", str(status.applied)),
        ("pending", ", ".join(map(str, status.pending)) or "none"),
        ("job", "none" if status.state is None else status.state.value),
        ("ready for", "nothing yet" if row is None else ", ".join(row.bundles) or "no bundle as a whole"),
    ]
    lines += [("left alone", status.paused)] if status.paused else []
    lines += [("failed", str(status.failure))] if status.failure else []
    lines += [("refused", status.refusal)] if status.refusal else []
    return lines


def _unwanted(status: TargetStatus) -> str:
    return "nothing" if status.elsewhere is None else f"said in another database, a fleet's home: {status.elsewhere}"
