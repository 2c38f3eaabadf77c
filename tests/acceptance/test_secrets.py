"""No secret that the program was given is in anything that it says, however it was given, and whatever happens."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.fixtures.command_line import Said, call
from tests.fixtures.network import http_get
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.workers import Worker, finish, migrations_in, start_worker, tables
from worker.cli import termination_log

# Some part of it is there in every form in which it could be written, so that no form is forgotten.
CORE = "hushhush"
SECRET = f"{CORE}/@:\"é' %x\\{CORE}"
WRONG = f"{CORE}-not-it"
KEY_SECRET = f"of-the-key-{CORE}"
COMMENT = "words-of-the-file"
BROKEN = {3: f"-- {COMMENT}\nCREATE TABLE t3 (a int);\nINSERT INTO t3\nVALUES ('no number');\n"}
Environment = dict[str, str]


@pytest.fixture
def owner(database: Database) -> Iterator[str]:
    """A role that may do everything in the database, and has the secret as its password."""
    name = f"owner_of_{database.name}"
    literal = SECRET.replace("'", "''")
    database.psql(f"CREATE ROLE {name} LOGIN PASSWORD '{literal}'; ALTER DATABASE {database.name} OWNER TO {name}")
    database.psql(f"ALTER SCHEMA public OWNER TO {name}")
    yield name
    database.psql(f"DROP OWNED BY {name} CASCADE")
    database.server.psql(f"ALTER DATABASE {database.name} OWNER TO postgres; DROP ROLE {name}")


@pytest.fixture
def last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a command of this process leaves its last word."""
    path = tmp_path / "termination-log"
    path.write_text("")
    monkeypatch.setattr(termination_log, "_PATH", str(path))
    return path


def a_url(database: Database, owner: str, password: str) -> str:
    place = f"{database.server.host}:{database.server.port}/{database.name}"
    return f"postgres://{owner}:{quote(password, safe='')}@{place}?sslmode=disable&sslpassword={KEY_SECRET}"


def parts(database: Database, owner: str, prefix: str) -> Environment:
    server = database.server
    names = {"DB_": ("DB_NAME", "DB_USER"), "PG": ("PGDATABASE", "PGUSER")}[prefix]
    tls = {"DB_": {"DB_SSL_DISABLE": "true"}, "PG": {"PGSSLMODE": "disable"}}[prefix]
    return {
        f"{prefix}HOST": server.host,
        f"{prefix}PORT": str(server.port),
        names[0]: database.name,
        names[1]: owner,
        **tls,
    }


def a_file(folder: Path, text: str) -> str:
    path = folder / "secret"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return str(path)


Way = Callable[[Database, str, str, Path], Environment]
WAYS: dict[str, Way] = {
    "DB_URL": lambda database, owner, secret, _: {"DB_URL": a_url(database, owner, secret)},
    "DB_URL_FILE": lambda database, owner, secret, folder: {
        "DB_URL_FILE": a_file(folder, a_url(database, owner, secret))
    },
    "DB_PASS": lambda database, owner, secret, _: {
        **parts(database, owner, "DB_"), "DB_PASS": quote(secret, safe="").lower()
    },
    "DB_PASS_FILE": lambda database, owner, secret, folder: {
        **parts(database, owner, "DB_"), "DB_PASS_FILE": a_file(folder, secret)
    },
    "DATABASE_URL": lambda database, owner, secret, _: {"DATABASE_URL": a_url(database, owner, secret)},
    "PGPASSWORD": lambda database, owner, secret, _: {**parts(database, owner, "PG"), "PGPASSWORD": secret},
    "PGPASSFILE": lambda database, owner, secret, folder: {
        **parts(database, owner, "PG"),
        "PGPASSFILE": a_file(folder, "*:*:*:*:" + secret.replace("\\", "\\\\").replace(":", "\\:") + "\n"),
    },
}  # fmt: skip


