"""Takes the README's picture of the status page, `deploy/status-page.png`, of a real run; `make picture` runs this."""

from pathlib import Path

from tests.fixtures.browser import OpenPage, shows, title
from tests.fixtures.cluster import PASSWORD
from tests.fixtures.network import free_port
from tests.fixtures.processes import ROOT, StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.sessions import session
from tests.fixtures.workers import Worker, eventually, finish

EXAMPLE = ROOT / "migrations" / "example"
PICTURE = ROOT / "deploy" / "status-page.png"
LIMIT_BYTES = 150_000
NEXT = {
    "0014_index_reviews_by_stars.up.sql": "CREATE INDEX CONCURRENTLY reviews_by_stars ON reviews (stars);\n",
    "0015_rate_books.up.sql": "ALTER TABLE books ADD COLUMN rating numeric(3, 2);\n",
}


def release(folder: Path, highest: int) -> Path:
    """The example's migrations up to a version, and what is to come after it."""
    folder.mkdir()
    for file in (*EXAMPLE.glob("*.sql"), *EXAMPLE.glob("next/*.sql")):
        if int(file.name[:4]) <= highest:
            (folder / file.name).write_bytes(file.read_bytes())
    for name, sql in NEXT.items():
        if int(name[:4]) <= highest:
            (folder / name).write_text(sql, encoding="utf-8")
    return folder


def test_the_picture_is_taken(tidegate: StartTidegate, browse: OpenPage, database: Database, tmp_path: Path) -> None:
    env = {"DB_URL": database.dsn}
    database.psql(f"CREATE ROLE analyst LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
    workers = [serving(tidegate, name, env) for name in ("orders-1", "orders-2")]
    for label, highest in (("1.3.0", 9), ("1.4.0", 12), ("1.5.0-rc1", 13)):
        finish(tidegate("publish", release(tmp_path / label, highest), "--label", label, "--wait", env=env))
    tidegate("wait", "--bundle", "1.5.0", "--worker", "shop-api-7", "--timeout", "5m", env=env)
    with session(database, "metabase", "BEGIN; LOCK TABLE reviews IN ROW EXCLUSIVE MODE", "analyst"):
        finish(tidegate("publish", release(tmp_path / "1.5.0", 15), "--label", "1.5.0", "--worker", "release", env=env))
        eventually(lambda: any(worker.status()["running"] for worker in workers), "one of the two works")
        (busy,) = [worker for worker in workers if worker.status()["running"]]
        page = browse(busy.port, viewport={"width": 1040, "height": 900})
        title(page, "Waiting for a lock")
        shows(page, "now", "metabase")
        shows(page, "peers", "shop-api-7")
        page.screenshot(path=PICTURE)
    busy.until("/readyz?bundle=1.5.0")
    assert PICTURE.stat().st_size < LIMIT_BYTES


def serving(tidegate: StartTidegate, name: str, env: dict[str, str]) -> Worker:
    """A worker of that name whose HTTP face is up."""
    port = free_port()
    worker = Worker(tidegate("run", "--worker", name, "--http-port", str(port), env=env), port)
    worker.process.wait_for_event("http.serving", 60)
    return worker
