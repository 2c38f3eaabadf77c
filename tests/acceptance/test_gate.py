"""A real API behind the gate: no port before the schema is there; then signals and exit codes are its own."""

import signal
import sys
from pathlib import Path

import pytest

from tests.fixtures.network import free_port, http_get, is_bound
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.workers import applied, eventually, finish, migrations_in, tables

API = """
import http.server, os, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ.get("DB_AUTO_MIGRATE", "unset").encode())
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


@pytest.fixture
def env(database: Database) -> dict[str, str]:
    """What a command needs to reach the test's database."""
    return {"DB_URL": database.dsn}


def api(port: int) -> tuple[str, ...]:
    """The command line of a small HTTP API."""
    return ("--", sys.executable, "-c", API, str(port))


def up(tidegate: StartTidegate, database: Database, source: Path, label: str) -> None:
    finish(tidegate("up", "--source", source, "--label", label, env={"DB_URL": database.dsn}))


def test_an_api_binds_its_port_when_the_schema_is_ready_and_not_before(
    tidegate: StartTidegate, database: Database, env: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    gated = tidegate("exec", "--at-least", "2", *api(port), env=env)
    gated.wait_for_event("gate.waiting")
    up(tidegate, database, migrations_in(tmp_path / "one", tables(1)), "1")
    gated.wait_for_line(lambda line: "gate.waiting" in line and "no_schema" not in line)
    assert not is_bound(port)

    up(tidegate, database, migrations_in(tmp_path / "two", tables(1, 2)), "2")

    gated.wait_for_event("gate.opened")
    eventually(lambda: is_bound(port), "the API listens")
    answer = http_get(port)
    assert (answer.status, answer.body) == (200, "false")


def test_the_api_migrates_first_where_it_is_told_to_and_is_told_not_to_do_so_itself(
    tidegate: StartTidegate, database: Database, env: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    source = migrations_in(tmp_path / "sql", tables(1, 2))

    tidegate("exec", *api(port), env={**env, "DB_AUTO_MIGRATE": "true", "DB_SCHEMA_DIR": str(source)})

    eventually(lambda: is_bound(port), "the API listens")
    assert http_get(port).body == "false"
    assert applied(database) == ["1", "2"]


def test_a_migration_that_fails_keeps_the_command_from_starting(
    tidegate: StartTidegate, env: dict[str, str], tmp_path: Path
) -> None:
    source = migrations_in(tmp_path / "sql", {1: "SELECT 1 / 0;\n"})
    gated = tidegate(
        "exec", "--source", source, "--", sys.executable, "-c", "print('ran')", env={**env, "DB_AUTO_MIGRATE": "true"}
    )

    assert finish(gated, 1) == ""


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ((sys.executable, "-c", "raise SystemExit(7)"), 7),
        ((sys.executable, "-c", "import os; os.kill(os.getpid(), 15)"), -signal.SIGTERM),
        (("no-such-command",), 127),
        (("/",), 126),
    ],
)
def test_the_exit_code_is_the_commands(
    tidegate: StartTidegate,
    database: Database,
    env: dict[str, str],
    tmp_path: Path,
    command: tuple[str, ...],
    code: int,
) -> None:
    up(tidegate, database, migrations_in(tmp_path / "sql", tables(1)), "1")

    gated = tidegate("exec", "--at-least", "1", "--", *command, env=env)

    assert gated.wait() == code, gated.report()


def test_a_signal_reaches_the_command(
    tidegate: StartTidegate, database: Database, env: dict[str, str], tmp_path: Path
) -> None:
    up(tidegate, database, migrations_in(tmp_path / "sql", tables(1)), "1")
    script = "import signal; signal.pthread_sigmask(0, [15]); print('here'); signal.sigwait([15]); print('heard')"
    gated = tidegate("exec", "--at-least", "1", "--", sys.executable, "-uc", script, env=env)
    gated.wait_for_line(lambda line: line == "here")

    gated.terminate()

    assert finish(gated) == "here\nheard"


def test_the_gate_of_an_older_version_opens_while_that_of_a_newer_one_holds(
    tidegate: StartTidegate, database: Database, env: dict[str, str], tmp_path: Path
) -> None:
    first = migrations_in(tmp_path / "one", tables(1))
    second = migrations_in(tmp_path / "two", tables(1, 2))
    up(tidegate, database, first, "1")

    newer = tidegate("wait", env={**env, "TIDEGATE_REQUIRE": f"dir:{second}"})
    newer.wait_for_event("gate.waiting")
    finish(tidegate("wait", "--source", first, env=env))
    finish(tidegate("wait", "--bundle", "1", env=env))
    assert newer.exit_code is None

    up(tidegate, database, second, "2")
    finish(newer)
    finish(tidegate("wait", "--bundle", "1", env=env))


@pytest.mark.parametrize("verb", [("wait",), ("exec", "--", "true")])
def test_a_gate_without_a_requirement_is_refused(
    tidegate: StartTidegate, env: dict[str, str], verb: tuple[str, ...]
) -> None:
    refused = tidegate(*verb, env=env)

    finish(refused, 2)
    assert "no requirement was stated" in refused.stderr
    assert "--at-least" in refused.stderr


def test_a_timeout_of_nothing_looks_once(
    tidegate: StartTidegate, database: Database, env: dict[str, str], tmp_path: Path
) -> None:
    finish(tidegate("wait", "--at-least", "1", "--timeout", "0", env=env), 4)
    up(tidegate, database, migrations_in(tmp_path / "sql", tables(1)), "1")
    finish(tidegate("wait", "--at-least", "2", "--timeout", "0", env=env), 4)
    finish(tidegate("wait", "--at-least", "1", "--timeout", "0", env=env))
