"""The suite's own ground: a started program is watched by its lines, and never outlives its test."""

import sys
from pathlib import Path

import pytest

from tests.fixtures.processes import Process

SCRIPT = """
import json, signal, sys
print("plain")
print(json.dumps({"event": "started", "n": 1}), file=sys.stderr)
signal.sigwait([signal.SIGTERM])
print("ending")
sys.exit(3)
"""


def start(script: str, tmp_path: Path) -> Process:
    return Process(
        [sys.executable, "-u", "-c", f"import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [15]);{script}"],
        {},
        tmp_path,
    )


def test_lines_events_and_the_exit_code_arrive(tmp_path: Path) -> None:
    process = start(SCRIPT, tmp_path)
    try:
        assert process.wait_for_line(lambda line: line == "plain") == "plain"
        assert process.wait_for_event("started", n=1) == {"event": "started", "n": 1}
        assert process.exit_code is None
        process.terminate()
        assert process.wait() == 3
        assert process.stdout == "plain\nending"
        assert len(process.events) == 1
    finally:
        process.close()


def test_a_line_that_never_comes_fails_with_all_that_was_written(tmp_path: Path) -> None:
    process = start('print("the only line")', tmp_path)
    try:
        with pytest.raises(AssertionError, match=r"it ended without that line\n.*\n.*\nthe only line"):
            process.wait_for_line(lambda line: line == "another")
    finally:
        process.close()


def test_a_process_that_hangs_is_gone_after_its_test(tmp_path: Path) -> None:
    process = start(SCRIPT, tmp_path)
    process.wait_for_line(lambda line: line == "plain")
    with pytest.raises(AssertionError, match="still running"):
        process.wait(timeout=0.01)
    process.close()
    assert process.exit_code == -9
