"""What is off until it is asked for: monitors, alerts, a dashboard, a disruption budget, a network policy."""

from pathlib import Path

import pytest

from tests.fixtures.dashboard import DASHBOARD
from tests.fixtures.manifests import CHART, Object, helm, one, pods, rendered
from tests.fixtures.prometheus import rules
from tests.fixtures.renderings import SHAPES, shaped
from tests.fixtures.tools import module

OPTIONAL = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "PodDisruptionBudget", "NetworkPolicy"}


def valid(each: Object) -> Object:
    for version in ("1.29", "1.37"):
        module("kubernetes_validate").validate(each, version, strict=True)
    return each


def matched(manifests: list[Object], labels: dict[str, str]) -> set[str]:
    return {pod.name for pod in pods(manifests) if labels.items() <= pod.labels.items()}


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_of_it_is_there_by_default(shape: str) -> None:
    manifests = rendered(shaped(shape))
    assert not OPTIONAL & {each["kind"] for each in manifests}
    assert not [each for each in manifests if each["metadata"]["name"].endswith("-dashboard")]


def test_a_service_monitor_finds_the_workers_service_and_its_port() -> None:
    manifests = rendered({**shaped("deployment"), "monitor": {"kind": "service", "labels": {"release": "prometheus"}}})
    monitor = one(manifests, "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    services = [
        each for each in manifests if each["kind"] == "Service" and wanted <= each["metadata"]["labels"].items()
    ]
    assert [each["metadata"]["name"] for each in services] == ["app-tidegate"]
    assert endpoint == {"port": services[0]["spec"]["ports"][0]["name"], "path": "/metrics", "interval": "30s"}
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


@pytest.mark.parametrize(("shape", "name"), [("deployment", "app-tidegate"), ("sidecar", "app-tidegate-api")])
def test_a_pod_monitor_finds_the_pods_that_have_the_port(shape: str, name: str) -> None:
    manifests = rendered({**shaped(shape), "monitor": {"kind": "pod", "interval": "5s"}})
    monitor = one(manifests, "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert matched(manifests, monitor["spec"]["selector"]["matchLabels"]) == {name}
    assert endpoint == {"port": "tidegate", "path": "/metrics", "interval": "5s"}


@pytest.mark.parametrize(
    ("shape", "name"),
    [("deployment", "app-tidegate"), ("sidecar", "app-tidegate-api"), ("initContainer", "app-tidegate-api")],
)
def test_a_disruption_budget_protects_the_pods_that_migrate(shape: str, name: str) -> None:
    manifests = rendered({**shaped(shape), "podDisruptionBudget": {"enabled": True, "maxUnavailable": "50%"}})
    budget = valid(one(manifests, "PodDisruptionBudget"))["spec"]
    assert matched(manifests, budget["selector"]["matchLabels"]) == {name}
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == ("50%", "IfHealthyBudget")


def test_a_network_policy_leaves_the_one_port_open_and_is_about_the_worker_alone() -> None:
    manifests = rendered({**shaped("deployment"), "networkPolicy": {"enabled": True}})
    policy = valid(one(manifests, "NetworkPolicy"))["spec"]
    assert matched(manifests, policy["podSelector"]["matchLabels"]) == {"app-tidegate"}
    assert policy["policyTypes"] == ["Ingress"]
    assert policy["ingress"] == [{"ports": [{"port": "tidegate"}]}]


def test_it_takes_who_may_come_in_and_where_the_database_is() -> None:
    peer, database = (
        {"namespaceSelector": {}},
        {"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "ports": [{"port": 5432}]},
    )
    given = {"networkPolicy": {"enabled": True, "ingressFrom": [peer], "egress": [database]}}
    policy = valid(one(rendered({**shaped("deployment"), **given}), "NetworkPolicy"))["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"][0]["from"] == [peer]
    assert {port["port"] for port in policy["egress"][0]["ports"]} == {53}
    assert policy["egress"][1] == database


def test_nobody_may_reach_a_job() -> None:
    manifests = rendered({**shaped("job"), "networkPolicy": {"enabled": True}})
    policy = valid(one(manifests, "NetworkPolicy"))["spec"]
    assert "ingress" not in policy
    assert {
        each.owner["kind"]
        for each in pods(manifests)
        if policy["podSelector"]["matchLabels"].items() <= each.labels.items()
    } == {"Job"}


@pytest.mark.parametrize("shape", ["deployment", "sidecar"])
def test_a_rule_holds_the_alerts_as_they_are_tested(shape: str) -> None:
    labels = {"release": "prometheus"}
    manifests = rendered({**shaped(shape), "prometheusRule": {"enabled": True, "labels": labels}})
    rule = one(manifests, "PrometheusRule")
    assert rule["spec"]["groups"] == [{"name": "tidegate", "rules": rules()}]
    assert labels.items() <= rule["metadata"]["labels"].items()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_config_map_holds_the_dashboard_as_it_is_and_the_label_that_grafana_looks_for(shape: str) -> None:
    given = {"enabled": True, "annotations": {"grafana_folder": "Databases"}}
    found = valid(one(rendered({**shaped(shape), "dashboard": given}), "ConfigMap", "app-tidegate-dashboard"))
    assert found["data"] == {"tidegate.json": DASHBOARD.read_text(encoding="utf-8")}
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"] == {"grafana_folder": "Databases"}


def test_a_packed_chart_brings_rules_and_dashboard_along(tmp_path: Path) -> None:
    packed = helm("package", CHART, "--destination", tmp_path)
    assert packed.returncode == 0, packed.stderr
    (chart,) = tmp_path.glob("*.tgz")
    given = {**shaped("deployment"), "prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}
    assert rendered(given, chart=chart) == rendered(given)
