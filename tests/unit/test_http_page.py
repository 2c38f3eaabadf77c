"""The page: every state is told, every value is escaped, and nothing in it needs an exception from the policy."""

import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from tests.fixtures.statuses import (
    NOON,
    a_bundle,
    a_fleet,
    a_panorama,
    a_row,
    a_running,
    a_snapshot,
    a_status,
    a_step,
)
from worker.core.events.failure import Failure
from worker.core.fleet.count import Count
from worker.core.planning.job import JobState
from worker.core.planning.readiness import AtLeast
from worker.core.running.blocking import Blocker, Kind
from worker.core.status.company import Part, Peer
from worker.core.status.drift import Change, Difference, Drift, Unknown
from worker.core.status.drift import Part as Differing
from worker.core.status.fingerprint import Thing
from worker.core.status.fleet_status import AtWork, Halt, Misdeclared, TroubledTarget
from worker.core.status.snapshot import JobProgress, LockWait, Running, Snapshot, Trouble, Waiting
from worker.http.page import REGIONS, STATIC, render_page, render_regions, static

HOSTILE = "</bdi><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\N{RIGHT-TO-LEFT OVERRIDE}"
LATER = NOON + timedelta(seconds=75)
FAILURE = Failure("3_a.up.sql", "42P07", "relation exists", "drop it", 4, 1, "CREATE TABLE secret_plan ()")
CHANGED = Difference(
    Thing("column", "public.orders.total"), Change.CHANGED, (Differing("type", "was_this", "now_that"),), "1.3.0"
)
DRIFT = Drift("1.4.0", NOON, (CHANGED, Difference(Thing("table", "public.notes"), Change.ADDED, (), "1.4.0")))
FULL = a_snapshot(
    a_status(panorama=a_panorama(), pending=(7, 8), names=("index_orders", "backfill"), wanted="1.5.0"),
    at=LATER,
    looked_at=NOON,
    running=a_running(),
    job=JobProgress("public.schema_migrations", "1.4.0", 2, 7, NOON),
)
HALTED = (Halt("shop", 50, 50, 940),)
TROUBLED = tuple(TroubledTarget(f"t{n}.m", "shop", "failed", f"0003.up.sql:{n}: no", "mend it") for n in range(30))
AT_WORK = tuple(AtWork(f"t{n}.m", "1.4.0", 1, 3, NOON, "3 add_orders") for n in range(16))
FLEET = a_fleet(halted=HALTED, troubled=TROUBLED, at_work=AT_WORK)
STATES = {
    "a fleet": FLEET,
    "a fleet at rest": a_fleet(fleet=(Count("shop", "1.4.0", "succeeded", 7),)),
    "a fleet of which a group is wrong": a_fleet(misdeclared=(Misdeclared("fleet.toml, targets 2", "no", "mend it"),)),
    "a fleet without targets": a_fleet(fleet=()),
    "a fleet without its home": a_fleet(database="refused"),
    "ready": a_snapshot(a_status(panorama=a_panorama())),
    "at work": FULL,
    "before a lock": a_snapshot(
        a_status(panorama=a_panorama()),
        lock_wait=LockWait("ops", "psql", "10.0.0.9", 7, "noon", ours=False, since=NOON),
    ),
    "failed": a_snapshot(a_status(state=JobState.FAILED, failure=FAILURE)),
    "in doubt": a_snapshot(a_status(state=JobState.IN_DOUBT, refusal="cut", hint="answer")),
    "troubled": a_snapshot(trouble=Trouble("owner", "not the owner", "SET ROLE", NOON)),
    "paused": a_snapshot(a_status(paused="paused by ops")),
    "dirty": a_snapshot(a_status(dirty=True)),
    "without a database": a_snapshot(database="refused", looked_at=NOON),
    "before the first look": a_snapshot(targets=(), database="not yet"),
    "drifted": a_snapshot(a_status(drift=DRIFT)),
    "without drift": a_snapshot(a_status(drift=Drift("1.4.0", NOON))),
    "of unknown drift": a_snapshot(a_status(drift=Unknown("no fingerprint was taken yet"))),
    "stopping": a_snapshot(draining=True),
    "nothing wanted": a_snapshot(a_status(wanted=None, readiness=None, version=None, applied=0)),
    "behind an autovacuum": replace(
        FULL, running=a_running(waiting=Waiting(Blocker(9, Kind.AUTOVACUUM, "", "", "active", "noon"), NOON))
    ),
}


