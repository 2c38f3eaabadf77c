"""`plan --lint`: what the real squawk finds, when it refuses, what it is never given, and what it cannot do."""

import os
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from tests.fixtures.cluster import PASSWORD
from tests.fixtures.command_line import call, content, files
from tests.fixtures.servers import Database
from tests.fixtures.tools import tool
from worker.cli import lint

INDEX = "CREATE TABLE n (a bigint);\nCREATE INDEX i ON t (a);\n"
TYPO = "CREATE TABEL n (a bigint);\n"


@pytest.fixture(autouse=True)
def squawk() -> str:
    return tool("squawk")


@pytest.fixture
def imposter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in squawk's place; a test writes it."""
    program = tmp_path / "bin" / "squawk"
    program.parent.mkdir()
    program.touch()
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    return program


def test_findings_are_shown_and_refuse_nothing_unasked(database: Database, tmp_path: Path) -> None:
    folder = files(tmp_path / "app", _1_index=INDEX)
    before = content(database)

    said = call("plan", "--lint", "-s", folder, DB_URL=database.dsn)

    said.is_fine("1_index.up.sql:2:1: warning: ", "[require-concurrent-index-creation]", "  do: Use `concurrently`")
    assert content(database) == before


@pytest.mark.parametrize(
    ("sql", "threshold", "code"), [(INDEX, "warning", 3), (INDEX, "error", 0), (TYPO, "warning", 3), (TYPO, "error", 3)]
)
def test_a_finding_that_is_severe_enough_refuses(
    database: Database, tmp_path: Path, sql: str, threshold: str, code: int
) -> None:
    said = call("plan", f"--lint={threshold}", "-s", files(tmp_path / "app", _1_a=sql), DB_URL=database.dsn)

    assert said.code == code, said
    assert "1_a.up.sql:" in said.out
    if code:
        said.is_error(3, "the linter found ", ".squawk.toml")


def test_only_what_would_be_run_is_looked_at(database: Database, tmp_path: Path) -> None:
    folder = files(tmp_path / "app", _1_a="CREATE TABLE t (a int);")
    call("up", "-s", folder, DB_URL=database.dsn).is_fine()
    (folder / "1_a.down.sql").write_text("DROP TABLE t;\n")

    up = call("plan", "--lint", "--json", "-s", folder, DB_URL=database.dsn).document
    down = call("plan", "--down", 1, "--lint", "--json", "-s", folder, DB_URL=database.dsn).document

    assert up["findings"] == []
    assert [(each["file"], each["rule"]) for each in down["findings"]] == [("1_a.down.sql", "ban-drop-table")]


def test_what_tidegate_answers_for_is_no_finding(database: Database, tmp_path: Path) -> None:
    folder = files(tmp_path / "app", _1_a="ALTER TABLE t ADD b bigint;", _2_b="CREATE INDEX CONCURRENTLY i ON t (b);")

    assert call("plan", "--lint", "--json", "-s", folder, DB_URL=database.dsn).document["findings"] == []


def test_columns_count_characters(database: Database, tmp_path: Path) -> None:
    folder = files(tmp_path / "app", _1_a="/* äöü */ CREATE TABLE \U0001f40b (a int);")

    (found,) = call("plan", "--lint", "--json", "-s", folder, DB_URL=database.dsn).document["findings"]

    assert (found["line"], found["column"], found["rule"]) == (1, 29, "prefer-bigint-over-int")


def test_the_users_own_settings_are_heeded(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, here = files(tmp_path / "app", _1_index=INDEX), tmp_path / "project" / "deep"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    rules = here.parent / ".squawk.toml"

    rules.write_text('excluded_rules = ["require-concurrent-index-creation"]\n')
    assert call("plan", "--lint", "--json", "-s", folder, DB_URL=database.dsn).document["findings"] == []
    rules.write_text('excluded_rules = ["no-such-rule"]\n')
    call("plan", "--lint", "-s", folder, DB_URL=database.dsn).is_error(
        2, "squawk failed", "no-such-rule", ".squawk.toml"
    )


def test_a_missing_linter_says_how_to_get_it(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    said = call("plan", "--lint", "-s", files(tmp_path / "app", _1_a=INDEX), DB_URL=database.dsn, PATH=str(tmp_path))

    said.is_error(2, "--lint needs the linter squawk", "pip install 'tidegate[lint]'")


def test_the_linter_gets_no_secret_and_leaves_no_file(
    database: Database, tmp_path: Path, imposter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, scratch = tmp_path / "seen", tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    imposter.write_text(f"#!/bin/sh\n{{ env; echo \"$@\"; cat /dev/stdin; }} >{seen}\necho '[]'\n")

    call("plan", "--lint", "-s", files(tmp_path / "app", _1_a=INDEX), DB_URL=database.dsn, DB_PASS=PASSWORD).is_fine()

    assert PASSWORD not in seen.read_text()
    assert "DB_URL" not in seen.read_text()
    assert f"--pg-version {database.server.version}" in seen.read_text()
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo nonsense", "was not understood"),
        ("echo '[{}]'", "was not understood"),
        ("echo out of order >&2; exit 9", "out of order"),
        ("kill -9 $$", "exit code -9"),
    ],
)
def test_a_linter_that_misbehaves_is_told_apart(
    database: Database, tmp_path: Path, imposter: Path, script: str, message: str
) -> None:
    imposter.write_text(f"#!/bin/sh\n{script}\n")

    call("plan", "--lint", "-s", files(tmp_path / "app", _1_a=INDEX), DB_URL=database.dsn).is_error(2, message)


def test_a_linter_that_hangs_is_stopped(
    database: Database, tmp_path: Path, imposter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lint, "_SECONDS", 0.5)
    imposter.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 600\n")

    call("plan", "--lint", "-s", files(tmp_path / "app", _1_a=INDEX), DB_URL=database.dsn).is_error(
        4, "the linter took"
    )

    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
