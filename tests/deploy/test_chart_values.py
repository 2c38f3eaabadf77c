"""Bad values end in a message that names the value and says what it takes, and nothing is rendered."""

from typing import Any

import pytest
import yaml

from tests.fixtures.manifests import CHART, Object, one, pod, refusal, rendered
from tests.fixtures.renderings import shaped
from worker.settings.table import SETTINGS

KEYS = {"ci.pub": "-----BEGIN PUBLIC KEY-----\n"}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"shape": "daemonset"}, "at '/shape': value must be one of 'deployment', 'initContainer', 'sidecar'"),
    ({"shapes": "job"}, "additional properties 'shapes' not allowed"),
    ({"worker": {"replica": 2}}, "at '/worker': additional properties 'replica' not allowed"),
    ({"worker": {"strategy": "rolling"}}, "at '/worker/strategy': value must be one of 'RollingUpdate', 'Recreate'"),
    ({"worker": {"replicas": "two"}}, "at '/worker/replicas': got string, want integer"),
    ({"image": {"repository": "tidegate:1.0"}}, "at '/image/repository'"),
    ({"image": {"digest": "abc"}}, "at '/image/digest'"),
    ({"sql": {"from": "git"}}, "at '/sql/from': value must be one of 'image', 'copy', 'imageVolume'"),
    ({"sql": {"directory": "migrations"}}, "at '/sql/directory'"),
    ({"sql": {"configMap": {"files": {"notes.txt": ""}}}}, "at '/sql/configMap/files': additional properties"),
    ({"api": {"requirement": "12"}}, "at '/api/requirement'"),
    ({"api": {"requirement": "version:twelve"}}, "at '/api/requirement'"),
    ({"database": {"migrator": {"port": "5432"}}}, "at '/database/migrator/port': got string, want integer"),
    ({"database": {"migrator": {"connection": "dsn"}}}, "value must be one of 'url', 'parts', 'envFrom'"),
    ({"database": {"migrator": {"password": "x"}}}, "at '/database/migrator': additional properties 'password'"),
    ({"database": {"migrator": {"options": "role=owner"}}}, "at '/database/migrator/options'"),
    ({"settings": {"DB_URL": "postgres://"}}, "at '/settings': additional properties 'DB_URL' not allowed"),
    ({"monitor": {"kind": "true"}}, "at '/monitor/kind': value must be one of 'none', 'service', 'pod'"),
    ({"trust": {"policy": "yes"}}, "at '/trust/policy': value must be one of"),
    ({"trust": {"keys": {"ci": "-----BEGIN PUBLIC KEY-----"}}}, "at '/trust/keys': additional properties 'ci'"),
    ({"trust": {"keys": {"ci.pub": "-----BEGIN PRIVATE KEY-----"}}}, "at '/trust/keys/ci.pub'"),
    ({"drainSeconds": 0}, "at '/drainSeconds': minimum: got 0, want 1"),
]  # fmt: skip
CONTRADICTING: list[tuple[dict[str, Any], str]] = [
    ({"shape": "sidecar"}, "shape is sidecar, which stands in an API's pod: set api.image"),
    ({"shape": "initContainer"}, "shape is initContainer, which stands in an API's pod: set api.image"),
    ({"shape": "library", "api": {"image": "a:1"}}, "shape is library, which renders no API"),
    ({"api": {"image": "a:1"}}, "api.requirement is empty, and in the shape deployment the API's pod waits for it"),
    ({"shape": "job", "api": {"image": "a:1"}}, "api.requirement is empty, and in the shape job"),
    (
        {"shape": "initContainer", "api": {"image": "a:1"}, "sql": {"from": "published"}},
        "up has nothing to do until a bundle is published, so say version:V or bundle:LABEL",
    ),
    (
        {"api": {"image": "a:1", "requirement": "directory"}, "sql": {"from": "published"}},
        "api.requirement is directory, and sql.from is published, which gives none",
    ),
    ({"sql": {"from": "copy"}}, "neither sql.copy.image nor api.image is set"),
    ({"sql": {"from": "imageVolume"}}, "neither sql.imageVolume.reference nor api.image is set"),
    ({"sql": {"from": "configMap"}}, "set either sql.configMap.name, a ConfigMap of yours, or sql.configMap.files"),
    (
        {"sql": {"from": "configMap", "configMap": {"name": "x", "files": {"1_a.up.sql": ""}}}},
        "set either sql.configMap.name, a ConfigMap of yours, or sql.configMap.files",
    ),
    (
        {"database": {"api": {"existingSecret": "x", "createSecret": {"DB_URL": "y"}}}},
        "database.api.existingSecret and createSecret are both set",
    ),
    ({"database": {"api": {"createSecret": {"URL": "y"}}}}, "database.api.createSecret has no key DB_URL"),
    ({"database": {"migrator": {"connection": "parts", "host": "h"}}}, "connection is parts: set host, name and user"),
    ({"settings": {"TIDEGATE_DRAIN_TIMEOUT": "5m"}}, "TIDEGATE_DRAIN_TIMEOUT has a value of its own: set drainSeconds"),
    ({"settings": {"TIDEGATE_HTTP_PORT": 80}}, "settings.TIDEGATE_HTTP_PORT is set by this chart"),
    ({"trust": {"keys": KEYS}}, "trust has keys and no audience: set trust.audience"),
    ({"trust": {"keys": KEYS, "configMap": "x", "audience": "shop"}}, "trust.keys and trust.configMap are both set"),
    ({"trust": {"policy": "require"}}, "trust.policy is require, and no key is trusted"),
    ({"settings": {"TIDEGATE_TRUST": "off"}}, "TIDEGATE_TRUST has a value of its own: set trust.policy"),
    ({"shape": "job", "monitor": {"kind": "pod"}}, "monitor.kind is pod, and in the shape job nothing listens"),
    ({**shaped("sidecar"), "monitor": {"kind": "service"}}, "a sidecar has no Service: set it to pod"),
    ({"shape": "job", "prometheusRule": {"enabled": True}}, "in the shape job no worker stays whose absence"),
    ({"dashboard": {"labels": {"helm.sh/chart": "x"}}}, "dashboard.labels sets helm.sh/chart, a label of"),
    ({"shape": "job", "podDisruptionBudget": {"enabled": True}}, "has no Deployment to protect"),
    ({"podLabels": {"app.kubernetes.io/name": "x"}}, "podLabels sets app.kubernetes.io/name, a label of"),
    ({"commonLabels": {"helm.sh/chart": "x"}}, "commonLabels sets helm.sh/chart, a label of this"),
    ({**shaped("sidecar"), "networkPolicy": {"enabled": True}}, "write one for your API's pods"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "words"), WRONG, ids=[words[:40] for _, words in WRONG])