def hidden(*texts: str) -> None:
    assert [line for text in texts for line in text.splitlines() if CORE in line or COMMENT in line] == []


def everything_said(environment: Environment, *commands: tuple[object, ...]) -> list[Said]:
    return [call("--log-level", "debug", *command, **environment) for command in commands]


@pytest.mark.parametrize("way", WAYS)
def test_no_command_says_a_secret_or_leaves_it_behind_whatever_comes_of_it(
    way: str, database: Database, owner: str, last_word: Path, tmp_path: Path
) -> None:
    good = WAYS[way](database, owner, SECRET, tmp_path)
    literal = SECRET.replace("'", "''")
    telling = {3: f"-- {COMMENT}\nSELECT '{literal}'::int;\n"}
    sources = [migrations_in(tmp_path / "1", tables(1, 2)), migrations_in(tmp_path / "2", tables(1, 2) | telling)]

    done = everything_said(good, ("up", "--source", sources[0]), ("admin", "config"), ("doctor",), ("status",))
    failed = everything_said(good, ("up", "--source", sources[1]))
    words = last_word.read_text()
    wrong = everything_said(WAYS[way](database, owner, WRONG, tmp_path), ("up", "--source", sources[0]), ("doctor",))

    assert [said.code for said in (*done, *failed, *wrong)] == [0, 0, 0, 0, 1, 5, 5], (done, failed, wrong)
    # The server's message holds what the file held.
    assert "0003_m3.up.sql:2" in words
    assert "***" in words
    assert "the password is wrong" in last_word.read_text()
    hidden(words, last_word.read_text(), *(said.all for said in (*done, *failed, *wrong)))


def test_a_whole_life_with_a_worker_says_no_secret_in_the_log_in_its_pages_and_in_its_metrics(
    tidegate: StartTidegate, database: Database, owner: str, tmp_path: Path
) -> None:
    url = a_url(database, owner, SECRET)
    env = {"DB_URL": url}
    source = migrations_in(tmp_path / "1", tables(1, 2))
    broken = migrations_in(tmp_path / "2", tables(1, 2) | BROKEN)
    worker = start_worker(tidegate, url, "--source", source, "--label", "1")
    worker.until("/readyz?bundle=1")
    finish(published := tidegate("publish", broken, "--label", "2", env=env))
    worker.process.wait_for_event("job.failed")
    commands = [
        ("plan",), ("status",), ("status", "--json"), ("history",), ("version",), ("bundle", "list"), ("retry",),
        ("admin", "config"), ("admin", "config", "--json"), ("wait", "--at-least", "2", "--timeout", "5s"),
    ]  # fmt: skip
    said = everything_said(env, *commands)
    pages = [http_get(worker.port, path).body for path in ("/", "/status.json", "/metrics", "/readyz")]
    assert worker.stop() == 0

    assert [each.code for each in said] == [0] * len(commands), said
    hidden(worker.process.stdout, worker.process.stderr, published.stdout, published.stderr, *pages)
    hidden(*(each.all for each in said))
    _is_told_in_canonical_lines(worker)


def _is_told_in_canonical_lines(worker: Worker) -> None:
    """One line a migration and one a job, and each says who, where, for what, and under which epoch."""
    lines = worker.process.events
    migrations = [line for line in lines if line["event"] == "migration.finished" and line.get("bundle") in {"1", "2"}]
    jobs = [line for line in lines if line["event"] in {"job.finished", "job.failed"}]
    attempted = [(line["version"], line["outcome"]) for line in migrations]
    assert attempted[:3] == [(1, "succeeded"), (2, "succeeded"), (3, "failed")]
    assert [line["outcome"] for line in jobs][:2] == ["succeeded", "failed"]
    assert {line["event"] for line in lines if line["level"] == "error"} == {"migration.failed", "job.failed"}
    for line in (*migrations, *jobs):
        assert {"worker", "target", "bundle", "job", "epoch"} <= set(line), line
    assert all(line["timestamp"].endswith("Z") for line in lines)
