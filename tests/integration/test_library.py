"""The library face on a real server, and every example of its documentation as it is printed there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

import worker
from tests.fixtures.jobs import until
from tests.fixtures.network import free_port, http_get
from tests.fixtures.processes import ROOT
from tests.fixtures.servers import Database
from tests.fixtures.signing import AUDIENCE, new_signer
from tests.fixtures.sites import bundle_of, tables, worker_on
from tests.fixtures.workers import eventually, migrations_in
from worker.bundles.shipped import shipped
from worker.errors import MigrationFailedError, NoDatabaseError, RefusedError, TimedOutError, UsageError

DOCUMENT = ROOT / "deploy" / "library.md"
EXAMPLES = dict(
    re.findall(r"^```python\n# (\S+)\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return migrations_in(tmp_path / "m", tables(1, 2))


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A directory with the documentation's examples and the migrations that they are about."""
    for name, text in EXAMPLES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    shutil.copytree(shipped("example"), tmp_path / "migrations")
    return tmp_path


def run(program: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the examples' directory, and take what it says."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=program, env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=False, capture_output=True, text=True, timeout=100,
    )  # fmt: skip


def test_every_example_is_run_here() -> None:
    assert set(EXAMPLES) == {"migrate.py", "api.py", "conftest.py", "test_books.py"}
    assert DOCUMENT.read_text(encoding="utf-8").count("```python") == len(EXAMPLES)


def test_the_example_that_migrates(program: Path, database: Database) -> None:
    done = run(program, "migrate.py", DB_URL=database.dsn)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "applied 12",
        "public.schema_migrations is at 12 with 0 pending",
        "0 objects were changed by hand",
    ]
    assert run(program, "migrate.py", DB_URL=database.dsn).stdout.startswith("up_to_date 12\n")


def test_the_example_that_waits(program: Path, database: Database) -> None:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "api:app", "--port", str(port), "--log-level", "warning"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DB_URL": database.dsn}
    with subprocess.Popen(command, cwd=program, env=environment) as api:
        try:
            assert run(program, "migrate.py", DB_URL=database.dsn).returncode == 0
            eventually(lambda: _answers(port), "the API answers once the schema is ready")
        finally:
            api.terminate()


def _answers(port: int) -> bool:
    try:
        return http_get(port, "/").body == "the schema is ready\n"
    except OSError:
        return False


def test_the_examples_tests_pass_with_a_database_for_each_and_leave_the_template(
    program: Path, database: Database
) -> None:
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(program))
    first = run(program, *arguments, TEST_SERVER=database.dsn)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "2 passed" in first.stdout
    templates = _databases(database, "template")
    second = run(program, *arguments, TEST_SERVER=database.dsn)
    assert second.returncode == 0, second.stdout + second.stderr
    assert _databases(database, "template") == templates
    assert len(templates) == 1
    assert _databases(database, "test") == []
    database.psql(f"DROP DATABASE {templates[0]}")


def test_test_processes_at_once_make_one_template(program: Path, database: Database) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(program)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TEST_SERVER": database.dsn}
    processes = [subprocess.Popen(command, cwd=program, env=environment, stdout=subprocess.PIPE) for _ in range(3)]
    said = [process.communicate(timeout=100)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    (template,) = _databases(database, "template")
    database.psql(f"DROP DATABASE {template}")


def _databases(database: Database, kind: str) -> list[str]:
    return database.psql(f"SELECT datname FROM pg_database WHERE datname LIKE 'tidegate_{kind}_%'").split()


def test_a_fixture_that_was_not_overridden_says_what_to_do(program: Path) -> None:
    (program / "conftest.py").write_text('pytest_plugins = ["worker.testing"]\n', encoding="utf-8")
    said = run(program, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(program)).stdout
    assert "override the session fixture tidegate_server in conftest.py" in said
    assert "Traceback" not in said


def test_a_server_that_is_not_there_is_one_clear_error(program: Path) -> None:
    nowhere = f"postgresql://u:secret-word@127.0.0.1:{free_port()}/postgres"
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(program))
    said = run(program, *arguments, TEST_SERVER=nowhere).stdout
    assert "hint:" in said
    assert "secret-word" not in said


async def test_apply_says_what_it_did(source: Path, database: Database) -> None:
    report = await worker.apply(source, database=database.dsn, label="1.0")
    assert (report.result, report.bundle, report.applied, report.version) == (worker.Result.APPLIED, "1.0", (1, 2), 2)
    again = await worker.apply(str(source), database=database.dsn)
    assert (again.result, again.applied) == (worker.Result.UP_TO_DATE, ())


