"""What the image is made of: a list of its packages that is the same each time, and licences that permit everything."""

import json
import re
import subprocess
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

from tests.fixtures.tools import tool

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)(.*(?:\n    .*)*)", re.MULTILINE)
PINS = {found[1]: found for found in PIN.finditer((ROOT / "requirements.lock").read_text())}
PERMISSIVE = {"Apache-2.0", "Apache 2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0"}
_CLASSIFIERS = {"MIT License": "MIT", "Apache Software License": "Apache-2.0", "BSD License": "BSD-3-Clause"}


def recipe() -> list[str]:
    """The command of `make sbom`, as make would run it."""
    told = subprocess.run(["make", "-n", "sbom"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    (line,) = [line for line in told.splitlines() if "cyclonedx-py" in line]
    return line.split()[1:]


def made(folder: Path) -> bytes:
    arguments = recipe()
    arguments[arguments.index("-o") + 1] = str(folder / "sbom.json")
    subprocess.run([tool("cyclonedx-py"), *arguments], cwd=ROOT, check=True, capture_output=True)
    return (folder / "sbom.json").read_bytes()


def test_the_list_names_each_package_of_the_lock_with_its_hashes_and_no_other(tmp_path: Path) -> None:
    document = json.loads(made(tmp_path))
    components = {each["name"]: each for each in document["components"]}

    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["name"] == "tidegate"
    assert {name: each["version"] for name, each in components.items()} == {n: pin[2] for n, pin in PINS.items()}
    for name, pin in PINS.items():
        hashes = {h["content"] for place in components[name]["externalReferences"] for h in place["hashes"]}
        assert hashes == set(re.findall(r"--hash=sha256:([0-9a-f]{64})", pin[3])), name


def test_the_list_is_the_same_each_time(tmp_path: Path) -> None:
    assert made(tmp_path) == made(tmp_path)


def licences(package: Distribution) -> set[str]:
    """What a package's metadata says: an expression, a classifier, or a few words."""
    about = package.metadata
    if "License-Expression" in about:
        return set(re.split(r" (?:AND|OR) ", about["License-Expression"]))
    classifiers = [each for each in about.get_all("Classifier", []) if each.startswith("License ::")]
    return {_CLASSIFIERS.get(name := each.rpartition(" :: ")[2], name) for each in classifiers} or {about["License"]}


@pytest.mark.parametrize("name", sorted(PINS))
def test_what_runs_beside_tidegate_may_be_used_by_everybody(name: str) -> None:
    assert licences(distribution(name)) <= PERMISSIVE
