"""The plain manifests: what the components do to an API's Deployment, and that they say what the chart says."""

from pathlib import Path

import pytest
import yaml

from tests.fixtures.manifests import KUSTOMIZE, Container, Object, kustomized, one, pod, rendered
from tests.fixtures.renderings import rendering, shaped
from worker import __version__

SAME = (
    "args",
    "ports",
    "startupProbe",
    "livenessProbe",
    "readinessProbe",
    "securityContext",
    "resources",
    "restartPolicy",
)


def test_a_component_changes_the_deployments_that_ask_for_it_and_no_others() -> None:
    manifests = rendering("kustomize-example")
    assert {
        name: [each.name for each in pod(manifests, f"api-{name}").containers] for name in ("wait", "up", "sidecar")
    } == {
        "wait": ["tidegate-wait", "api"],
        "up": ["tidegate-up", "api"],
        "sidecar": ["tidegate", "api"],
    }
    assert [each.name for each in pod(manifests, "tidegate").containers] == ["tidegate"]


def test_each_api_says_in_an_annotation_what_it_requires() -> None:
    waiting = pod(rendering("kustomize-example"), "api-wait")
    reference = waiting.container("tidegate-wait").env["TIDEGATE_REQUIRE"]["valueFrom"]["fieldRef"]["fieldPath"]
    key = reference.removeprefix("metadata.annotations['").removesuffix("']")
    assert waiting.owner["spec"]["template"]["metadata"]["annotations"][key] == "version:12"


def test_one_entry_renames_the_image_everywhere() -> None:
    manifests = rendering("kustomize-example")
    ours = [each for name in ("tidegate", "api-wait", "api-up", "api-sidecar") for each in pod(manifests, name).ours]
    assert {each.spec["image"] for each in ours} == {"images.example/app-migrations:1.4.0"}


@pytest.mark.parametrize(
    ("rendered_by", "name", "container", "shape", "theirs"),
    [
        ("kustomize-base", "tidegate", "tidegate", "deployment", "app-tidegate"),
        ("kustomize-example", "api-up", "tidegate-up", "initContainer", "app-tidegate-api"),
        ("kustomize-example", "api-sidecar", "tidegate", "sidecar", "app-tidegate-api"),
    ],
)
def test_a_container_is_the_charts_container(
    rendered_by: str, name: str, container: str, shape: str, theirs: str
) -> None:
    plain = pod(rendering(rendered_by), name).container(container)
    values = {"shape": shape} if shape == "deployment" else shaped(shape, requirement="")
    charts = pod(rendered(values), theirs).container(container)
    assert parts(plain) == parts(charts)


def test_a_job_is_the_charts_job() -> None:
    plain, charts = one(rendering("kustomize-job"), "Job")["spec"], one(rendered({"shape": "job"}), "Job")["spec"]
    for name in ("backoffLimit", "podFailurePolicy"):
        assert plain[name] == charts[name]
    for name in ("restartPolicy", "terminationGracePeriodSeconds", "enableServiceLinks", "securityContext"):
        assert plain["template"]["spec"][name] == charts["template"]["spec"][name]


def test_a_gate_can_stand_before_init_containers_that_are_there(tmp_path: Path) -> None:
    api: Object = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api", "labels": {"tidegate/gate": "wait"}},
        "spec": {
            "selector": {"matchLabels": {"app": "api"}},
            "template": {"metadata": {"labels": {"app": "api"}}, "spec": {
                "initContainers": [{"name": "warm-up", "image": "a:1"}],
                "containers": [{"name": "api", "image": "a:1"}],
            }},
        },
    }  # fmt: skip
    (tmp_path / "api.yaml").write_text(yaml.safe_dump(api))
    (tmp_path / "wait").mkdir()
    for file in (KUSTOMIZE / "components/wait").iterdir():
        (tmp_path / "wait" / file.name).write_text(file.read_text())
    (tmp_path / "kustomization.yaml").write_text("resources: [api.yaml]\ncomponents: [wait]\n")
    found = pod(kustomized(tmp_path), "api")
    assert [each.name for each in found.containers] == ["tidegate-wait", "warm-up", "api"]


def test_every_file_names_this_version() -> None:
    named = [
        line.partition("tidegate:")[2]
        for file in KUSTOMIZE.rglob("*.yaml")
        for line in file.read_text().splitlines()
        if "image: tidegate:" in line
    ]
    assert len(named) >= 7
    assert set(named) == {__version__}


def test_every_directory_is_rendered_by_a_test() -> None:
    found = {file.parent.relative_to(KUSTOMIZE).as_posix() for file in KUSTOMIZE.rglob("kustomization.yaml")}
    components = {"components/wait", "components/up", "components/sidecar"}
    assert found == {"base", "job", "example", "neosync/copy", "neosync/image-volume", *components}


def parts(container: Container) -> Object:
    return {name: container.spec[name] for name in SAME if name in container.spec}
