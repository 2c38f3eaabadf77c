"""The command line as golang-migrate's users type it, and what it leaves alone: databases and imports."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.command_line import call, content, files
from tests.fixtures.processes import ROOT
from tests.fixtures.servers import Database

ONE = "CREATE TABLE t1 (a int)"
TWO = "CREATE TABLE t2 (a int)"
THREE = "CREATE TABLE t3 (a int)"
HEAVY = {"argcomplete", "prometheus_client", "rich", "starlette", "structlog", "uvicorn"}


def three(folder: Path) -> Path:
    """Three migrations that can be undone."""
    files(folder, _1_a=ONE, _2_b=TWO, _3_c=THREE)
    for version, name in enumerate("abc", start=1):
        (folder / f"{version}_{name}.down.sql").write_text(f"DROP TABLE t{version}")
    return folder


@pytest.mark.parametrize(
    ("words", "version"),
    [
        ("-path {path} -database {url} up 2", 2),
        ("-source file://{path} -database {url} up", 3),
        ("up -source file://{path} -database {url}", 3),
        ("--source {path} -d {url} up 1", 1),
        ("up 1 -s {path} --database {url}", 1),
        ("-s {path} up 2 -d {url}", 2),
        ("--source=file://{path} --database={url} up 99", 3),
        ("-path {path} -database {url} goto 2", 2),
    ],
)
def test_golang_migrates_spellings_migrate(database: Database, tmp_path: Path, words: str, version: int) -> None:
    folder = three(tmp_path)

    call(*[word.format(path=folder, url=database.dsn) for word in words.split()]).is_fine(f"version {version}")

    assert database.psql("SELECT * FROM schema_migrations") == f"{version}|f"


def test_down_goto_force_and_version_do_as_golang_migrate_does(database: Database, tmp_path: Path) -> None:
    flags = ("-path", three(tmp_path), "-database", database.dsn)
    steps = {
        ("up",): "3",
        ("down", "1", "-y"): "2",
        ("goto", "1", "--yes"): "1",
        ("goto", "3"): "3",
        ("down", "--all", "--yes"): "no version",
        ("up", "2"): "2",
        ("force", "1"): "1",
        ("force", "-1"): "no version",
    }
    for step, version in steps.items():
        call(*flags, *step).is_fine()
        assert call(*flags, "version").out == f"{version}\n", step

    assert database.psql("SELECT * FROM schema_migrations") == ""


def test_undoing_has_to_be_agreed_to(database: Database, tmp_path: Path) -> None:
    flags = ("-path", three(tmp_path), "-database", database.dsn)
    call(*flags, "up").is_fine()
    before = content(database)

    for step in (("down",), ("down", "-all"), ("goto", "1")):
        call(*flags, *step).is_error(2, "has to be confirmed", "--yes")

    assert content(database) == before


@pytest.mark.parametrize("words", ["create -dir {path} add_users", "create add_users -s {path}"])
def test_create_makes_a_pair_of_files(tmp_path: Path, words: str) -> None:
    call(*words.format(path=tmp_path).split()).is_fine("add_users.up.sql", "add_users.down.sql")

    assert len(list(tmp_path.iterdir())) == 2


def test_looking_needs_no_right_and_writes_nothing(database: Database, tmp_path: Path) -> None:
    role = f"looker_{database.name}"
    database.psql(f"CREATE ROLE {role} LOGIN PASSWORD 'suite-only'; REVOKE CREATE ON SCHEMA public FROM public")
    flags, before = ("-s", files(tmp_path, _1_a=ONE), "-d", database.dsn_as(role)), content(database)
    try:
        said = {verb: call(verb, *flags) for verb in ("plan", "status", "history", "version")}
        check = call("plan", "--check", *flags)
        assert content(database) == before
    finally:
        database.psql(f"DROP ROLE {role}")

    assert {verb: answer.code for verb, answer in said.items()} == dict.fromkeys(said, 0), said
    assert check.code == 10
    assert said["version"].out == "no version\n"


def test_up_with_nothing_to_do_writes_nothing(database: Database, tmp_path: Path) -> None:
    older, newer = files(tmp_path / "1", _1_a=ONE), files(tmp_path / "2", _1_a=ONE, _2_b=TWO)
    call("up", "-s", newer, DB_URL=database.dsn).is_fine("version 2")
    before = content(database)

    for source in (("-s", newer), ("-s", older), ()):
        call("up", *source, DB_URL=database.dsn).is_fine("nothing to do")
        assert content(database) == before, source


@pytest.mark.parametrize(
    "words", ["up", "wait", "version", "status", "plan", "history", "plan --json", "status --json", "history --json"]
)
def test_nothing_to_do_loads_nothing_that_is_slow(database: Database, tmp_path: Path, words: str) -> None:
    folder = files(tmp_path, _1_a=ONE)
    call("up", "-s", folder, DB_URL=database.dsn).is_fine()
    line = [*words.split(), "-s", str(folder), "-d", database.dsn]
    script = f"import sys; from worker.cli import main; code = main({line!r}); print(*sorted(sys.modules)); exit(code)"

    finished = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, cwd=ROOT, env={"PATH": ""}
    )

    assert finished.returncode == 0, finished.stderr
    assert HEAVY.isdisjoint(finished.stdout.split()), finished.stderr


def test_json_logs_load_nothing_that_draws(database: Database, tmp_path: Path) -> None:
    line = ["up", "--json", "-s", str(files(tmp_path, _1_a=ONE)), "-d", database.dsn]
    script = f"import sys; from worker.cli import main; code = main({line!r}); print(*sorted(sys.modules)); exit(code)"

    finished = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, cwd=ROOT, env={"PATH": ""}
    )

    assert finished.returncode == 0, finished.stderr
    assert {"rich", "structlog"}.isdisjoint(finished.stdout.split())


def test_admin_upgrade_makes_the_control_schema_and_nothing_else(database: Database) -> None:
    call("admin", "upgrade", DB_URL=database.dsn).is_fine("as new as this program now")
    before = content(database)
    call("admin", "upgrade", DB_URL=database.dsn).is_fine("nothing to do")
    assert content(database) == before
    assert database.psql("SELECT count(*) FROM tidegate.bundle").strip() == "0"
    assert database.psql("SELECT to_regclass('public.schema_migrations') IS NULL").strip() == "t"
