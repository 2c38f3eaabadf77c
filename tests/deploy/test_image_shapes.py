"""An API whose image is one static program, without a shell or Python, held back in every shape; compose and systemd
have files of their own."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import anyio
import pytest

from tests.fixtures.containers import Container, StartContainer
from tests.fixtures.held import HELD, holding
from tests.fixtures.images import Image
from tests.fixtures.network import HOST, free_port
from tests.fixtures.pods import Pod, is_closed, serves
from tests.fixtures.servers import Database
from tests.fixtures.workers import eventually, migrations_in, tables

# The first test waits for the image to be built.
pytestmark = pytest.mark.timeout(600)

BUNDLE = "/migrations"
ADDRESS = "127.0.0.9"
"""Stands for a pod's own address."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Two images, and how a pod's containers are started from them."""

    worker_image: Image
    api_image: Image
    api_program: Path
    start: StartContainer
    database: Database
    bundle: Path

    def tidegate(self, *arguments: str, **env: str) -> Container:
        """Tidegate with the bundle, on the database."""
        env = {"DB_URL": self.database.dsn, "DB_SCHEMA_DIR": BUNDLE, **env}
        return self.start(self.worker_image, *arguments, env=env, binds={BUNDLE: self.bundle, "/api": self.api_program})

    def wait(self) -> Container:
        """The gate, which needs no bundle."""
        arguments = ("wait", "--at-least", "2", "--timeout", "none")
        return self.start(self.worker_image, *arguments, env={"DB_URL": self.database.dsn})

    def api(self, port: int) -> Callable[[], Container]:
        """The API on a port."""
        return lambda: self.start(self.api_image, f"{HOST}:{port}")


@pytest.fixture
def cluster(
    worker_image: Image,
    api_image: Image,
    api_program: Path,
    container: StartContainer,
    database: Database,
    tmp_path: Path,
) -> Cluster:
    bundle = migrations_in(tmp_path / "sql", {**tables(1), 2: HELD})
    return Cluster(worker_image, api_image, api_program, container, database, bundle)


@asynccontextmanager
async def held_back(
    cluster: Cluster, *pods: Pod, ports: list[int], apis: list[Container | None]
) -> AsyncIterator[None]:
    """Run pods while their migration is held; what the block does is done before it may go on."""

    def run(pod: Pod) -> None:
        apis.append(pod.run())

    async with holding(cluster.database) as holder, anyio.create_task_group() as tasks:
        for pod in pods:
            tasks.start_soon(anyio.to_thread.run_sync, run, pod)
        yield
        assert all(is_closed(port) for port in ports)
        assert apis == []
        await holder.close()


def noted(containers: list[Container], start: Callable[[], Container]) -> Callable[[], Container]:
    """The same start, whose container a test can then look at."""

    def started() -> Container:
        containers.append(start())
        return containers[-1]

    return started


async def first_event(containers: list[Container], event: str) -> None:
    """Wait until a container is started and says that."""
    await anyio.to_thread.run_sync(eventually, lambda: bool(containers), "a container was started")
    await anyio.to_thread.run_sync(containers[0].process.wait_for_event, event)


async def test_an_init_container_that_migrates(cluster: Cluster) -> None:
    port, seen, apis = free_port(), list[Container](), list[Container | None]()
    pod = Pod((noted(seen, lambda: cluster.tidegate("up")),), cluster.api(port))
    async with held_back(cluster, pod, ports=[port], apis=apis):
        await first_event(seen, "migration.retried")
    assert serves(apis[0], port)


def test_after_a_migration_that_failed_the_api_never_starts(cluster: Cluster) -> None:
    migrations_in(cluster.bundle, {2: "SELECT 1/0"})
    port = free_port()
    assert Pod((lambda: cluster.tidegate("up"),), cluster.api(port)).run() is None
    assert is_closed(port)


async def test_one_worker_beside_many_apis_whose_init_containers_only_wait(cluster: Cluster) -> None:
    ports, seen, apis = [free_port() for _ in range(3)], list[Container](), list[Container | None]()
    worker = cluster.tidegate(TIDEGATE_HTTP_PORT=str(free_port()))
    pods = [Pod((noted(seen, cluster.wait),), cluster.api(port)) for port in ports]
    async with held_back(cluster, *pods, ports=ports, apis=apis):
        await anyio.to_thread.run_sync(worker.process.wait_for_event, "migration.retried")
        await first_event(seen, "gate.waiting")
    opened = [api.process.wait_for_line(lambda line: line.startswith("listening on ")) for api in apis if api]
    assert sorted(int(line.rpartition(":")[2]) for line in opened) == sorted(ports)


async def test_a_sidecar_whose_startup_probe_asks_for_the_version(cluster: Cluster) -> None:
    port, probed, seen, apis = free_port(), free_port(), list[Container](), list[Container | None]()
    env = {"TIDEGATE_HTTP_HOST": ADDRESS, "TIDEGATE_HTTP_PORT": str(probed)}
    sidecar = noted(seen, lambda: cluster.tidegate(**env))
    pod = Pod((), cluster.api(port), ((sidecar, lambda: startup_probe(probed)),))
    # The probe's port is closed on the loopback throughout, for the worker listens on the pod's address alone.
    async with held_back(cluster, pod, ports=[port, probed], apis=apis):
        await first_event(seen, "migration.retried")
        assert not startup_probe(probed)
    assert serves(apis[0], port)
    assert seen[0].process.exit_code is None
    assert seen[0].stop() == 0


def startup_probe(port: int) -> bool:
    """What a node's agent asks, from another address than the pod's."""
    connection = HTTPConnection(ADDRESS, port, timeout=5)
    try:
        connection.request("GET", "/readyz?at_least=2")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


async def test_exec_in_front_of_the_api_in_one_container(cluster: Cluster) -> None:
    port, seen, apis = free_port(), list[Container](), list[Container | None]()
    command = ("exec", "--", "/api", f"{HOST}:{port}")
    api = noted(seen, lambda: cluster.tidegate(*command, DB_AUTO_MIGRATE="true"))
    async with held_back(cluster, ports=[port], apis=apis):
        api()
        await first_event(seen, "migration.retried")
    assert serves(seen[0], port)
    assert cluster.database.psql("SELECT count(*) FROM schema_migrations WHERE version = 2") == "1"
    assert seen[0].execute("cat", "/proc/1/comm").stdout == "api\n"
