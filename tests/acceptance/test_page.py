"""The status page in a real browser, while a real worker applies real bundles: it shows what the database says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.browser import PHONE, OpenPage, is_dark, lowest_contrast, overflows, shows, text_of, title
from tests.fixtures.cluster import Server, running_server
from tests.fixtures.network import free_port
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.sessions import session
from tests.fixtures.workers import Worker, eventually, finish, migrations_in, start_worker, tables

BIG = {1: "CREATE TABLE t1 AS SELECT n AS a FROM generate_series(1, 200000) AS n;\n"}
BUILD = {2: "CREATE INDEX CONCURRENTLY t1_a ON t1 (a);\n"}
# It holds the table until the test lets it go.
HELD = {2: "LOCK TABLE t1;\nSELECT pg_sleep(CASE WHEN to_regclass('calm') IS NULL THEN 60 ELSE 0 END);\n"}
BROKEN = {2: "CREATE TABLE t2 (a int);\nINSERT INTO t2\nVALUES ('no number');\n"}
ALTER = {2: "ALTER TABLE t1 ADD b int;\n"}
HOSTILE = "<img src=x onerror=alert(1)>&amp;<b>"


class Site:
    """A database, its worker, and directories to publish."""

    def __init__(self, tidegate: StartTidegate, database: Database, folder: Path) -> None:
        self.database = database
        self._tidegate = tidegate
        self._folder = folder
        self._env = {"DB_URL": database.dsn}

    def start(self, scripts: Mapping[int, str], *arguments: str, port: int | None = None) -> Worker:
        """A worker that has applied the bundle 1."""
        source, port = migrations_in(self._folder / "1", scripts), port or free_port()
        said = ("--source", source, "--label", "1", "--poll-interval", "1s", "--http-port", str(port), *arguments)
        worker = Worker(self._tidegate("run", "--log-level", "debug", *said, env=self._env), port)
        worker.process.wait_for_event("http.serving", 60)
        worker.until("/readyz?bundle=1")
        return worker

    def publish(self, label: str, scripts: Mapping[int, str]) -> None:
        """Publish another bundle."""
        source = migrations_in(self._folder / label, scripts)
        finish(self._tidegate("publish", source, "--label", label, env=self._env))

    def run(self, *arguments: str | Path) -> None:
        """Run a command to its end."""
        finish(self._tidegate(*arguments, env=self._env))


@pytest.fixture
def site(tidegate: StartTidegate, database: Database, tmp_path: Path) -> Site:
    return Site(tidegate, database, tmp_path)


def marked(page: Any) -> Any:
    """A page that tells later whether it was loaded again; it is live."""
    page.locator("#link[data-state=live]").wait_for()
    page.evaluate("window.marked = true")
    return page


def is_still_the_same(page: Any) -> bool:
    return bool(page.evaluate("window.marked === true"))


def test_the_page_agrees_with_the_database_and_follows_a_publish_without_reloading(
    site: Site, browse: OpenPage, database: Database
) -> None:
    worker = site.start(tables(1, 2), "--worker", "first")
    page = marked(browse(worker.port))
    title(page, "Ready")
    assert page.title() == "✓ Ready · first · tidegate"
    assert "1 is applied: 2 migrations, at version 2" in text_of(page, "headline")

    site.publish("2", tables(1, 2, 3))
    page.locator("#headline", has_text="2 is applied: 3 migrations, at version 3").wait_for()
    shows(page, "steps", "m3")

    assert is_still_the_same(page)
    version, applied = database.psql(
        "SELECT version, (SELECT count(*) FROM tidegate.ledger WHERE target LIKE 'public.%') FROM schema_migrations"
    ).split("|")
    assert f"Version {version} Applied {applied} Wanted 2" in text_of(page, "gate")
    for bundle in database.psql("SELECT unnest(bundles) FROM tidegate.readiness WHERE target LIKE 'public.%'").split():
        shows(page, "gate", f"Open for bundle {bundle}")
    steps = database.psql(
        "SELECT version || ' ' || name FROM tidegate.history WHERE target LIKE 'public.%' ORDER BY id DESC"
    )
    rows = page.locator("#steps tbody tr")
    shown = [f"{row.locator('td').first.inner_text()} {row.locator('th').inner_text()}" for row in rows.all()]
    assert shown == steps.splitlines()
    assert text_of(page, "bundles").startswith("BUNDLES 2 wanted applied")
    assert "first this one worker" in text_of(page, "peers")
    assert "Nobody holds the lock." in text_of(page, "peers")


def test_an_index_build_is_shown_with_its_progress_and_whom_it_waits_for(
    site: Site, browse: OpenPage, database: Database
) -> None:
    worker = site.start(BIG)
    page = marked(browse(worker.port))
    with session(database, "report", "BEGIN; DELETE FROM t1 WHERE a = 7") as pid:
        site.publish("2", BIG | BUILD)
        title(page, "Waiting for a lock")
        shows(page, "now", "Waits for", "report", f"backend {pid}", "idle in transaction", "Create index concurrently")
        command, phase = database.psql("SELECT command, phase FROM pg_stat_progress_create_index").split("|")
        assert f"{command.capitalize()} · {phase}" in text_of(page, "now")
        assert f"pg_terminate_backend({pid})" in text_of(page, "headline")
        assert page.get_by_role("progressbar", name=phase).is_visible()
        assert "This worker holds the lock." in text_of(page, "peers")
        assert "0 of 1 migration of bundle 2" in text_of(page, "now")
    title(page, "Ready")
    assert is_still_the_same(page)
    assert database.psql("SELECT indisvalid FROM pg_index WHERE indexrelid = 't1_a'::regclass") == "t"


def test_sessions_that_wait_behind_a_migration_are_shown_with_who_they_are(
    site: Site, browse: OpenPage, database: Database
) -> None:
    worker = site.start(tables(1), "--block-budget", "6s")
    page = browse(worker.port)
    site.publish("2", tables(1) | HELD)
    shows(page, "now", "2 at once")
    with session(database, "web", "SELECT count(*) FROM t1") as pid:
        title(page, "In the application's way")
        shows(page, "now", "Keeps waiting", "1 session", "web", f"backend {pid}")
        shows(page, "now", "Tried again", "for the application")
        database.psql("CREATE TABLE calm ()")
    title(page, "Ready")


def test_a_failure_is_shown_with_its_file_line_and_message_and_goes_with_its_mending(
    site: Site, browse: OpenPage, database: Database
) -> None:
    worker = site.start(tables(1))
    page = browse(worker.port)
    site.publish("2", tables(1) | BROKEN)
    title(page, "A migration failed")
    failure = "SELECT failure -> 'failure' ->> '{}' FROM tidegate.job WHERE state = 'failed'"
    file, line, message = (database.psql(failure.format(name)) for name in ("file", "line", "message"))
    assert (file, line) == ("0002_m2.up.sql", "3")
    shows(page, "now", file, line, message)
    assert "What to do" in text_of(page, "headline")
    assert "VALUES" not in page.content()
    shows(page, "gate", "Open for bundle 1", "Shut for bundle 2")

    site.publish("3", tables(1, 2))
    title(page, "Ready")
    assert message not in page.content()


def test_what_stops_a_worker_before_there_is_a_job_is_told_until_it_is_mended(
    tidegate: StartTidegate, browse: OpenPage, database: Database, tmp_path: Path
) -> None:
    database.psql("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)")
    database.psql("CREATE TABLE t1 (a int); INSERT INTO schema_migrations VALUES (1, true)")
    source = migrations_in(tmp_path / "sql", tables(1, 2))
    worker = start_worker(tidegate, database.dsn, "--source", source, "--label", "1", "--poll-interval", "1s")
    page = browse(worker.port)
    title(page, "A person is needed")
    assert worker.status()["trouble"]["message"] in text_of(page, "headline")

    database.psql("UPDATE schema_migrations SET dirty = false")
    title(page, "Ready")
    assert worker.status()["trouble"] is None


def test_drift_is_shown_by_its_objects_on_a_phone_in_the_dark_too_and_goes_when_it_is_undone(
    site: Site, browse: OpenPage, database: Database
) -> None:
    worker = site.start(tables(1, 2), "--drift-interval", "200ms")
    page = marked(browse(worker.port, color_scheme="dark", viewport=PHONE))
    shows(page, "drift", "None.")
    database.psql("ALTER TABLE t1 ALTER a TYPE bigint; DROP TABLE t2")
    shows(page, "drift", "2 objects", "public.t1.a", "public.t2", "removed", "tidegate status --drift")
    contrast, text = lowest_contrast(page)
    assert contrast >= 4.5, text
    assert not overflows(page)
    assert "bigint" not in page.content()
    assert worker.metric('tidegate_drift_objects{target="public.schema_migrations"}') == 2

    site.run("admin", "fingerprint")
    shows(page, "drift", "None.")
    assert is_still_the_same(page)


def test_a_database_that_goes_away_is_told_and_so_is_its_return(
    tidegate: StartTidegate, browse: OpenPage, server: Server, tmp_path: Path
) -> None:
    with running_server(server.version, server.binaries) as own:
        worker = Site(tidegate, Database("postgres", own), tmp_path).start(tables(1))
        page = marked(browse(worker.port))
        title(page, "Ready")
        own.stop()
        title(page, "No database")
        assert page.locator("#lost").is_hidden()
        own.start()
        title(page, "Ready")
        assert is_still_the_same(page)
        worker.stop()


def test_a_worker_that_goes_away_is_told_and_so_is_its_successor(site: Site, browse: OpenPage) -> None:
    worker = site.start(tables(1), "--worker", "first")
    page = marked(browse(worker.port))
    assert worker.stop() == 0
    page.get_by_role("alert").get_by_text("The worker does not answer").wait_for()
    assert page.locator("#link-text").inner_text() == "No answer"

    site.start(tables(1), "--worker", "second", port=worker.port)
    page.locator("#link[data-state=live]").wait_for()
    shows(page, "peers", "second")
    assert page.locator("#lost").is_hidden()
    assert is_still_the_same(page)


@pytest.mark.slow
def test_a_worker_that_hangs_is_told_though_its_connection_stays(site: Site, browse: OpenPage) -> None:
    worker = site.start(tables(1))
    page = marked(browse(worker.port))
    worker.process.freeze()
    page.get_by_role("alert").get_by_text("The worker does not answer").wait_for(timeout=30_000)
    worker.process.thaw()
    page.locator("#link[data-state=live]").wait_for()


def test_without_javascript_the_page_is_whole_and_a_link_refreshes_it(site: Site, browse: OpenPage) -> None:
    worker = site.start(tables(1, 2))
    page = browse(worker.port, java_script_enabled=False)
    assert page.get_by_role("heading", level=1).inner_text() == "Ready"
    assert "As of " in page.locator("#link").inner_text()
    refresh = page.get_by_role("link", name="Refresh")
    steps = page.locator("#steps")

    def shows_after_a_click(name: str) -> bool:
        refresh.click()
        return steps.get_by_text(name).count() > 0

    # What is only shown is read when the round is over, behind readiness.
    eventually(lambda: shows_after_a_click("m2"), "the page shows what is applied")
    site.publish("2", tables(1, 2, 3))
    worker.until("/readyz?bundle=2")
    assert steps.get_by_text("m3").count() == 0
    eventually(lambda: shows_after_a_click("m3"), "the page shows what was published")


@pytest.mark.parametrize("state", ["Ready", "A migration failed", "Waiting for a lock"])
def test_it_can_be_read_in_the_light_in_the_dark_and_on_a_phone(
    site: Site, browse: OpenPage, database: Database, state: str
) -> None:
    worker = site.start(tables(1))
    with session(database, "report", "BEGIN; LOCK TABLE t1"):
        if state != "Ready":
            site.publish("2", tables(1) | (BROKEN if state == "A migration failed" else ALTER))
        for scheme in ("light", "dark"):
            page = browse(worker.port, color_scheme=scheme, viewport=PHONE)
            title(page, state)
            contrast, text = lowest_contrast(page)
            assert contrast >= 4.5, text
            assert not overflows(page)
            assert is_dark(page) == (scheme == "dark")


def test_the_keyboard_reaches_everything_and_keeps_its_place_when_a_region_changes(
    site: Site, browse: OpenPage
) -> None:
    worker = site.start(tables(1))
    page = marked(browse(worker.port))
    # A worker is ready before all that is shown besides has been read, and what scrolls is reached by the keyboard too.
    shows(page, "steps", "m1")
    reached = []
    for _ in range(5):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert reached == ["skip", "steps-scroll", "foot-status", "foot-metrics", "foot-readyz"]

    page.locator("#steps-scroll").focus()
    site.publish("2", tables(1, 2))
    shows(page, "steps", "m2")
    assert page.evaluate("document.activeElement.id") == "steps-scroll"

    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_screen_reader_finds_landmarks_headings_and_a_polite_status(site: Site, browse: OpenPage) -> None:
    worker = site.start(tables(1))
    page = browse(worker.port)
    for landmark in ("banner", "main", "contentinfo", "navigation"):
        assert page.get_by_role(landmark).count() == 1
    headings = [heading.inner_text().lower() for heading in page.get_by_role("heading").all()]
    assert headings == ["ready", "now", "gate", "bundles", "who is here", "latest steps", "drift"]
    assert page.get_by_role("status").inner_text() == "Ready."
    # A worker is ready before all that is shown besides has been read.
    eventually(lambda: page.get_by_role("table").get_by_role("row").count() == 2, "the bundle is in the table")


def test_hostile_names_of_migrations_roles_and_applications_are_text(
    site: Site, browse: OpenPage, database: Database, tmp_path: Path
) -> None:
    worker = site.start(tables(1))
    page = browse(worker.port)
    folder = migrations_in(tmp_path / "hostile", tables(1))
    (folder / f"0002_{HOSTILE}.up.sql").write_text("ALTER TABLE t1 ADD b int;\n", encoding="utf-8")
    with session(database, "<script>alert(2)</script>", "BEGIN; LOCK TABLE t1"):
        site.run("publish", folder, "--label", "2")
        shows(page, "now", "<script>alert(2)</script>", HOSTILE)
    title(page, "Ready")
    shows(page, "steps", HOSTILE)
    assert page.locator("img").count() == 1
