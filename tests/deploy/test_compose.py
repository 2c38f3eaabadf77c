"""The compose file: by its schema, by what the program takes, and brought up in its order on a real server."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml

from tests.fixtures.compose import DependencyError, Project, Stand
from tests.fixtures.containers import StartContainer
from tests.fixtures.held import HELD, holding
from tests.fixtures.images import Image
from tests.fixtures.network import HOST, free_port, http_get
from tests.fixtures.pods import is_closed, serves
from tests.fixtures.servers import Database
from tests.fixtures.tools import tool
from tests.fixtures.workers import eventually, migrations_in, tables
from worker.cli.arguments import parse
from worker.settings.reading import read_settings

# The first test waits for the image to be built.
pytestmark = pytest.mark.timeout(600)

DEPLOY = Path(__file__).parents[2] / "deploy"
SECRETS = ("postgres-password", "migrator-password", "api-password")
Document = dict[str, Any]


@pytest.fixture
def document() -> Document:
    loaded: Document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    for name in SECRETS:
        (tmp_path / "secrets" / name).write_text(f"of {name}'s own\n")
    return tmp_path / "secrets"


@pytest.fixture
def app(database: Database, secrets: Path) -> Iterator[Database]:
    """The database as the service `db` makes it."""
    roles = (DEPLOY / "postgres/roles.sql").read_text().replace("/run/secrets", str(secrets))
    database.psql(roles)
    yield database
    database.psql("DROP OWNED BY migrator; DROP OWNED BY api; DROP ROLE migrator, api")


@pytest.fixture
def project(
    app: Database,
    document: Document,
    secrets: Path,
    worker_image: Image,
    api_image: Image,
    container: StartContainer,
    tmp_path: Path,
) -> Project:
    """The compose project with its own migrations, on this machine's network."""
    (tmp_path / "hosts").write_text(f"{HOST} db worker\n")
    for name in ("migrate", "worker"):
        document["services"][name]["volumes"] = ["migrations:/migrations:ro"]
    env = {"DB_PORT": str(app.server.port), "DB_NAME": app.name, "TIDEGATE_HTTP_PORT": str(free_port())}
    worker = Stand(worker_image, env=env)
    stands = {"migrate": worker, "worker": worker, "api": Stand(api_image, (f"{HOST}:{free_port()}",))}
    return Project(document, tmp_path, secrets, tmp_path / "hosts", stands, container)


def test_it_follows_the_schema_of_compose(tmp_path: Path) -> None:
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    assert subprocess.run([*command, DEPLOY / "compose.yaml"], check=False).returncode == 0
    (tmp_path / "compose.yaml").write_text("services: {api: {imagine: nginx}}")
    assert subprocess.run([*command, tmp_path / "compose.yaml"], check=False, capture_output=True).returncode == 1


@pytest.mark.parametrize("name", ["migrate", "worker"])
def test_its_commands_and_settings_are_understood(document: Document, name: str, secrets: Path, tmp_path: Path) -> None:
    service = document["services"][name]
    _, flags = parse(service["command"])
    migrations_in(tmp_path / "migrations", tables(1))
    files = {"DB_PASS_FILE": str(secrets / "migrator-password"), "DB_SCHEMA_DIR": str(tmp_path / "migrations")}
    settings = read_settings({**service["environment"], **files}, flags.settings, worker="w")
    assert settings.database is not None
    assert settings.database.migrating.read().user == "migrator"
    assert settings.control.readers == ("api",)


def test_every_file_that_it_mounts_is_there(document: Document) -> None:
    services = document["services"].values()
    sources = [volume.split(":")[0] for service in services for volume in service.get("volumes", ())]
    assert [source for source in sources if source.startswith(".") and not (DEPLOY / source).exists()] == []


def test_no_password_is_in_it_and_each_service_sees_its_own(document: Document) -> None:
    services = document["services"]
    assert services["api"]["secrets"] == ["api-password"]
    assert services["migrate"]["secrets"] == services["worker"]["secrets"] == ["migrator-password"]
    passwords = {
        name: value
        for service in services.values()
        for name, value in service.get("environment", {}).items()
        if "PASS" in name
    }
    assert passwords
    assert {name for name, value in passwords.items() if not value.startswith("/run/secrets/")} == set()
    assert set(document["secrets"]) == set(SECRETS)


def test_prometheus_scrapes_the_worker_where_it_listens(document: Document) -> None:
    scrape = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert [target for job in scrape for config in job["static_configs"] for target in config["targets"]] == [
        "worker:8017"
    ]
    assert "worker" in document["services"]


@pytest.mark.parametrize("gate", ["migrate", "worker"])
async def test_the_api_starts_when_what_it_depends_on_is_done(project: Project, app: Database, gate: str) -> None:
    condition = {"migrate": "service_completed_successfully", "worker": "service_healthy"}[gate]
    project.document["services"]["api"]["depends_on"] = {gate: {"condition": condition}}
    port = int(project.stands["api"].arguments[0].partition(":")[2])
    async with holding(app, owner="migrator") as holder, anyio.create_task_group() as tasks:
        migrations_in(project.folder / "migrations", {**tables(1), 2: HELD})
        tasks.start_soon(anyio.to_thread.run_sync, project.up, "api")
        await anyio.to_thread.run_sync(eventually, lambda: gate in project.started, f"{gate} was started")
        await anyio.to_thread.run_sync(project.started[gate].process.wait_for_event, "migration.retried")
        assert "api" not in project.started
        assert is_closed(port)
        await holder.close()
    assert serves(project.started["api"], port)


def test_the_api_does_not_start_after_a_migration_that_failed(project: Project) -> None:
    migrations_in(project.folder / "migrations", {1: "SELECT 1/0"})
    with pytest.raises(DependencyError, match="division by zero"):
        project.up("api")
    assert "api" not in project.started


def test_prometheus_gets_metrics_and_the_api_s_role_reads_and_writes_rows(project: Project, app: Database) -> None:
    migrations_in(project.folder / "migrations", tables(1))
    worker = project.up("worker")
    eventually(worker.is_healthy, "the worker is healthy")
    answer = http_get(int(project.stands["worker"].env["TIDEGATE_HTTP_PORT"]), "/metrics", headers={"Host": "worker"})
    assert 'tidegate_ready{target="public.schema_migrations"} 1.0' in answer.body
    as_api = app.psql("SET ROLE api; INSERT INTO t1 VALUES (7); SELECT a FROM t1; SELECT tidegate.ready(1)")
    assert as_api.split() == ["7", "t"]
    assert app.psql("SELECT tableowner FROM pg_tables WHERE tablename = 't1'") == "migrator"
