"""Who is given which Secret: an API's container never the migrator's, in no shape and by no detour."""

from typing import Any

import pytest

from tests.fixtures.manifests import PROGRAMS, Container, Pod, one, pod, pods, refusal, rendered, secrets_of
from tests.fixtures.renderings import CONNECTIONS, NAMES, SHAPES, rendering, shaped

MIGRATORS = {"app-tidegate-migrator", "tidegate-migrator", "neosync-api-migrations"}


def named(container: Container, found: Pod) -> set[str]:
    """The Secrets of a container and of the volumes that it mounts."""
    mounted = {mount["name"] for mount in container.spec.get("volumeMounts") or []}
    volumes = [volume for volume in found.spec.get("volumes") or [] if volume["name"] in mounted]
    return secrets_of([container.spec, *volumes])


@pytest.mark.parametrize("name", NAMES)
def test_an_api_and_its_gate_never_see_the_migrators_secret(name: str) -> None:
    for found in pods(rendering(name)):
        for container in found.containers:
            migrates = PROGRAMS.get(container.name, "wait") != "wait"
            seen = named(container, found)
            assert bool(seen & MIGRATORS) is migrates, (found.name, container.name, seen)


def test_a_pod_in_which_nothing_migrates_does_not_name_it_at_all() -> None:
    for shape in ("deployment", "job"):
        found = pod(rendered(shaped(shape, "copy")), "app-tidegate-api")
        assert secrets_of(found.owner) == {"app-tidegate-api"}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("connection", CONNECTIONS)
def test_the_created_secrets_hold_what_the_values_say_and_no_more(shape: str, connection: str) -> None:
    manifests = rendered(shaped(shape, connection=connection))
    for role in ("migrator", "api"):
        secret = one(manifests, "Secret", f"app-tidegate-{role}")
        assert secret["stringData"] == CONNECTIONS[connection]["createSecret"]


def test_secrets_of_ones_own_are_named_and_none_is_created() -> None:
    values = {
        **shaped("initContainer"),
        "database": {"migrator": {"existingSecret": "m"}, "api": {"existingSecret": "a"}},
    }
    manifests = rendered(values)
    assert not [each for each in manifests if each["kind"] == "Secret"]
    found = pod(manifests, "app-tidegate-api")
    assert secrets_of(found.container("tidegate-up").spec) == {"m"}
    assert secrets_of(found.container("tidegate-wait").spec) == secrets_of(found.container("api").spec) == {"a"}


def test_options_go_to_the_role_whose_they_are() -> None:
    roles = {"migrator": {"options": "-c role=owner"}, "api": {"options": "-c statement_timeout=5s"}}
    found = pod(rendered({**shaped("initContainer"), "database": roles}), "app-tidegate-api")
    migrating, waiting = found.container("tidegate-up").literals, found.container("tidegate-wait").literals
    assert (migrating["DB_MIGRATIONS_OPTIONS"], waiting["DB_OPTIONS"]) == ("-c role=owner", "-c statement_timeout=5s")
    assert "DB_OPTIONS" not in migrating
    assert "DB_MIGRATIONS_OPTIONS" not in waiting


@pytest.mark.parametrize(
    "database",
    [
        {"migrator": {"existingSecret": "both"}, "api": {"existingSecret": "both"}},
        {"api": {"existingSecret": "app-tidegate-migrator"}},
    ],
)
def test_one_secret_for_both_roles_is_refused(database: dict[str, Any]) -> None:
    assert "the API would hold the migrator's password; make two" in refusal(
        {**shaped("sidecar"), "database": database}
    )


@pytest.mark.parametrize(
    "detour",
    [
        {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "app-tidegate-migrator", "key": "DB_URL"}}}]},
        {"envFrom": [{"secretRef": {"name": "app-tidegate-migrator"}}]},
        {"volumes": [{"name": "v", "secret": {"secretName": "app-tidegate-migrator"}}]},
        {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "app-tidegate-migrator"}}]}}]},
    ],
)
def test_an_api_that_names_the_migrators_secret_itself_is_refused(detour: dict[str, Any]) -> None:
    values = shaped("deployment")
    said = refusal({**values, "api": {**values["api"], **detour}})
    assert "api names the Secret app-tidegate-migrator, which is the migrator's" in said


def test_an_api_cannot_mount_what_is_there_for_tidegate() -> None:
    values = shaped("sidecar")
    mount = {"name": "authority", "mountPath": "/etc/authority"}
    volume = {"name": "authority", "secret": {"secretName": "app-tidegate-migrator"}}
    said = refusal({**values, "extraVolumes": [volume], "api": {**values["api"], "volumeMounts": [mount]}})
    assert "api.volumeMounts names the volume authority, which is not in api.volumes" in said
