"""The lock files: hashed throughout, of one mind, and silent on where packages come from."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = ["requirements.lock", "requirements-build.lock"]
LOCKS = [*SHIPPED, "requirements-dev.lock", "requirements-tools.lock"]
PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)(.*(?:\n    .*)*)", re.MULTILINE)


def pins(lock: str) -> dict[str, str]:
    return {found[1]: found[2] for found in PIN.finditer((ROOT / lock).read_text())}


def required(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[; ]", requirement)[0] for requirement in requirements}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes(lock: str) -> None:
    found = list(PIN.finditer((ROOT / lock).read_text()))
    assert found
    assert [pin[1] for pin in found if "--hash=sha256:" not in pin[3]] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_no_address_is_in_it(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "--index" not in text


def test_the_tests_run_with_the_versions_that_are_shipped() -> None:
    tested = pins("requirements-dev.lock")
    for lock in SHIPPED:
        assert pins(lock).items() <= tested.items()


def test_the_tools_share_the_environment_with_the_tests() -> None:
    tested, tools = pins("requirements-dev.lock"), pins("requirements-tools.lock")
    assert {name: tested[name] for name in tools.keys() & tested.keys()}.items() <= tools.items()


def test_each_requirement_of_the_project_is_locked() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = document["project"]
    extras = project["optional-dependencies"]
    assert required([*project["dependencies"], *extras["sign"]]) <= pins("requirements.lock").keys()
    assert required(document["build-system"]["requires"]) <= pins("requirements-build.lock").keys()
    developing = [*document["dependency-groups"]["dev"], *extras["embedded"]]
    assert required(developing) <= pins("requirements-dev.lock").keys()
    assert required(document["dependency-groups"]["tools"]) <= pins("requirements-tools.lock").keys()
