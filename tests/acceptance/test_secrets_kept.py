"""Where a password and the application's data could come to light, and do not: everything that the program leaves."""

import json
import sys
from pathlib import Path

import pytest

from tests.fixtures.cluster import PASSWORD, SUPERUSER
from tests.fixtures.command_line import call
from tests.fixtures.network import free_port, http_get
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.workers import Worker, eventually, finish, migrations_in, start_worker, tables

DATUM = "datum-4711"
TABLE = f"CREATE TABLE t (a text, b int CHECK (b < 9)); INSERT INTO t VALUES ('{DATUM}', 1), ('{DATUM}', 2)"
RAISED = "DO $$ BEGIN RAISE EXCEPTION 'no' USING DETAIL = (SELECT min(a) FROM t); END $$"
# Each fails with a DETAIL that holds a value of the table.
FAILING = {
    "duplicate": "CREATE UNIQUE INDEX t_a ON t (a)",
    "concurrent": "CREATE UNIQUE INDEX CONCURRENTLY t_a ON t (a)",
    "check": "INSERT INTO t SELECT a, 10 FROM t",
    "foreign key": "CREATE TABLE u (a text PRIMARY KEY); ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u",
    "not null": "ALTER TABLE t ADD c int; ALTER TABLE t ADD CHECK (c IS NOT NULL); INSERT INTO t SELECT a FROM t",
    "raised": RAISED,
    "raised in a block": f"BEGIN; {RAISED}; COMMIT",
}
_ROWS = """
SELECT format('SELECT t::text FROM tidegate.%I AS t', tablename) FROM pg_tables WHERE schemaname = 'tidegate' \\gexec
"""


def kept(database: Database) -> str:
    """Every row of every control table, contents of files as they are."""
    return database.psql(_ROWS + "SELECT convert_from(content, 'UTF8') FROM tidegate.bundle_file")


@pytest.mark.parametrize("name", FAILING)
def test_a_value_of_the_applications_that_an_errors_detail_holds_is_told_nowhere(
    database: Database, tmp_path: Path, name: str
) -> None:
    database.psql(TABLE)
    source, environment = migrations_in(tmp_path / "m", {1: FAILING[name]}), {"DB_URL": database.dsn}

    said = call("up", "--source", source, "--log-level", "debug", **environment)

    assert said.code in {1, 6}, said
    seen = said.all + "".join(call(verb, "--json", **environment).all for verb in ("status", "history", "doctor"))
    assert "1_m1.up.sql" in seen
    assert DATUM not in seen
    assert DATUM not in kept(database)
    failure = database.psql("SELECT failure FROM tidegate.job")
    assert json.loads(failure)["failure"]["sqlstate"]
    assert database.psql("SELECT count(*) FROM tidegate.job_event WHERE detail IS NOT NULL") != "0"


def test_a_password_of_a_file_is_in_nothing_that_a_worker_shows(
    database: Database, tmp_path: Path, tidegate: StartTidegate
) -> None:
    secret, port = tmp_path / "password", free_port()
    secret.write_text(PASSWORD)
    server = database.server
    environment = {
        "DB_HOST": server.host, "DB_PORT": str(server.port), "DB_NAME": database.name, "DB_USER": SUPERUSER,
        "DB_PASS_FILE": str(secret), "DB_SSL_DISABLE": "true",
    }  # fmt: skip
    database.psql(TABLE)
    source = migrations_in(tmp_path / "m", {1: FAILING["duplicate"]})

    process = tidegate("run", "--log-level", "debug", "--source", source, "--http-port", str(port), env=environment)
    worker = Worker(process, port)
    process.wait_for_event("job.failed", 60)

    shown = [http_get(port, path).body for path in ("/", "/status.json", "/metrics", "/readyz")]
    proc = Path("/proc") / str(process.pid)
    titles = [(proc / name).read_text() for name in ("cmdline", "environ", "comm")]
    sessions = database.psql("SELECT application_name, query FROM pg_stat_activity WHERE datname = current_database()")
    eventually(lambda: "failed" in json.dumps(worker.status()), "the failure is shown")
    shown.append(json.dumps(worker.status()))
    assert worker.stop() == 0
    for text in (*shown, *titles, sessions, process.stdout, process.stderr, kept(database)):
        assert PASSWORD not in text
    for text in (*shown, process.stdout, process.stderr):
        assert DATUM not in text


def test_a_password_that_a_failed_migration_repeats_is_masked_wherever_its_row_is_shown(
    database: Database, tmp_path: Path, tidegate: StartTidegate
) -> None:
    repeats = f"DO $$ BEGIN RAISE EXCEPTION 'not {PASSWORD}' USING HINT = 'try {PASSWORD}'; END $$"
    source, environment = migrations_in(tmp_path / "m", {1: repeats}), {"DB_URL": database.dsn}
    assert call("up", "--source", source, **environment).code == 1
    assert f"not {PASSWORD}" in database.psql("SELECT failure FROM tidegate.job")

    worker = start_worker(tidegate, database.dsn)
    eventually(lambda: worker.status()["targets"] != [], "the worker has read the row")

    commands = (("status",), ("status", "--json"), ("history",), ("history", "--json"), ("bundle", "list", "--json"))
    shown = [call(*words, **environment).all for words in commands]
    shown += [http_get(worker.port, path).body for path in ("/", "/status.json", "/readyz")]
    assert PASSWORD not in "".join(shown)
    assert "not ***" in shown[0]
    assert worker.target()["failure"]["message"].endswith("not ***")
    assert worker.stop() == 0
    assert PASSWORD not in worker.process.stderr


def test_the_command_that_exec_becomes_is_given_what_exec_was_given_and_no_more(
    database: Database, tmp_path: Path, tidegate: StartTidegate
) -> None:
    secret = tmp_path / "password"
    secret.write_text(PASSWORD)
    source, server = migrations_in(tmp_path / "m", tables(1)), database.server
    given = {
        "DB_HOST": server.host, "DB_PORT": str(server.port), "DB_NAME": database.name, "DB_USER": SUPERUSER,
        "DB_PASS_FILE": str(secret), "DB_SSL_DISABLE": "true", "DB_AUTO_MIGRATE": "true", "DB_SCHEMA_DIR": str(source),
    }  # fmt: skip
    tell = "import json, os; print(json.dumps([dict(os.environ), open('/proc/self/cmdline').read()]))"

    environment, title = json.loads(
        finish(tidegate("exec", "--", sys.executable, "-c", tell, env=given)).splitlines()[-1]
    )

    assert {name: environment.get(name) for name in given} == {**given, "DB_AUTO_MIGRATE": "false"}
    assert PASSWORD not in json.dumps(environment) + title


@pytest.mark.parametrize(
    "broken", ["postgres://u:{}@h/d?sslmode=no", "postgres://u:{}@h:x/d", "host=h password={} port='"]
)
@pytest.mark.parametrize("verb", [("status",), ("up",), ("admin", "config"), ("doctor",), ("wait", "--at-least", "1")])
def test_a_connection_string_that_cannot_be_read_is_not_shown(broken: str, verb: tuple[str, ...]) -> None:
    said = call(*verb, DB_URL=broken.format(PASSWORD))
    assert said.code == 2, said
    assert PASSWORD not in said.all
    assert "Traceback" not in said.all
