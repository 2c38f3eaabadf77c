"""`deploy/moving.md` as a reader follows it: its commands are run in order, as they are written."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.cluster import PASSWORD
from tests.fixtures.command_line import content, files
from tests.fixtures.processes import ROOT
from tests.fixtures.roles import PASSWORD as ROLE_PASSWORD
from tests.fixtures.roles import RoleSet
from tests.fixtures.servers import Database

PAGE = (ROOT / "deploy" / "moving.md").read_text(encoding="utf-8")
ONE, TWO, THREE = (f"CREATE TABLE t{number} (a int)" for number in (1, 2, 3))
NEOSYNCS = "neosync_api_schema_migrations"
API = '#!/bin/sh\necho "the API runs, DB_AUTO_MIGRATE=$DB_AUTO_MIGRATE"\n'


def commands(heading: str) -> list[str]:
    """The shell blocks of one section."""
    (section,) = re.findall(rf"^## {heading}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return [
        re.sub(r"^   ", "", block, flags=re.MULTILINE) for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    ]


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody with the migrations, the API and the program at hand."""

    folder: Path

    def runs(self, block: str, env: Mapping[str, str]) -> str:
        """What a block prints; each of its commands has to end well."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        finished = subprocess.run(
            ["sh", "-eu"], input=block, env={"PATH": path, **env}, cwd=self.folder, text=True, capture_output=True,
            check=False, timeout=60,
        )  # fmt: skip
        assert finished.returncode == 0, f"{block}\n{finished.stdout}\n{finished.stderr}"
        return finished.stdout


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    files(tmp_path / "migrations", _1_a=ONE, _2_b=TWO, _3_c=THREE)
    (tmp_path / "api").write_text(API)
    (tmp_path / "api").chmod(0o755)
    return Reader(tmp_path)


def golang(database: Database, table: str, role: str = "postgres") -> None:
    """What golang-migrate leaves behind at version 2."""
    database.psql(
        f'SET ROLE "{role}"; {ONE}; {TWO}; CREATE TABLE {table} (version bigint not null primary key, '
        f"dirty boolean not null); INSERT INTO {table} VALUES (2, false)"
    )


def origins(database: Database) -> str:
    return database.psql("SELECT version, origin FROM tidegate.ledger WHERE target ^@ 'public.' ORDER BY 1")


def test_golang_migrates_users_come_over_as_the_page_says(database: Database, reader: Reader) -> None:
    golang(database, "schema_migrations")
    look, take_over, replace, hold = commands("From golang-migrate, in five steps")
    env, before = {"DB_URL": database.dsn}, content(database)

    assert reader.runs(look, env).startswith("2\n")
    assert content(database) == before
    assert "1 migrations run, 2 adopted from golang-migrate; it is at version 3" in reader.runs(take_over, env)
    assert "nothing to do; it is at version 3" in reader.runs(replace, env)
    assert "the API runs" in reader.runs(hold, env)
    assert origins(database) == "1|adopted\n2|adopted\n3|applied"
    assert database.psql("SELECT * FROM schema_migrations") == "3|f"


def neosyncs(database: Database, user: str, password: str) -> dict[str, str]:
    """Neosync's variables."""
    return {
        "DB_HOST": database.server.host, "DB_PORT": str(database.server.port), "DB_NAME": database.name,
        "DB_USER": user, "DB_PASS": password, "DB_SSL_DISABLE": "true",
        "DB_SCHEMA_DIR": "./migrations", "DB_MIGRATIONS_TABLE": NEOSYNCS,
    }  # fmt: skip


def test_neosyncs_users_of_auto_mode_come_over_as_the_page_says(database: Database, reader: Reader) -> None:
    golang(database, NEOSYNCS)
    config, look, auto, _, _, check = commands("From Neosync's migration step, in five steps")
    env, before = neosyncs(database, "postgres", PASSWORD), content(database)

    shown = reader.runs(config, env)
    assert NEOSYNCS in shown
    assert PASSWORD not in shown
    reader.runs(look, env)
    assert content(database) == before
    assert "the API runs, DB_AUTO_MIGRATE=false" in reader.runs(auto, env)
    assert f"public.{NEOSYNCS}" in reader.runs(check, env)
    assert origins(database) == "1|adopted\n2|adopted\n3|applied"


def test_neosyncs_users_of_split_mode_come_over_as_the_page_says(
    database: Database, role_names: RoleSet, reader: Reader
) -> None:
    role_names.set_up()
    golang(database, NEOSYNCS, role_names.owner)
    config, look, _, migrate, start, check = commands("From Neosync's migration step, in five steps")
    migrator = neosyncs(database, role_names.migrator, ROLE_PASSWORD) | {
        "DB_MIGRATIONS_OPTIONS": f"-c role={role_names.owner}", "API_ROLE": role_names.api,
    }  # fmt: skip

    reader.runs(config, migrator)
    reader.runs(look, migrator)
    assert "2 adopted from golang-migrate; it is at version 3" in reader.runs(migrate, migrator)
    assert "the API runs, DB_AUTO_MIGRATE=false" in reader.runs(
        start, neosyncs(database, role_names.api, ROLE_PASSWORD)
    )
    assert f"public.{NEOSYNCS}" in reader.runs(check, migrator)
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('public', 'tidegate')"
    assert database.psql(owners) == role_names.owner


def test_the_way_back_is_as_the_page_says(database: Database, reader: Reader) -> None:
    env = {"DB_URL": database.dsn}
    reader.runs("tidegate up --source ./migrations", env)
    see, drop = commands("The way back")
    before = content(database)

    assert "version table public.schema_migrations, version 3, clean" in reader.runs(see, env)
    assert content(database) == before
    assert "public.schema_migrations: version 3, clean" in reader.runs(drop, env)
    assert database.psql("SELECT to_regnamespace('tidegate') IS NULL") == "t"
    assert "3 adopted from golang-migrate" in reader.runs("tidegate up --source ./migrations", env)


def verbs() -> Iterator[str]:
    yield from re.findall(r"tidegate ((?:admin )?[a-z]+)", PAGE)


@pytest.mark.parametrize("words", sorted(set(verbs())))
def test_every_command_that_the_page_names_is_there(words: str, reader: Reader) -> None:
    assert "usage: tidegate" in reader.runs(f"tidegate {words} --help", {})