class Reader(HTMLParser):
    """The tags of a page in order, its ids, and every reference."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in {"meta", "link", "img", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text = " ".join(f"{self.text} {data}".split())

    def values(self, name: str) -> list[str]:
        return [value for attribute, value in self.attributes if attribute == name]


def text_of(snapshot: Snapshot, region: str) -> str:
    return Reader(render_regions(snapshot, None)[region]).text


@pytest.mark.parametrize("state", STATES)
def test_a_page_is_well_formed_with_one_heading_and_its_landmarks(state: str) -> None:
    page = Reader(render_page(STATES[state], None))
    assert page.open == []
    assert page.tags.count("h1") == 1
    assert [page.tags.count(landmark) for landmark in ("header", "main", "footer", "nav")] == [1] * 4
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert set(REGIONS) <= set(ids)
    assert set(page.values("aria-labelledby")) <= set(ids)


@pytest.mark.parametrize("state", STATES)
def test_a_page_needs_no_exception_from_its_policy_and_nothing_from_elsewhere(state: str) -> None:
    html = render_page(STATES[state], None)
    page = Reader(html)
    assert page.values("style") == []
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert re.findall(r"<script[^>]*>[^<]", html) == []
    assert "<style" not in html
    references = {*page.values("src"), *page.values("href")}
    assert references <= {*STATIC, "#main", "/", "/status.json", "/metrics", "/readyz"}


@pytest.mark.parametrize("state", STATES)
def test_each_region_of_the_page_is_what_is_sent_for_it(state: str) -> None:
    page, regions = render_page(STATES[state], None), render_regions(STATES[state], None)
    assert set(regions) == {*REGIONS, "title"}
    assert all(f">{regions[name]}</" in page for name in REGIONS)


def test_a_files_own_text_refers_to_nothing_elsewhere() -> None:
    for path in STATIC:
        text = static(path).decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]|url\(|@import|eval\(|document\.write", text), path


def hostile_difference() -> Difference:
    return Difference(Thing("column", HOSTILE), Change.CHANGED, (Differing(HOSTILE, HOSTILE, None),), HOSTILE)


def test_hostile_names_are_shown_as_they_are_and_do_nothing() -> None:
    waiting = Waiting(Blocker(7, Kind.CLIENT, HOSTILE, HOSTILE, HOSTILE, HOSTILE, 8.5), NOON)
    status = a_status(
        target=HOSTILE, wanted=HOSTILE, paused=HOSTILE, refusal=HOSTILE, pending=(8,), names=(HOSTILE,), hint=HOSTILE,
        state=JobState.REFUSED, readiness=a_row(bundles=(HOSTILE,)),
        panorama=a_panorama(
            bundles=(a_bundle(label=HOSTILE, published_by=HOSTILE),),
            steps=(a_step(name=HOSTILE, bundle=HOSTILE, worker=HOSTILE),),
            peers=(Peer(HOSTILE, Part.WORKER, HOSTILE, HOSTILE, NOON, (1,)),),
        ),
    )  # fmt: skip
    failed = replace(status, failure=Failure(HOSTILE, HOSTILE, HOSTILE, HOSTILE), refusal=None)
    snapshots = [
        a_snapshot(
            status, running=a_running(name=HOSTILE, mode=HOSTILE, cause=HOSTILE, waiting=waiting), worker=HOSTILE
        ),
        a_snapshot(failed, job=JobProgress(HOSTILE, HOSTILE, 1, 2, NOON), version=HOSTILE),
        a_snapshot(status, database=HOSTILE),
        a_snapshot(lock_wait=LockWait(HOSTILE, HOSTILE, HOSTILE, 7, HOSTILE, ours=False, since=NOON)),
        a_snapshot(trouble=Trouble("owner", HOSTILE, HOSTILE, NOON)),
        a_snapshot(a_status(drift=Unknown(HOSTILE))),
        a_snapshot(a_status(drift=Drift(HOSTILE, NOON, (hostile_difference(),)))),
    ]
    for snapshot in snapshots:
        html = render_page(snapshot, None)
        page = Reader(html)
        assert page.tags.count("script") == 1
        assert page.tags.count("img") == 1
        assert HOSTILE in page.text


def test_a_failed_statement_is_on_no_page() -> None:
    assert "secret_plan" not in render_page(STATES["failed"], None)


def test_what_runs_is_told_with_its_parts_its_progress_its_waits_and_whom_it_blocks() -> None:
    text = text_of(FULL, "now")
    assert "2 of 7 migrations of bundle 1.4.0" in text
    assert "7 index_orders" in text
    assert "Part 3 of 4" in text
    assert "Statements 6" in text
    assert "Tried again 2 times 55P03" in text
    assert "Create index concurrently · building index: scanning table 45 %" in text
    assert "450 of 1 000 blocks" in text
    assert (
        "Waits for 1 min 15 s report role app backend 7 active , in a transaction for 2 min 15 s , last query 8 s ago"
        in text
    )
    assert "Keeps waiting 3 sessions web role app backend 8 1.2 s and 2 more" in text
    assert "Up next 1 migration 8 backfill" in text


@pytest.mark.parametrize("running", [None, a_running(version=7, waiting=None, blocked=None)], ids=["sent", "batch"])
def test_what_goes_together_is_told_by_its_first_and_its_last(running: Running | None) -> None:
    job = JobProgress("public.schema_migrations", "1.5.0", 2, 7, NOON, first=7, last=9)
    status = a_status(pending=(7, 8, 9, 12), names=("a", "b", "c", "d"), wanted="1.5.0")
    text = text_of(a_snapshot(status, job=job, running=running), "now")
    assert "7 to 9 together" in text
    assert "Up next 1 migration 12 d" in text
    assert "index_orders" not in text


def test_a_failure_is_told_with_its_file_line_message_and_hint() -> None:
    text = text_of(STATES["failed"], "now")
    assert "Failed relation exists File 3_a.up.sql Line 4, column 1 SQLSTATE 42P07 Hint drop it" in text


def test_the_gate_says_what_is_open_what_is_shut_and_why() -> None:
    status = a_status(wanted="1.5.0", panorama=a_panorama())
    text = Reader(render_regions(a_snapshot(status), AtLeast(4))["gate"]).text
    assert "Shut for version 4 this worker's requirement version 4 is not applied" in text
    assert "Shut for bundle 1.5.0 bundle 1.5.0 is not applied or no longer served" in text
    assert "Open for bundle 1.4.0" in text
    assert "Open for every applied version up to 3" in text


def test_bundles_and_steps_are_told_with_their_durations() -> None:
    snapshot = a_snapshot(a_status(panorama=a_panorama()), at=LATER)
    assert "1.4.0 wanted applied 1 min ago 3 migrations, published by owner" in text_of(snapshot, "bundles")
    assert "3 applied in 2.5 s" in text_of(snapshot, "bundles")
    assert "3 add_orders up 1.4.0 12 ms 1 min ago w-1" in text_of(snapshot, "steps")


def test_whoever_is_here_is_told_and_who_holds_the_lock() -> None:
    snapshot = STATES["ready"]
    assert "Nobody holds the lock." in text_of(snapshot, "peers")
    assert "w-1 this one worker 0 s role owner , from local" in text_of(snapshot, "peers")
    assert "This worker holds the lock." in text_of(replace(snapshot, holds_lock=True), "peers")
    assert "psql holds the lock." in text_of(STATES["before a lock"], "peers")
    other = a_snapshot(a_status(panorama=a_panorama()), worker="w-2")
    assert "tidegate migrate w-1 (role owner , backend 101) holds the lock." in text_of(other, "peers")


def test_a_screen_reader_hears_of_a_change_of_state_and_not_of_every_migration() -> None:
    running = a_running(waiting=None, blocked=None)
    first = a_snapshot(running=running, job=JobProgress("t", "1", 1, 3, NOON))
    second = replace(first, running=replace(running, version=8), job=JobProgress("t", "1", 2, 3, NOON))
    assert text_of(first, "said") == text_of(second, "said") == "Applying."
    assert text_of(STATES["failed"], "said").startswith("A migration failed. 3_a.up.sql:4:1: relation exists")
    assert 'role="status"' in render_page(first, None)


def test_drift_is_told_by_its_objects_and_what_to_do_and_not_by_what_was_or_is() -> None:
    text = text_of(replace(STATES["drifted"], at=LATER), "drift")
    assert "2 objects changed by hand since bundle 1.4.0 , 1 min ago" in text
    assert "What to do tidegate status --drift shows what was and what is." in text
    assert "changed column column public.orders.total type 1.3.0 added table table public.notes 1.4.0" in text
    assert "What to do tidegate status --drift names 2 objects changed by hand" in text_of(
        STATES["drifted"], "headline"
    )
    assert "What to do" not in text_of(STATES["without drift"], "headline")
    assert "was_this" not in text
    assert "now_that" not in text


def test_no_drift_is_not_the_same_as_drift_that_is_not_known_or_not_looked_for() -> None:
    assert "None. The catalogue is what bundle 1.4.0 left" in text_of(STATES["without drift"], "drift")
    assert "Not known: no fingerprint was taken yet" in text_of(STATES["of unknown drift"], "drift")
    assert "was not looked at yet" in text_of(STATES["ready"], "drift")
    assert "No target is known yet" in text_of(STATES["before the first look"], "drift")


def test_drift_of_a_thousand_objects_makes_no_long_page() -> None:
    many = tuple(Difference(Thing("table", f"public.t{n}"), Change.REMOVED, (), "1.4.0") for n in range(1_000))
    text = text_of(a_snapshot(a_status(drift=Drift("1.4.0", NOON, many))), "drift")
    assert "1 000 objects" in text
    assert "and 970 more" in text
    assert text.count("public.t") == 30


def test_the_title_says_how_it_stands() -> None:
    assert render_regions(STATES["ready"], None)["title"] == "✓ Ready · w-1 · tidegate"
    assert render_regions(STATES["failed"], None)["title"] == "✕ A migration failed · w-1 · tidegate"


def test_a_thousand_pending_migrations_make_no_long_page() -> None:
    status = a_status(pending=tuple(range(4, 1004)), names=("m",) * 1000)
    assert "Up next 1 000 migrations" in text_of(a_snapshot(status), "now")
    assert "and 992 more" in text_of(a_snapshot(status), "now")


def test_a_fleets_page_says_how_far_each_line_is_which_is_halted_and_what_failed_and_why() -> None:
    lines, wrong, now = (text_of(FLEET, region) for region in ("gate", "fleet", "now"))
    assert lines.startswith("Lines shop 1 000 targets, bundle 1.4.0")
    assert "50 failed 9 unreachable 1 running 940 due" in lines
    assert "shop is halted. 50 targets ended badly, and 50 may; 940 are not begun." in lines
    assert "99 000 done" in lines
    assert "t7.m failed 0003.up.sql:7: no mend it" in wrong
    assert "and 29 more; tidegate status --fleet counts all of them" in wrong
    assert "t3.m 1 min 15 s" in text_of(replace(FLEET, at=LATER), "now")
    assert "1 of 3 migrations of bundle 1.4.0 , 3 add_orders runs" in now
    assert "and 4 more" in now
    for region in ("bundles", "peers", "steps", "drift"):
        assert "<h2" in render_regions(FLEET, None)[region]
        assert "hidden" in render_regions(FLEET, None)[region]
    assert "hidden" in render_regions(FULL, None)["fleet"]


def test_a_fleets_page_stays_small_however_many_targets_and_lines_there_are() -> None:
    counts = tuple(Count(f"line{n:04}", "1.0", state, 50) for n in range(1_000) for state in ("due", "succeeded"))
    page = render_page(replace(FLEET, fleet=counts), None)
    assert "and 980 more lines" in page
    assert len(page) < 64 * 1024


def test_every_value_of_a_fleets_page_is_escaped() -> None:
    hostile = a_fleet(
        fleet=(Count(HOSTILE, HOSTILE, "failed", 2),),
        halted=(Halt(HOSTILE, 1, 1, 1),),
        troubled=(TroubledTarget(HOSTILE, HOSTILE, "failed", HOSTILE, HOSTILE),),
        misdeclared=(Misdeclared(HOSTILE, HOSTILE, HOSTILE),),
        at_work=(AtWork(HOSTILE, HOSTILE, 0, 1, NOON, HOSTILE),),
    )
    html = render_page(hostile, None)
    assert "<script>alert" not in html
    assert "<img src=x" not in html
