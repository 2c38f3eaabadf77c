"""A chart of somebody's own that depends on this one and includes its containers, as README.md shows it."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.manifests import CHART, Object, pod, rendered, secrets_of

CHART_YAML = """
apiVersion: v2
name: orders
version: 1.0.0
dependencies:
  - name: tidegate
    version: 0.1.0
    repository: file://../tidegate
    condition: tidegate.enabled
"""


@pytest.fixture(params=["wait", "up", "sidecar"])
def example(request: pytest.FixtureRequest) -> str:
    """A Deployment that README.md shows, by the container that it includes."""
    blocks = re.findall(r"```yaml\n(.*?)```", (CHART / "README.md").read_text(), re.DOTALL)
    (found,) = [block for block in blocks if re.search(rf"include \"tidegate\.{request.param}\w*\"", block)]
    return found


def orders(tmp_path: Path, template: str, values: dict[str, Any]) -> list[Object]:
    chart = tmp_path / "orders"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text(CHART_YAML)
    (chart / "templates" / "api.yaml").write_text(template)
    shutil.copytree(CHART, chart / "charts" / "tidegate")
    return rendered(values, chart=chart)


def test_each_container_of_the_manual_stands_before_the_api(example: str, tmp_path: Path) -> None:
    sql = {"from": "copy", "copy": {"image": "images.example/orders:1"}}
    (found,) = [pod(orders(tmp_path, example, {"tidegate": {"shape": "library", "sql": sql}}), "orders")]
    names = [container.name for container in found.containers]
    assert names[-1] == "orders"
    assert set(names[:-1]) & {"tidegate-wait", "tidegate-up", "tidegate"}
    assert found.spec["enableServiceLinks"] is False
    if "tidegate-wait" not in names:
        assert names[0] == "tidegate-copy"
        assert [volume["name"] for volume in found.spec["volumes"]] == ["tidegate-sql"]


def test_the_gate_has_the_apis_role_and_what_migrates_has_its_own(example: str, tmp_path: Path) -> None:
    databases = {"migrator": {"existingSecret": "m"}, "api": {"existingSecret": "a"}}
    values = {"tidegate": {"shape": "library", "database": databases}, "global": {"anything": 1}}
    found = pod(orders(tmp_path, example, values), "orders")
    for container in found.ours:
        assert secrets_of(container.spec) == ({"a"} if container.name == "tidegate-wait" else {"m"})
    assert "m" not in secrets_of(found.containers[-1].spec)


def test_a_gate_without_a_requirement_is_refused(tmp_path: Path) -> None:
    template = '{{ include "tidegate.waitContainer" (dict "root" .Subcharts.tidegate) }}'
    with pytest.raises(AssertionError, match="state a requirement: version:V, bundle:LABEL or directory"):
        orders(tmp_path, template, {"tidegate": {"shape": "library"}})


def test_a_worker_may_come_with_it(tmp_path: Path) -> None:
    kinds = [each["kind"] for each in orders(tmp_path, "", {"tidegate": {"shape": "deployment"}})]
    assert sorted(kinds) == ["Deployment", "Service", "ServiceAccount"]
