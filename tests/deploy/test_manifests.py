"""What must hold of every manifest in deploy/, in every shape and however the migrations and the settings arrive."""

from collections.abc import Iterator

import pytest

from tests.fixtures.manifests import PROGRAMS, Container, Object, Pod, environment, pods
from tests.fixtures.renderings import NAMES, rendering
from tests.fixtures.tools import module
from worker import __version__
from worker.cli.arguments import parse
from worker.settings.reading import read_settings

OLDEST, IMAGE_VOLUMES, NEWEST = "1.29", "1.31", "1.37"
LONGEST_NAME = 63


@pytest.fixture(params=NAMES)
def manifests(request: pytest.FixtureRequest) -> list[Object]:
    return rendering(request.param)


def test_kubernetes_takes_them(manifests: list[Object]) -> None:
    validate = module("kubernetes_validate").validate
    for each in manifests:
        for version in (IMAGE_VOLUMES if "'image': {'" in str(each) else OLDEST, NEWEST):
            validate(each, version, strict=True)


def test_each_program_understands_its_arguments_and_its_settings(manifests: list[Object]) -> None:
    for pod in pods(manifests):
        for container in pod.ours:
            verb, flags = parse(container.spec["args"])
            settings = read_settings(environment(container, pod, manifests), flags.settings, worker="pod")
            assert verb.name == PROGRAMS[container.name]
            assert settings.database is not None
            assert settings.unknown == ()


def test_no_api_starts_before_the_gate_lets_it(manifests: list[Object]) -> None:
    for pod in pods(manifests):
        for api in pod.apis if pod.ours or "tidegate" in str(pod.labels) else []:
            gates = [each for each in pod.ours if each.starts < api.starts]
            assert gates, pod.name
            assert all(holds_back(gate) for gate in gates)


def test_a_wait_has_a_requirement_and_no_end(manifests: list[Object]) -> None:
    for _, container in of_verb(manifests, "wait"):
        flags = container.flags.settings
        assert flags["timeout"] == "none"
        assert flags["require"] or container.env["TIDEGATE_REQUIRE"]["valueFrom"]["fieldRef"]


def test_a_step_that_migrates_waits_for_another_one_without_end(manifests: list[Object]) -> None:
    for _, container in of_verb(manifests, "up"):
        assert container.flags.settings["advisory_timeout"] == "none"


def test_liveness_asks_for_the_event_loop_and_readiness_is_never_a_reason_to_kill(manifests: list[Object]) -> None:
    for _, container in (pair for verb in PROGRAMS.values() for pair in of_verb(manifests, verb)):
        live = container.spec.get("livenessProbe")
        assert live is None or live["httpGet"]["path"] == "/livez"
        start = container.spec.get("startupProbe")
        if start is not None and start["httpGet"]["path"].startswith("/readyz"):
            assert start["periodSeconds"] * start["failureThreshold"] >= 2400
        elif start is not None:
            assert start["httpGet"]["path"] == "/startupz"


def test_an_api_is_not_asked_whether_the_worker_is_ready(manifests: list[Object]) -> None:
    for pod in pods(manifests):
        for container in pod.containers:
            if container.is_api or container.is_sidecar:
                assert "readyz" not in str(container.spec.get("readinessProbe"))


def test_a_rollout_has_time_for_a_long_migration(manifests: list[Object]) -> None:
    for each in manifests:
        if each["kind"] == "Deployment" and "tidegate" in str(each["spec"]["template"]):
            start = [_budget(container) for container in Pod(each).ours]
            assert each["spec"]["progressDeadlineSeconds"] > max([2400, *start])
        if each["kind"] == "Job":
            assert each["spec"].get("activeDeadlineSeconds", 2400) >= 2400


def test_a_stop_leaves_time_to_drain(manifests: list[Object]) -> None:
    for pod in pods(manifests):
        migrating = [each for each in pod.ours if PROGRAMS[each.name] != "wait"]
        for container in migrating:
            settings = read_settings(container.literals | {"DB_URL": ""}, {}, worker="pod")
            grace = pod.spec.get("terminationGracePeriodSeconds", 30)
            assert grace * 1000 > settings.limits.drain_ms


def test_no_service_link_becomes_a_setting(manifests: list[Object]) -> None:
    assert all(pod.spec["enableServiceLinks"] is False for pod in pods(manifests) if pod.ours)


def test_tidegate_and_what_copies_for_it_are_restricted(manifests: list[Object]) -> None:
    for pod in pods(manifests):
        for container in pod.containers:
            if container.is_ours or container.name == "tidegate-copy":
                context = container.spec["securityContext"]
                assert restricted(context)
                assert (context["runAsUser"], context["runAsGroup"]) == (65532, 65532)


def test_objects_are_named_once_and_not_too_long(manifests: list[Object]) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in manifests]
    assert len(set(names)) == len(names)
    assert all(len(name) <= LONGEST_NAME for _, name in names)


def test_each_selector_finds_the_pods_of_one_owner(manifests: list[Object]) -> None:
    for each in manifests:
        wanted = selector(each)
        if wanted is not None:
            found = [pod.name for pod in pods(manifests) if wanted.items() <= pod.labels.items()]
            assert len(found) == 1, (each["kind"], wanted, found)
            assert each["kind"] != "Deployment" or found == [each["metadata"]["name"]]


def test_each_mount_has_its_volume_and_each_port_its_container(manifests: list[Object]) -> None:
    for pod in pods(manifests):
        volumes = {volume["name"] for volume in pod.spec.get("volumes") or []}
        for container in pod.containers:
            mounted = {mount["name"] for mount in container.spec.get("volumeMounts") or []}
            ports = {port["name"] for port in container.spec.get("ports") or []}
            assert mounted <= volumes
            assert {probe["httpGet"]["port"] for probe in _probes(container) if "httpGet" in probe} <= ports


def test_the_image_is_of_this_version_and_of_no_registry(manifests: list[Object]) -> None:
    used = {container.spec["image"] for pod in pods(manifests) for container in pod.ours}
    assert {image for image in used if "images.example" not in image} <= {f"tidegate:{__version__}"}


def of_verb(manifests: list[Object], verb: str) -> Iterator[tuple[Pod, Container]]:
    for pod in pods(manifests):
        for container in pod.ours:
            if PROGRAMS[container.name] == verb:
                yield pod, container


def holds_back(gate: Container) -> bool:
    """An init container that ends, or one that goes on once its start-up probe has found the schema ready."""
    if not gate.is_init:
        return False
    return not gate.is_sidecar or gate.spec["startupProbe"]["httpGet"]["path"].startswith("/readyz")


def restricted(context: Object) -> bool:
    return (
        context["runAsNonRoot"] is True
        and context["readOnlyRootFilesystem"] is True
        and context["allowPrivilegeEscalation"] is False
        and context["capabilities"] == {"drop": ["ALL"]}
        and context["seccompProfile"] == {"type": "RuntimeDefault"}
    )


def selector(each: Object) -> dict[str, str] | None:
    match each["kind"]:
        case "Deployment":
            return dict(each["spec"]["selector"]["matchLabels"])
        case "Service":
            return dict(each["spec"]["selector"])
        case _:
            return None


def _budget(container: Container) -> int:
    probe = container.spec.get("startupProbe")
    return 0 if probe is None else int(probe["periodSeconds"] * probe["failureThreshold"])


def _probes(container: Container) -> list[Object]:
    return [
        container.spec[name] for name in ("startupProbe", "livenessProbe", "readinessProbe") if name in container.spec
    ]
