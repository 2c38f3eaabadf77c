"""What a scrape costs."""

import re
from pathlib import Path

from tests.fixtures.network import http_get
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.workers import eventually, migrations_in, start_worker, tables

LOGGED = re.compile(r"LOG:  (?:statement|execute [^:]*): (.*)")


def asked(database: Database) -> list[str]:
    """Every statement that the server logged, but for those by which a listener proves its line alive."""
    return [sql for sql in LOGGED.findall(database.server.log()) if "pg_notify" not in sql]


def has_rested(database: Database) -> bool:
    """Whether every session of the worker's has been idle for a second."""
    resting = "bool_and(state = 'idle' AND state_change < clock_timestamp() - interval '1 s')"
    return database.server.psql(f"SELECT {resting} FROM pg_stat_activity WHERE datname = '{database.name}'") == "t"


def test_a_scrape_asks_the_database_nothing(tidegate: StartTidegate, database: Database, tmp_path: Path) -> None:
    database.server.psql(f"ALTER DATABASE {database.name} SET log_statement = 'all'")
    source = migrations_in(tmp_path / "sql", tables(1))
    worker = start_worker(tidegate, database.dsn, "--source", source, "--poll-interval", "10m")
    worker.until("/readyz")
    worker.process.wait_for_event("worker.woken", source="connect")
    eventually(lambda: has_rested(database), "the worker rests")
    before = asked(database)
    assert any("readiness" in sql for sql in before)
    for path in ["/metrics"] * 50 + ["/status.json", "/readyz", "/livez"]:
        assert http_get(worker.port, path).status == 200
    assert asked(database) == before
