"""The status page: one snapshot becomes HTML, whole or by its regions; pure, and every value is escaped.

What the page needs is at three paths of its own, so that the policy needs no exception: no script or style stands in
the page, and nothing comes from elsewhere.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from worker.core.planning.job import JobState
from worker.core.planning.readiness import Requirement
from worker.core.status.drift import Unknown, Verdict
from worker.core.status.snapshot import BundleStatus, Panorama, Snapshot, Step, TargetStatus
from worker.core.status.summary import summarise
from worker.core.status.tone import Summary, Tone
from worker.http import fleet_page, words
from worker.http.openings import openings

REGIONS = ("said", "headline", "now", "gate", "bundles", "peers", "steps", "drift", "fleet", "foot")
"""The parts of the page that change, by the ids of their elements; each is a template of its own."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy."""

STATIC = {
    "/page.css": "text/css; charset=utf-8",
    "/page.js": "text/javascript; charset=utf-8",
    "/mark.svg": "image/svg+xml",
}
"""The files beside the page, with their types."""

_DRIFT_ROWS = 30
_HERE = Path(__file__).parent
_SIGNS = {Tone.GOOD: "✓", Tone.BUSY: "▶", Tone.WAITING: "…", Tone.BAD: "✕", Tone.IDLE: "○"}


def render_page(snapshot: Snapshot, requirement: Requirement | None) -> str:
    """The whole page; the requirement is the worker's own."""
    summary = summarise(snapshot, requirement)
    regions = _regions(snapshot, requirement, summary)
    return _templates().get_template("page.html").render(
        snapshot=snapshot, title=_title(snapshot, summary), regions=regions
    )  # fmt: skip


def render_regions(snapshot: Snapshot, requirement: Requirement | None) -> dict[str, str]:
    """What each region holds, and the page's `title`, which is plain text."""
    summary = summarise(snapshot, requirement)
    return {"title": _title(snapshot, summary), **_regions(snapshot, requirement, summary)}


def _title(snapshot: Snapshot, summary: Summary) -> str:
    return f"{_SIGNS[summary.tone]} {summary.title} · {snapshot.worker} · tidegate"


def _regions(snapshot: Snapshot, requirement: Requirement | None, summary: Summary) -> Mapping[str, Markup]:
    values = {"snapshot": snapshot, "requirement": requirement, "summary": summary}
    # Each template has escaped its values; its result goes into the page as it is.
    return {
        name: Markup(_templates().get_template(_template(snapshot, name)).render(values, region=name))  # noqa: S704
        for name in REGIONS
    }


def _template(snapshot: Snapshot, region: str) -> str:
    """The template of a region; some belong to one target, others to a fleet."""
    if region in (fleet_page.ABSENT if snapshot.is_fleet else {"fleet"}):
        return "absent.html"
    name = fleet_page.TEMPLATES.get(region, region) if snapshot.is_fleet else region
    return f"{name}.html"


@cache
def static(path: str) -> bytes:
    """A file of `STATIC`."""
    return (_HERE / "static" / path.removeprefix("/")).read_bytes()


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    named = (words.elapsed, words.ago, words.took, words.iso, words.clock, words.moment, words.number, words.count)
    templates.filters.update({word.__name__: word for word in named})
    shown = (openings, _duration_of, _last_done, _longest_of, _longest_step, _own_lock, _upcoming, _is_unknown)
    templates.globals.update({function.__name__.removeprefix("_"): function for function in shown})
    of_a_fleet = (fleet_page.lines_of, fleet_page.needing, fleet_page.tone_of, fleet_page.state_words)
    templates.globals.update({function.__name__: function for function in of_a_fleet})
    rows = {"drift_rows": _DRIFT_ROWS, "line_rows": fleet_page.LINE_ROWS, "at_work_rows": fleet_page.AT_WORK_ROWS}
    templates.globals.update(rows)
    return templates


def _duration_of(bundle: BundleStatus) -> float | None:
    """Seconds of the last attempt, None where it did not begin or end."""
    if bundle.started_at is None or bundle.finished_at is None:
        return None
    return (bundle.finished_at - bundle.started_at).total_seconds()


def _last_done(status: TargetStatus) -> BundleStatus | None:
    bundles = () if status.panorama is None else status.panorama.bundles
    done = [bundle for bundle in bundles if bundle.state is JobState.SUCCEEDED and _duration_of(bundle) is not None]
    return max(done, key=lambda bundle: bundle.finished_at or bundle.published_at, default=None)


def _upcoming(status: TargetStatus, snapshot: Snapshot) -> list[tuple[int, str]]:
    """What is pending and does not run yet."""
    return [(version, name) for version, name in status.upcoming if not _runs(version, snapshot)]


def _runs(version: int, snapshot: Snapshot) -> bool:
    running, job = snapshot.running, snapshot.job
    if job is not None and job.first is not None and job.last is not None and job.first <= version <= job.last:
        return True
    return running is not None and running.version == version


def _is_unknown(drift: Verdict) -> bool:
    return isinstance(drift, Unknown)


def _longest_of(bundles: tuple[BundleStatus, ...]) -> float:
    return max((_duration_of(bundle) or 0.0 for bundle in bundles), default=0.0)


def _longest_step(steps: tuple[Step, ...]) -> float:
    return max((step.duration_ms for step in steps), default=0.0)


def _own_lock(snapshot: Snapshot, panorama: Panorama) -> bool:
    """Whether the holder that was seen was this worker, which knows better by now."""
    mine = {pid for peer in panorama.peers if peer.name == snapshot.worker for pid in peer.pids}
    return panorama.lock is not None and panorama.lock.pid in mine
