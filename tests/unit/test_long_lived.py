"""A command that ends soon hardly looks for garbage; one that stays does so as Python does by itself."""

import subprocess
import sys

_SCRIPT = """
import gc
usual = gc.get_threshold()
import worker.cli as cli
cli.main = lambda: print(gc.get_threshold() == usual, end=" ") or cli.stay() or print(gc.get_threshold() == usual)
cli.command()
"""


def test_a_process_that_stays_looks_for_garbage_as_usual() -> None:
    said = subprocess.run([sys.executable, "-c", _SCRIPT], check=True, capture_output=True, text=True).stdout
    assert said.split() == ["False", "True"]