def test_a_wrong_value_is_named(values: dict[str, Any], words: str) -> None:
    assert words in refusal(values)


@pytest.mark.parametrize(("values", "words"), CONTRADICTING, ids=[words[:40] for _, words in CONTRADICTING])
def test_values_that_contradict_each_other_are_named_and_it_says_what_to_do(values: dict[str, Any], words: str) -> None:
    assert words in refusal(values)


def test_files_beyond_a_config_maps_limit_are_refused_with_another_way() -> None:
    def values(size: int) -> dict[str, Any]:
        files = {"0001_a.up.sql": "é" * (size // 4), "0002_b.up.sql": "x" * (size - size // 4 * 2)}
        return {"sql": {"from": "configMap", "configMap": {"files": files}}}

    assert len(str(one(rendered(values(1 << 20)), "ConfigMap")["data"])) > 700_000
    said = refusal(values((1 << 20) + 1))
    assert "hold 1048577 bytes, and a ConfigMap at most 1048576: derive an image" in said


@pytest.mark.parametrize(
    ("values", "version", "words"),
    [
        (shaped("sidecar"), "1.28.0", "chart requires kubeVersion: >=1.29.0-0"),
        (shaped("deployment", "imageVolume"), "1.30.0", "imageVolume, which Kubernetes v1.30.0 does not have"),
    ],
)
def test_a_cluster_that_is_too_old_is_refused(values: dict[str, Any], version: str, words: str) -> None:
    assert words in refusal(values, "--kube-version", version)


def test_any_setting_of_the_program_may_be_given() -> None:
    own = {"TIDEGATE_DRAIN_TIMEOUT", "TIDEGATE_READERS", "TIDEGATE_HTTP_HOST", "TIDEGATE_REQUIRE"}
    own |= {"TIDEGATE_TRUSTED_KEYS", "TIDEGATE_TRUST", "TIDEGATE_AUDIENCE", "TIDEGATE_MIN_SEQUENCE"}
    fixed = {"TIDEGATE_HTTP_PORT", "TIDEGATE_TIMEOUT", "TIDEGATE_ADVISORY_TIMEOUT"}
    known = {setting.variable for setting in SETTINGS if setting.variable.startswith("TIDEGATE_")}
    assert own | fixed <= known
    given = dict.fromkeys(known - own - fixed, "x")
    literals = worker(rendered({"settings": given})).items()
    assert given.items() <= literals


def test_numbers_and_truths_become_text_as_they_were_written() -> None:
    settings = {
        "TIDEGATE_LINE": 10_000_000,
        "TIDEGATE_NEW_TABLE": True,
        "TIDEGATE_LABEL": "1.10",
        "TIDEGATE_WORKER": 1.5,
    }
    assert worker(rendered({"settings": settings})).items() >= {
        ("TIDEGATE_LINE", "10000000"), ("TIDEGATE_NEW_TABLE", "true"), ("TIDEGATE_LABEL", "1.10"),
        ("TIDEGATE_WORKER", "1.5"),
    }  # fmt: skip


def test_neosyncs_variables_are_values_too() -> None:
    migrator = {
        "connection": "parts", "host": "postgres", "port": 5433, "name": "nucleus", "user": "neosync_migrator",
        "sslDisable": True, "options": "-c role=neosync_owner",
    }  # fmt: skip
    table = {"name": "neosync_api_schema_migrations"}
    literals = worker(rendered({"database": {"migrator": migrator}, "versionTable": table}))
    assert {
        "DB_HOST": "postgres", "DB_PORT": "5433", "DB_NAME": "nucleus", "DB_USER": "neosync_migrator",
        "DB_SSL_DISABLE": "true", "DB_MIGRATIONS_OPTIONS": "-c role=neosync_owner", "DB_SCHEMA_DIR": "/migrations",
        "DB_MIGRATIONS_TABLE": "neosync_api_schema_migrations", "DB_MIGRATIONS_TABLE_QUOTED": "false",
    }.items() <= literals.items()  # fmt: skip


def test_the_schema_knows_each_default_value_and_nothing_else_but_what_helm_adds() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) - set(values) == {"global", "enabled"}
    for path, described, given in both(schema, schema, values):
        assert described["additionalProperties"] is False, path
        assert set(described["properties"]) - (set() if path else {"global", "enabled"}) == set(given), path


def both(root: Object, node: Object, values: Object, path: str = "") -> list[tuple[str, Object, Object]]:
    """Each described object with the default values that it is for."""
    found = [(path, node, values)]
    for name, value in values.items():
        child = node["properties"][name]
        child = root["$defs"][child["$ref"].rpartition("/")[2]] if "$ref" in child else child
        if isinstance(value, dict) and "properties" in child:
            found += both(root, child, value, f"{path}/{name}")
    return found


def worker(manifests: list[Object]) -> dict[str, str]:
    return pod(manifests, "app-tidegate").container("tidegate").literals