async def test_apply_without_a_directory_takes_what_was_published(source: Path, database: Database) -> None:
    published = await worker.publish(source, database=database.dsn, label="1.0")
    assert (published.label, published.line, published.changed) == ("1.0", "schema_migrations", True)
    assert not (await worker.publish(source, database=database.dsn)).changed
    assert (await worker.apply(database=database.dsn)).applied == (1, 2)


async def test_a_bundle_that_nobody_signed_is_refused_where_signatures_are_required(
    source: Path, database: Database, tmp_path: Path
) -> None:
    required = {"trusted_keys": str(new_signer(tmp_path / "keys").public), "audience": AUDIENCE}
    for call in (worker.publish, worker.apply):
        with pytest.raises(RefusedError) as raised:
            await call(source, database=database.dsn, **required)
        assert raised.value.reason == "untrusted"
    assert (await worker.status(database=database.dsn)).wanted is None


async def test_a_wait_ends_when_another_task_has_applied(source: Path, database: Database) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: worker.wait_ready("version:2", database=database.dsn, timeout="30s"))
        await worker.apply(source, database=database.dsn)


async def test_errors_are_the_programs_own(tmp_path: Path, source: Path, database: Database) -> None:
    failing = migrations_in(tmp_path / "f", {1: "SELECT 1/0"})
    with pytest.raises(MigrationFailedError, match="division by zero"):
        await worker.apply(failing, database=database.dsn)
    with pytest.raises(UsageError, match="there is no setting tabel"):
        await worker.apply(source, database=database.dsn, tabel="x")
    with pytest.raises(UsageError, match="no database is set"):
        await worker.status()
    with pytest.raises(TimedOutError):
        await worker.wait_ready("version:9", database=database.dsn, timeout="0")
    with pytest.raises(NoDatabaseError):
        await worker.status(database=f"postgresql://u@127.0.0.1:{free_port()}/x")
    assert issubclass(RefusedError, worker.TidegateError)


async def test_settings_are_arguments_and_status_and_drift_are_typed(source: Path, database: Database) -> None:
    place = {"schema": "control", "migrations_table": "versions"}
    await worker.apply(source, database=database.dsn, **place)
    status = await worker.status(database=database.dsn, **place)
    assert (status.target, status.applied, status.pending) == ("public.versions", 2, ())
    await database.execute("ALTER TABLE t1 ADD b int")
    found = await worker.drift(database=database.dsn, **place)
    assert isinstance(found, worker.Drift)
    assert [(one.thing.name, one.change) for one in found.differences] == [("public.t1.b", worker.Change.ADDED)]


async def test_no_connection_is_left(source: Path, database: Database) -> None:
    await worker.apply(source, database=database.dsn)
    await worker.status(database=database.dsn)
    conn = await database.connect()
    try:
        others = "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tidegate%'"
        await until(conn, f"SELECT NOT EXISTS (SELECT {others})")
    finally:
        await conn.close()


def test_importing_the_package_loads_nothing_and_its_names_are_all_there() -> None:
    program = """
import sys
before = set(sys.modules)
import worker
print(sorted(name for name in set(sys.modules) - before if not name.startswith("__")))
assert set(worker.__all__) <= set(dir(worker))
print(all(getattr(worker, name) is not None for name in worker.__all__), "asyncpg" in sys.modules)
try:
    worker.nothing
except AttributeError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == ["['worker']", "True True", "module 'worker' has no attribute 'nothing'"]


def test_type_checkers_see_the_types(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import worker\n\nasync def main() -> None:\n    reveal_type(await worker.apply('m'))\n"
        "    reveal_type(await worker.drift())\n    await worker.apply(3)\n",
        encoding="utf-8",
    )
    arguments = [sys.executable, "-m", "mypy", "--config-file", os.devnull, "--cache-dir", str(tmp_path), str(program)]
    said = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100).stdout
    assert 'Revealed type is "worker.jobs.site.Report"' in said
    assert (
        'Revealed type is "worker.core.status.drift.Drift | worker.core.status.drift.Unknown"' in said
        or "Union[" in said
    )
    assert 'incompatible type "int"' in said


async def test_a_clone_of_a_template_is_another_database_until_it_is_stamped(database: Database) -> None:
    async with worker_on(database) as one:
        await one.up(bundle_of(tables(1), "1.0"))
    name = f"{database.name}_copy"
    database.server.psql(f"CREATE DATABASE {name} TEMPLATE {database.name}")
    try:
        url = urlsplit(database.dsn)._replace(path=f"/{name}").geturl()
        with pytest.raises(TimedOutError, match="another"):
            await worker.wait_ready("version:1", database=url, timeout="0")
        await worker.apply(database=url)
        await worker.wait_ready("version:1", database=url, timeout="0")
    finally:
        database.server.psql(f"DROP DATABASE {name} WITH (FORCE)")
