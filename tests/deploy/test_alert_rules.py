"""The alerts, by Prometheus' own tool: they are rules, and fire when they should and not before."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.fixtures.prometheus import RULES, promtool, rules
from worker.cli.arguments import VERBS

CASES = RULES.with_name("tidegate.rules.test.yaml")
ALERTS = [rule["alert"] for rule in rules()]


def test_promtool_accepts_the_rules() -> None:
    done = promtool("check", "rules", "--lint-fatal", RULES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_configuration_that_loads_them() -> None:
    done = promtool("check", "config", RULES.with_name("prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


def test_each_alert_fires_in_its_case_and_not_in_its_neighbour() -> None:
    done = promtool("test", "rules", CASES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(re.findall(r'alertname="(\w+)", alertstate="firing"', CASES.read_text())) == set(ALERTS)


def test_the_cases_notice_every_alert_that_never_fires(tmp_path: Path) -> None:
    silent = [{**rule, "expr": "vector(1) > 1"} for rule in rules()]
    (tmp_path / RULES.name).write_text(yaml.safe_dump({"groups": [{"name": "tidegate", "rules": silent}]}))
    done = promtool("test", "rules", shutil.copy(CASES, tmp_path), cwd=tmp_path)
    assert done.returncode != 0
    assert [alert for alert in ALERTS if alert not in done.stdout + done.stderr] == []


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_how_bad_it_is_what_is_wrong_and_which_command_to_use(rule: dict[str, dict[str, str]]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"].endswith(".")
    named = re.findall(r"`tidegate ((?:bundle |admin )?[a-z]+)", rule["annotations"]["description"])
    assert named
    assert {verb.split()[0] for verb in named} <= set(VERBS)
