"""A fleet's page in a real browser, while a real worker brings real targets: it follows what becomes of them."""

from pathlib import Path

import pytest

from tests.fixtures.browser import PHONE, OpenPage, lowest_contrast, overflows, text_of, title
from tests.fixtures.fleets import TENANTS, Fleet, names
from tests.fixtures.network import free_port
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database


@pytest.fixture
def fleet(tidegate: StartTidegate, database: Database, tmp_path: Path) -> Fleet:
    fleet = Fleet(tidegate, database, tmp_path)
    fleet.schemas(names(6))
    fleet.declare(TENANTS + "[limits]\nworkers = 1\nerror_budget = 2\n")
    return fleet


def test_the_page_of_a_fleet_shows_a_halt_and_follows_its_end_without_reloading(fleet: Fleet, browse: OpenPage) -> None:
    fleet.database.psql("".join(f"CREATE TABLE {name}.a ();" for name in names(6)))
    port = free_port()
    worker = fleet.start("run", "--source", fleet.source, "--http-port", str(port), "--poll-interval", "1s")
    worker.wait_for_event("fleet.halted")

    page = browse(port)
    title(page, "schema_migrations is halted")
    page.locator("#link[data-state=live]").wait_for()
    page.evaluate("window.marked = true")
    assert "is halted" in text_of(page, "gate")
    assert "0001_a.up.sql" in text_of(page, "fleet")
    assert not page.locator("#steps").is_visible()
    assert lowest_contrast(page)[0] >= 4.5
    phone = browse(port, viewport=PHONE)
    title(phone, "schema_migrations is halted")
    assert not overflows(phone)

    fleet.database.psql("".join(f"DROP TABLE {name}.a;" for name in names(6)))
    assert fleet.start("retry").wait() == 0
    page.locator("#headline", has_text="Of 6 targets: 6 up to date").wait_for()
    assert "6 done" in text_of(page, "gate")
    assert "Nothing." in text_of(page, "fleet")
    assert page.evaluate("window.marked === true")
