"""What the wheel holds besides code: without it an installed Tidegate neither migrates nor type-checks."""

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.fixtures.processes import ROOT


def test_the_wheel_holds_types_queries_and_migrations(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (wheel,) = tmp_path.glob("tidegate-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "worker/py.typed" in names
    sources = [path for folder in ("worker", "migrations") for path in (ROOT / folder).rglob("*") if path.is_file()]
    wanted = {str(path.relative_to(ROOT)) for path in sources if path.suffix in {".py", ".sql", ".typed"}}
    assert {name.replace("migrations/", "worker/_migrations/", 1) for name in wanted} <= names
