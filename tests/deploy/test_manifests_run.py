"""Containers of the chart as processes: the very arguments, variables and Secrets, on a real server, as real roles."""

from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.manifests import Container, Object, environment, one, pod, rendered
from tests.fixtures.network import free_port, http_get
from tests.fixtures.processes import Process, StartTidegate
from tests.fixtures.roles import RoleSet
from tests.fixtures.servers import Database
from tests.fixtures.workers import eventually, finish, migrations_in, sleeping, tables

API = "app-tidegate-api"
UNTIL_ASKED = """
DO $$ BEGIN
    FOR attempt IN 1..1000 LOOP
        EXIT WHEN EXISTS (SELECT FROM t1);
        PERFORM pg_sleep(0.05);
    END LOOP;
END $$;
"""


@pytest.fixture
def sql(tmp_path: Path) -> Path:
    return migrations_in(tmp_path / "migrations", tables(1, 2))


@pytest.fixture
def values(roles: RoleSet, sql: Path) -> dict[str, Any]:
    """Two roles with two Secrets, as `admin grants` sets them up, and an API that needs version 2."""
    migrator = {"createSecret": {"DB_URL": roles.dsn("migrator")}, "options": f"-c role={roles.owner}"}
    return {
        "sql": {"directory": str(sql)},
        "readers": [roles.api],
        "database": {"migrator": migrator, "api": {"createSecret": {"DB_URL": roles.dsn("api")}}},
        "api": {"image": "images.example/api:1.4.0", "requirement": "version:2"},
    }


def started(tidegate: StartTidegate, manifests: list[Object], owner: str, name: str, **more: str) -> Process:
    found = pod(manifests, owner)
    container = found.container(name)
    return tidegate(*container.spec["args"], env={**environment(container, found, manifests), **more})


def ready(container: Container, port: int) -> bool:
    try:
        return http_get(port, container.spec["startupProbe"]["httpGet"]["path"]).status == 200
    except OSError:
        return False


def test_the_gate_of_an_api_waits_for_the_step_that_migrates(tidegate: StartTidegate, values: dict[str, Any]) -> None:
    manifests = rendered({**values, "shape": "initContainer"})
    gate = started(tidegate, manifests, API, "tidegate-wait")
    gate.wait_for_event("gate.waiting")
    finish(started(tidegate, manifests, API, "tidegate-up"))
    finish(gate)


def test_the_gate_of_an_api_waits_for_the_job(tidegate: StartTidegate, values: dict[str, Any]) -> None:
    manifests = rendered({**values, "shape": "job"})
    gate = started(tidegate, manifests, API, "tidegate-wait")
    gate.wait_for_event("gate.waiting")
    finish(started(tidegate, manifests, one(manifests, "Job")["metadata"]["name"], "tidegate-up"))
    finish(gate)


def test_a_sidecar_lets_the_api_start_when_the_schema_is_ready_and_stays(
    tidegate: StartTidegate, database: Database, values: dict[str, Any], sql: Path
) -> None:
    migrations_in(sql, {2: UNTIL_ASKED})
    manifests = rendered({**values, "shape": "sidecar"})
    container, port = pod(manifests, API).container("tidegate"), free_port()
    worker = started(tidegate, manifests, API, "tidegate", TIDEGATE_HTTP_PORT=str(port))
    eventually(lambda: bool(sleeping(database)), "it migrates")
    assert not ready(container, port)
    assert http_get(port, container.spec["livenessProbe"]["httpGet"]["path"]).status == 200

    database.psql("INSERT INTO t1 VALUES (1)")

    eventually(lambda: ready(container, port), "the start-up probe succeeds")
    assert worker.exit_code is None


def test_a_worker_answers_every_probe_that_it_is_given(tidegate: StartTidegate, values: dict[str, Any]) -> None:
    manifests, port = rendered({**values, "shape": "deployment"}), free_port()
    spec = pod(manifests, "app-tidegate").container("tidegate").spec
    worker = started(tidegate, manifests, "app-tidegate", "tidegate", TIDEGATE_HTTP_PORT=str(port))
    worker.wait_for_event("http.serving")
    for probe in ("startupProbe", "livenessProbe"):
        assert http_get(port, spec[probe]["httpGet"]["path"]).status == 200
    eventually(lambda: http_get(port, spec["readinessProbe"]["httpGet"]["path"]).status == 200, "it is ready")
    finish(started(tidegate, manifests, API, "tidegate-wait"))
