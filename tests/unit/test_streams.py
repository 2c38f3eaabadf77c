"""The exit code says the same whether or not the streams can be written, and what cannot be written is no success."""

import subprocess
import sys

import pytest


def ended(redirected: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The program, with its streams redirected as a shell does it."""
    line = f'exec "$0" -m worker "$@" {redirected}'
    command = ["/bin/sh", "-c", line, sys.executable, *words]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full", ">&- 2>&-"])
def test_a_usage_error_is_one_where_standard_error_takes_nothing(redirected: str) -> None:
    assert ended(redirected, "nonsense").returncode == 2


@pytest.mark.parametrize("words", ["--help", "up --help", "--version", ""])
def test_help_that_cannot_be_written_is_no_success(words: str) -> None:
    said = ended(">/dev/full", *words.split())
    assert said.returncode == 2
    assert said.stderr.startswith("tidegate: it cannot be written: No space left on device\n  hint: ")
    assert "Traceback" not in said.stderr


def test_help_goes_where_there_is_a_stream_and_a_reader_may_leave() -> None:
    assert "VERB" in ended(">&-", "--help").stderr
    left = ended("| head -n 1; exit 0", "--help")
    assert (left.stdout, left.stderr) == ("usage: tidegate VERB [option ...]\n", "")
