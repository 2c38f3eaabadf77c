"""The chart's trusted keys: mounted where something migrates, and nowhere else."""

from typing import Any

import pytest

from tests.fixtures.manifests import one, pods, rendered
from tests.fixtures.renderings import SHAPES, SOURCES, shaped

KEYS = {"ci.pub": "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n"}
TRUST: dict[str, Any] = {"keys": KEYS, "audience": "shop", "minSequence": 7}
SETTINGS = {
    "TIDEGATE_TRUSTED_KEYS": "/tidegate/trust",
    "TIDEGATE_TRUST": "require",
    "TIDEGATE_AUDIENCE": "shop",
    "TIDEGATE_MIN_SEQUENCE": "7",
}
MIGRATING = {"tidegate", "tidegate-up"}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_migrates_gets_the_keys_and_what_waits_does_not(shape: str, source: str) -> None:
    manifests = rendered({**shaped(shape, source), "trust": TRUST})
    containers = [(pod, container) for pod in pods(manifests) for container in pod.containers]
    assert MIGRATING & {container.name for _, container in containers}
    for pod, container in containers:
        migrates = container.name in MIGRATING
        mounts = [mount["mountPath"] for mount in container.spec.get("volumeMounts", [])]
        assert ("/tidegate/trust" in mounts) is migrates
        assert (container.literals.items() >= SETTINGS.items()) is migrates
        if migrates:
            assert "tidegate-trust" in [volume["name"] for volume in pod.spec["volumes"]]


def test_the_keys_lie_in_a_config_map_of_the_charts_or_of_yours() -> None:
    name = "app-tidegate-trust"
    assert one(rendered({"trust": TRUST}), "ConfigMap", name)["data"] == KEYS
    yours = rendered({"trust": {"configMap": "team-keys", "audience": "shop", "policy": "warn"}})
    (worker,) = pods(yours)
    assert [volume["configMap"]["name"] for volume in worker.spec["volumes"]] == ["team-keys"]
    assert worker.container("tidegate").literals["TIDEGATE_TRUST"] == "warn"
    assert not [each for each in yours if each["kind"] == "ConfigMap"]


def test_without_keys_nothing_is_said_about_trust() -> None:
    (worker,) = pods(rendered({}))
    assert not SETTINGS.keys() & worker.container("tidegate").literals.keys()


def test_a_signature_may_lie_among_the_files_of_a_config_map() -> None:
    files = {"0001_a.up.sql": "SELECT 1", "bundle.sig": "tidegate bundle signature 1\n"}
    values = {"sql": {"from": "configMap", "configMap": {"files": files}}}
    assert one(rendered(values), "ConfigMap")["data"] == files
