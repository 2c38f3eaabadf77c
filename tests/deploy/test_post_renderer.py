"""Neosync's chart under the post-renderer, with a chart of our own that has its outline."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.fixtures.manifests import Object, helm, kustomized, objects, one, pod, secrets_of
from tests.fixtures.post_renderer import IMAGE, NEOSYNC, SCRIPT, environment, post_rendered
from tests.fixtures.renderings import WAYS, rendering
from tests.fixtures.tools import tool
from worker import __version__

API = "images.example/neosync/api:v1"


def before(**values: str) -> str:
    done = helm("template", "neosync", NEOSYNC, values=values)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("way", WAYS)
def test_the_step_is_tidegates_and_keeps_its_variables(way: str) -> None:
    step = pod(rendering(f"neosync-{way}"), "neosync-api").container("db-migration").spec
    assert step["image"] == IMAGE
    assert "command" not in step
    assert step["args"][0] == "up"
    assert step["envFrom"] == [{"secretRef": {"name": "neosync-api-migrations"}}]


def test_the_migrations_are_copied_out_of_the_apis_image_before_they_are_read() -> None:
    found = pod(rendering("neosync-copy"), "neosync-api")
    assert [each.name for each in found.containers] == ["tidegate-copy", "db-migration", "user-container"]
    copy, step = found.containers[:2]
    assert copy.spec["image"] == found.containers[-1].spec["image"] == API
    assert copy.spec["command"][-2:] == ["/migrations/.", "/tidegate/sql"]
    assert step.flags.settings["source"] == step.spec["volumeMounts"][0]["mountPath"] == "/tidegate/sql"
    assert secrets_of(copy.spec) == set()


def test_an_image_without_any_program_is_mounted() -> None:
    found = pod(rendering("neosync-image-volume"), "neosync-api")
    assert [each.name for each in found.containers] == ["db-migration", "user-container"]
    (volume,) = found.spec["volumes"]
    assert volume["image"]["reference"] == API
    step = found.container("db-migration")
    assert step.spec["volumeMounts"] == [{"name": volume["name"], "mountPath": "/tidegate/image", "readOnly": True}]
    assert step.flags.settings["source"] == "/tidegate/image/migrations"


@pytest.mark.parametrize("way", WAYS)
def test_nothing_else_is_touched(way: str) -> None:
    old, new = objects(before()), rendering(f"neosync-{way}")
    assert [(each["kind"], each["metadata"]["name"]) for each in new] == [
        (each["kind"], each["metadata"]["name"]) for each in old
    ]
    for each, changed in zip(old, new, strict=True):
        if each["metadata"]["name"] != "neosync-api":
            assert changed == each
    assert (
        pod(new, "neosync-api").container("user-container").spec
        == pod(old, "neosync-api").container("user-container").spec
    )


def test_another_release_and_another_version_are_followed() -> None:
    done = post_rendered(before(deployment="prod-neosync-api", tag="v2"), NEOSYNC_DEPLOYMENT="prod-neosync-api")
    found = pod(objects(done.stdout), "prod-neosync-api")
    assert found.container("tidegate-copy").spec["image"] == "images.example/neosync/api:v2"
    assert found.container("db-migration").spec["image"] == IMAGE


def test_helm_runs_it_as_a_plugin(tmp_path: Path) -> None:
    env = {name: environment()[name] for name in ("PATH", "TIDEGATE_IMAGE")} | {"HELM_DATA_HOME": str(tmp_path)}
    assert helm("plugin", "install", SCRIPT.parent, **env).returncode == 0
    renderer = ("--post-renderer", "tidegate-neosync", "--post-renderer-args", "image-volume")
    done = helm("template", "neosync", NEOSYNC, *renderer, **env)
    assert done.returncode == 0, done.stderr
    assert objects(done.stdout) == rendering("neosync-image-volume")


def test_the_plugin_is_of_this_version() -> None:
    assert yaml.safe_load((SCRIPT.parent / "plugin.yaml").read_text())["version"] == __version__


def test_it_runs_with_kustomize_where_there_is_no_kubectl(tmp_path: Path) -> None:
    """The program is a stand-in that says how it was called; that it can build is kubectl's own library's business."""
    for name in ("sh", "sed", "mktemp", "rm", "cat", "grep", "dirname"):
        (tmp_path / name).symlink_to(tool(name))
    kustomize = tmp_path / "kustomize"
    kustomize.write_text(f'#!/bin/sh\n[ "$1" = build ] && exec "{tool("kubectl")}" kustomize "$2"\n')
    kustomize.chmod(0o755)
    done = post_rendered(before(), PATH=str(tmp_path))
    assert objects(done.stdout) == rendering("neosync-copy")


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    post_rendered(before(), TMPDIR=str(tmp_path))
    post_rendered("kind: [", TMPDIR=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", WAYS)
def test_a_directory_of_ones_own_is_built_by_hand_too(way: str, tmp_path: Path) -> None:
    shutil.copytree(SCRIPT.parent / way, tmp_path / way)
    (tmp_path / way / "all.yaml").write_text(before())
    step = pod(kustomized(tmp_path / way), "neosync-api").container("db-migration")
    assert step.spec["image"] == f"tidegate:{__version__}"


@pytest.mark.parametrize(
    ("arguments", "env", "values", "words"),
    [
        ((), {"TIDEGATE_IMAGE": ""}, {}, "TIDEGATE_IMAGE is not set; it names Tidegate's image"),
        ((), {"TIDEGATE_IMAGE": "a b"}, {}, "TIDEGATE_IMAGE is 'a b', which is no name of an image"),
        ((), {"NEOSYNC_DEPLOYMENT": "a|b"}, {}, "NEOSYNC_DEPLOYMENT is 'a|b', which is no name of a Deployment"),
        (("move",), {}, {}, "got 'move'; it takes copy or image-volume"),
        ((), {"TIDEGATE_SQL": "move"}, {}, "got 'move'; it takes copy or image-volume"),
        ((), {}, {"initContainer": "migrate"}, "no init container named db-migration was rendered"),
        ((), {}, {"deployment": "api"}, "neosync-api"),
    ],
)
def test_what_cannot_work_is_refused_and_nothing_is_printed(
    arguments: tuple[str, ...], env: Mapping[str, str], values: Mapping[str, str], words: str
) -> None:
    done = post_rendered(before(**values), *arguments, **env)
    assert done.returncode != 0
    assert words in done.stderr
    assert done.stdout == ""


def test_without_kubectl_and_kustomize_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "sh").symlink_to(tool("sh"))
    done = post_rendered("", PATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (
        1, "post-render.sh: neither kubectl nor kustomize is on the PATH; install one of them\n"
    )  # fmt: skip


def test_the_rollout_has_time() -> None:
    deployment: Object = one(rendering("neosync-copy"), "Deployment", "neosync-api")
    assert deployment["spec"]["progressDeadlineSeconds"] > 2400
