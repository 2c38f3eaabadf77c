"""The tests that SECURITY.md names are there."""

import re

from tests.fixtures.processes import ROOT

ROWS = re.findall(r"^\| .* \| (`test_.*) \|$", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)


def test_every_claim_names_tests_that_exist() -> None:
    named = {name for row in ROWS for name in re.findall(r"`(test_\w+)`", row)}
    files = {path.stem: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    code = "\n".join(files.values())
    defined = set(re.findall(r"^(?:async )?def (test_\w+)", code, re.MULTILINE))
    assert len(ROWS) > 20
    assert named - defined - files.keys() == set()
