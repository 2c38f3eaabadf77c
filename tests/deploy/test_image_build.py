"""The image as it was built: what is in it, what is not, and whether the recipe is in good style."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.containers import StartContainer
from tests.fixtures.images import Image
from tests.fixtures.tools import tool
from worker import __version__

# The first test waits for the image to be built.
pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
_COMPILERS = ("gcc", "cc", "g++", "c++", "clang", "ld", "as", "make", "go", "rustc", "cargo")
_WHAT_IS_THERE = """
import importlib.util, json, os, shutil, sys
found = {name: shutil.which(name) for name in sys.argv[1:]}
modules = {name: importlib.util.find_spec(name) is not None for name in ("pip", "ensurepip", "worker", "pytest")}
root = [line.split() for line in open("/proc/self/mounts")]
print(json.dumps({
    "programs": [name for name in found if found[name]],
    "modules": modules,
    "ids": [os.getuid(), os.getgid(), *os.getgroups()],
    "root": next(fields[3].split(",")[0] for fields in root if fields[1] == "/"),
}))
"""


@pytest.fixture(scope="module")
def hadolint() -> str:
    return tool("hadolint")


def test_the_recipe_is_in_good_style(hadolint: str) -> None:
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_recipe_in_bad_style_would_be_found(hadolint: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python\nRUN apt-get install gcc\n")
    done = subprocess.run([hadolint, tmp_path / "Dockerfile"], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "DL3008" in done.stdout


def test_it_tells_its_version(worker_image: Image, container: StartContainer) -> None:
    process = container(worker_image, "--version").process
    assert process.wait() == 0, process.report()
    assert process.stdout == f"tidegate {__version__}"


def test_it_runs_as_nobody_on_a_root_that_is_read_only_and_holds_no_tools(
    worker_image: Image, container: StartContainer
) -> None:
    python = Image(worker_image.root, {**worker_image.config, "Entrypoint": ["python"]})
    process = container(python, "-c", _WHAT_IS_THERE, "pip", "pip3", *_COMPILERS).process
    assert process.wait() == 0, process.report()
    assert json.loads(process.stdout) == {
        "programs": [],
        "modules": {"pip": False, "ensurepip": False, "worker": True, "pytest": False},
        "ids": [65532, 65532],
        "root": "ro",
    }


def test_its_program_was_compiled_to_byte_code_and_brings_its_migrations(worker_image: Image) -> None:
    (package,) = worker_image.root.glob("opt/tidegate/lib/python3*/site-packages/worker")
    modules = {path.stem for path in package.glob("*.py")}
    assert {path.name.split(".")[0] for path in package.glob("__pycache__/*.pyc")} == modules
    assert list(package.glob("_migrations/control/home/*.sql"))


def test_its_size_is_known_and_most_of_it_is_the_base(worker_image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    added = Image(worker_image.root / "opt/tidegate", {}).size
    with capsys.disabled():
        print(f"\nimage: {worker_image.size / 1e6:.0f} MB, of which Tidegate {added / 1e6:.0f} MB")  # noqa: T201  CI shows it
    assert added < 60e6
