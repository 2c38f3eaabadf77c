"""`deploy/signing.md` as a reader follows it: its commands are run in order, as they are written."""

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import yaml

from tests.fixtures.command_line import call, files
from tests.fixtures.manifests import CHART
from tests.fixtures.processes import ROOT
from tests.fixtures.servers import Database

PAGE = (ROOT / "deploy" / "signing.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return [dedent(block) for block in re.findall(rf"^ *```{language}\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)]


def test_the_commands_sign_publish_apply_and_rotate(database: Database, tmp_path: Path) -> None:
    files(tmp_path / "migrations", _1_a="CREATE TABLE t1 (a int)")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    finished = subprocess.run(
        ["sh", "-eu"], input="".join(blocks("sh")), env={"PATH": path, "DB_URL": database.dsn}, cwd=tmp_path,
        text=True, capture_output=True, check=False, timeout=100,
    )  # fmt: skip

    assert finished.returncode == 0, f"{finished.stdout}\n{finished.stderr}"
    assert "signed by ci;" in finished.stdout
    assert "1 migrations run" in finished.stdout
    trusted = {"DB_URL": database.dsn, "TIDEGATE_AUDIENCE": "shop"}
    call("bundle", "verify", TIDEGATE_TRUSTED_KEYS=str(tmp_path / "ci-next.pub"), **trusted).is_fine("1.4.0", "trusted")
    call("bundle", "verify", TIDEGATE_TRUSTED_KEYS=str(tmp_path / "ci.pub"), **trusted).is_error(3, "1 of 1")


def test_the_charts_values_are_values_of_the_chart() -> None:
    (values,) = (yaml.safe_load(block) for block in blocks("yaml"))
    known = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert values["trust"].keys() <= known["trust"].keys()


def test_each_option_and_variable_that_it_names_is_there() -> None:
    told = call("admin", "config", "--json").document
    names = {each["name"] for each in told}
    assert {"trusted_keys", "trust", "audience", "min_sequence"} <= names
    for name in set(re.findall(r"TIDEGATE_[A-Z_]+", PAGE)):
        assert name.removeprefix("TIDEGATE_").lower() in names, name
