"""What is particular to each shape of the chart, and to each way in which the migrations arrive."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fixtures.manifests import CHART, Object, helm, one, pod, pods, rendered
from tests.fixtures.renderings import SHAPES, SOURCES, shaped
from worker import __version__

API = "app-tidegate-api"


def names(manifests: list[Object], name: str = API) -> list[str]:
    return [container.name for container in pod(manifests, name).containers]


def kinds(manifests: list[Object]) -> set[str]:
    return {each["kind"] for each in manifests}


def directory(manifests: list[Object], name: str, container: str) -> str:
    return pod(manifests, name).container(container).literals["DB_SCHEMA_DIR"]


def test_the_chart_is_of_the_workers_version_and_lints() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__
    linted = helm("lint", "--strict", CHART)
    assert linted.returncode == 0, linted.stdout
    assert "[WARNING]" not in linted.stdout


def test_a_worker_stands_beside_an_api_that_waits() -> None:
    manifests = rendered(shaped("deployment"))
    assert names(manifests, "app-tidegate") == ["tidegate"]
    assert names(manifests) == ["tidegate-wait", "api"]
    assert one(manifests, "Service", "app-tidegate")["spec"]["publishNotReadyAddresses"] is True


def test_a_new_worker_is_ready_before_the_old_one_is_stopped() -> None:
    strategy = one(rendered({}), "Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    recreated = one(rendered({"worker": {"strategy": "Recreate"}}), "Deployment")["spec"]["strategy"]
    assert recreated == {"type": "Recreate"}


def test_a_step_migrates_in_front_of_the_api_and_its_own_role_is_asked_too() -> None:
    assert names(rendered(shaped("initContainer"))) == ["tidegate-up", "tidegate-wait", "api"]
    assert names(rendered(shaped("initContainer", requirement=""))) == ["tidegate-up", "api"]


@pytest.mark.parametrize(
    ("requirement", "path"),
    [
        ("version:12", "/readyz?at_least=12"),
        ("bundle:1.4.0+b1", "/readyz?bundle=1.4.0%2Bb1"),
        ("directory", "/readyz"),
        ("", "/readyz"),
    ],
)
def test_a_sidecar_holds_the_api_back_until_its_requirement_is_met(requirement: str, path: str) -> None:
    sidecar = pod(rendered(shaped("sidecar", requirement=requirement)), API).container("tidegate")
    assert sidecar.is_sidecar
    assert sidecar.spec["startupProbe"]["httpGet"] == {"path": path, "port": "tidegate"}


def test_a_sidecar_listens_on_the_pods_address_so_that_the_api_is_no_loopback_peer() -> None:
    sidecar = pod(rendered(shaped("sidecar")), API).container("tidegate")
    assert sidecar.env["TIDEGATE_HTTP_HOST"]["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}


def test_one_target_of_several_is_named_to_every_gate() -> None:
    values = shaped("sidecar")
    values["api"] |= {"target": "public.app_schema_migrations"}
    probe = pod(rendered(values), API).container("tidegate").spec["startupProbe"]
    assert probe["httpGet"]["path"] == "/readyz?at_least=12&target=public.app_schema_migrations"
    waiting = pod(rendered({**values, "shape": "deployment"}), API).container("tidegate-wait")
    assert waiting.flags.own.target == "public.app_schema_migrations"


def test_a_job_is_not_tried_again_where_a_person_is_needed() -> None:
    job = one(rendered(shaped("job")), "Job")["spec"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    ignored, failed = job["podFailurePolicy"]["rules"]
    assert ignored["action"] == "Ignore"
    assert ignored["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert failed["action"] == "FailJob"
    assert {2, 3} <= set(failed["onExitCodes"]["values"])
    assert not {0, 1, 4, 5} & set(failed["onExitCodes"]["values"])
    assert failed["onExitCodes"]["containerName"] in {each["name"] for each in job["template"]["spec"]["containers"]}


def test_another_image_is_another_job_and_the_same_one_is_the_same() -> None:
    def name(**more: Any) -> str:
        return str(one(rendered({**shaped("job"), **more}), "Job")["metadata"]["name"])

    assert name() == name()
    assert len({name(), name(image={"tag": "1.4.0"}), name(job={"run": 17}), name(job={"run": 18})}) == 4


def test_a_library_renders_nothing_that_runs() -> None:
    assert rendered({"shape": "library"}) == []


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("image", "/migrations"),
        ("copy", "/tidegate/sql"),
        ("imageVolume", "/tidegate/image/migrations"),
        ("configMap", "/tidegate/sql"),
    ],
)
@pytest.mark.parametrize(
    ("shape", "name", "container"),
    [
        ("deployment", "app-tidegate", "tidegate"),
        ("initContainer", API, "tidegate-up"),
        ("sidecar", API, "tidegate"),
    ],
)
def test_the_directory_lies_where_the_migrations_arrive(
    shape: str, name: str, container: str, source: str, path: str
) -> None:
    manifests = rendered(shaped(shape, source))
    assert directory(manifests, name, container) == path
    mounts = pod(manifests, name).container(container).spec.get("volumeMounts", [])
    assert [mount["readOnly"] for mount in mounts] == [True] * (source != "image")
    assert all(path.startswith(mount["mountPath"]) for mount in mounts)


def test_a_published_bundle_needs_no_directory() -> None:
    worker = pod(rendered(shaped("deployment", "published")), "app-tidegate").container("tidegate")
    assert "DB_SCHEMA_DIR" not in worker.env


@pytest.mark.parametrize("source", ["copy", "imageVolume"])
def test_the_apis_own_image_is_where_migrations_come_from_if_no_other_is_named(source: str) -> None:
    manifests = rendered({**shaped("initContainer"), "sql": {"from": source}})
    found = pod(manifests, API)
    (volume,) = found.spec["volumes"]
    image = found.container("tidegate-copy").spec["image"] if source == "copy" else volume["image"]["reference"]
    assert image == "images.example/api:1.4.0"


@pytest.mark.parametrize("source", sorted(set(SOURCES) - {"published"}))
def test_an_api_that_requires_the_directory_is_given_it_and_copies_it_once(source: str) -> None:
    for shape in ("deployment", "initContainer"):
        found = pod(rendered(shaped(shape, source, requirement="directory")), API)
        waiting = found.container("tidegate-wait")
        assert waiting.flags.settings["require"] == f"dir:{directory_of(source)}"
        assert len(waiting.spec.get("volumeMounts", [])) == (source != "image")
        assert [each.name for each in found.containers].count("tidegate-copy") == (source == "copy")


def directory_of(source: str) -> str:
    return {"image": "/migrations", "imageVolume": "/tidegate/image/migrations"}.get(source, "/tidegate/sql")


def test_the_copy_needs_no_shell_and_may_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "migrations").mkdir()
    for name in ("0001_a.up.sql", "..data", "it's odd.sql"):
        (tmp_path / "migrations" / name).write_text(name)
        (tmp_path / "migrations" / name).chmod(0o444)
    command = pod(rendered(shaped("initContainer", "copy")), API).container("tidegate-copy").spec["command"]
    ours = [
        part if part.startswith("-") or part == "cp" else f"{tmp_path}/{part.removeprefix('/tidegate')}"
        for part in command
    ]
    for _ in range(2):
        subprocess.run(ours, check=True)
    assert {each.name: each.read_text() for each in (tmp_path / "sql").iterdir()} == {
        name: name for name in ("0001_a.up.sql", "..data", "it's odd.sql")
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_other_files_in_the_values_make_other_pods(shape: str) -> None:
    name = API if shape in {"initContainer", "sidecar"} else "app-tidegate"
    values = shaped(shape, "configMap")

    def template(content: str) -> Object:
        values["sql"]["configMap"] = {"files": {"0001_orders.up.sql": content}}
        manifests = rendered(values)
        owner = one(manifests, "Job") if shape == "job" else one(manifests, "Deployment", name)
        return dict(owner["spec"]["template"])

    assert template("SELECT 1") != template("SELECT 2")
    assert template("SELECT 1") == template("SELECT 1")


@pytest.mark.parametrize("shape", SHAPES)
def test_the_api_is_restricted_too_unless_the_values_say_what_it_needs(shape: str) -> None:
    values = shaped(shape)
    (api,) = pod(rendered(values), API).apis
    assert api.spec["securityContext"] == {
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    values["api"] |= {"securityContext": {"readOnlyRootFilesystem": False, "runAsUser": 1000}}
    (api,) = pod(rendered(values), API).apis
    assert (api.spec["securityContext"]["runAsUser"], api.spec["securityContext"]["runAsNonRoot"]) == (1000, True)
    assert api.spec["securityContext"]["readOnlyRootFilesystem"] is False


SCHEDULING: dict[str, Any] = {
    "imagePullSecrets": [{"name": "pull"}],
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
    ],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_where_pods_may_run_is_said_once_for_all_of_them(shape: str) -> None:
    account = {"serviceAccount": {"create": False, "name": "theirs"}}
    manifests = rendered({**shaped(shape), **SCHEDULING, **account})
    assert "ServiceAccount" not in kinds(manifests)
    for found in pods(manifests):
        assert SCHEDULING.items() <= found.spec.items()
        assert found.spec["serviceAccountName"] == "theirs"


@pytest.mark.parametrize("shape", SHAPES)
def test_labels_and_annotations_reach_what_they_are_for(shape: str) -> None:
    common = {"commonLabels": {"cost": "centre"}, "commonAnnotations": {"c": "d"}, "fullnameOverride": "gate"}
    manifests = rendered({**shaped(shape), **common, "podLabels": {"team": "x"}, "podAnnotations": {"a": "b"}})
    for each in manifests:
        assert each["metadata"]["name"].startswith("gate")
        assert each["metadata"]["labels"]["cost"] == "centre"
        assert each["metadata"]["annotations"] == {"c": "d"}
    for found in pods(manifests):
        assert {"team": "x", "cost": "centre"}.items() <= found.labels.items()
        assert found.owner["spec"]["template"]["metadata"]["annotations"] == {"a": "b", "c": "d"}


@pytest.mark.parametrize("shape", SHAPES)
def test_image_and_resources_are_those_of_every_container_of_ours(shape: str) -> None:
    image = {"repository": "images.example:5000/tidegate", "digest": f"sha256:{'a' * 64}"}
    manifests = rendered({**shaped(shape), "image": image, "resources": {"limits": {"memory": "1Gi"}}})
    for container in (each for found in pods(manifests) for each in found.ours):
        assert container.spec["image"] == f"images.example:5000/tidegate@sha256:{'a' * 64}"
        assert container.spec["resources"]["limits"] == {"memory": "1Gi"}


@pytest.mark.parametrize(("shape", "words"), [
    ("deployment", ["port-forward deploy/app-tidegate 8017", "create secret generic app-tidegate-migrator"]),
    ("initContainer", ["deploy/app-tidegate-api -c tidegate-up"]),
    ("sidecar", ["deploy/app-tidegate-api -c tidegate "]),
    ("job", ["--for=condition=complete --timeout=3600s"]),
    ("library", ["tidegate.waitContainer"]),
])  # fmt: skip
def test_the_notes_say_what_to_do_next(shape: str, words: list[str]) -> None:
    api = {"image": "images.example/api:1", "requirement": "version:1"} if shape in {"initContainer", "sidecar"} else {}
    done = helm("install", "--dry-run=client", "app", CHART, values={"shape": shape, "api": api})
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]
    assert [word for word in words if word not in notes] == []
