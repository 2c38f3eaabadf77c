"""The exit code says the same whether or not the streams can be written, and what cannot be written is no success."""

import pytest

from tests.fixtures.command_line import redirected


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", ">&- 2>&-"])
def test_a_usage_error_is_one_where_standard_error_takes_nothing(streams: str) -> None:
    assert redirected(streams, "nonsense").returncode == 2


@pytest.mark.parametrize("words", ["--help", "up --help", "--version", ""])
def test_help_that_cannot_be_written_is_no_success(words: str) -> None:
    said = redirected(">/dev/full", *words.split())
    assert said.returncode == 2
    assert said.stderr.startswith("tidegate: standard output cannot be written: No space left on device\n  hint: ")
    assert "Traceback" not in said.stderr


def test_a_reader_may_leave() -> None:
    left = redirected("| head -n 1; exit 0", "--help")
    assert (left.stdout, left.stderr) == ("usage: tidegate VERB [option ...]\n", "")


@pytest.mark.parametrize("streams", [">&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["--help", "completion bash"])
def test_what_nobody_listens_to_goes_nowhere(streams: str, words: str) -> None:
    assert redirected(streams, *words.split()).returncode == 0
