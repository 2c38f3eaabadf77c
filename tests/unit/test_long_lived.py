"""A command that ends soon hardly looks for garbage and ends at once; one that stays looks as Python does by itself."""

import os
import subprocess
import sys

_SCRIPT = """
import gc
usual = gc.get_threshold()
import worker.cli as cli
cli.main = lambda: print(gc.get_threshold() == usual, end=" ") or cli.stay() or print(gc.get_threshold() == usual) or 0
cli.command()
"""


def test_a_process_that_stays_looks_for_garbage_as_usual() -> None:
    said = subprocess.run([sys.executable, "-c", _SCRIPT], check=True, capture_output=True, text=True).stdout
    assert said.split() == ["False", "True"]


_BUFFERING = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
_END = """
import atexit, os, sys
import worker.cli as cli
class Left:
    def __del__(self):
        os.write(1, b"taken apart ")
left = Left()
def main():
    sys.stdout.write("written ")
    sys.stderr.write("said")
    return 7
cli.main = main
atexit.register(lambda: sys.stdout.write("done at the end"))
sys.exit(cli.command())
"""


def test_a_process_ends_at_once_and_leaves_nothing_unwritten() -> None:
    ended = subprocess.run([sys.executable, "-c", _END], check=False, capture_output=True, text=True, env=_BUFFERING)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("written done at the end", "said", 7)


def test_what_cannot_be_written_is_no_success() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123  a device
        command = [sys.executable, "-c", _END]
        ended = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, text=True, env=_BUFFERING)
    assert ended.returncode == 120
    assert "No space left on device" in ended.stderr
