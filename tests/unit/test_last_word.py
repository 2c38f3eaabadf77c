"""The last word of a container, and which of several errors it is about."""

from pathlib import Path

import pytest

from worker.cli import termination_log
from worker.cli.failing import LastWord
from worker.cli.output import print_fault
from worker.cli.termination_log import LIMIT_BYTES, last_word, leave
from worker.core.events.event import Outcome
from worker.core.events.events import JobFailed, JobFinished
from worker.errors import NoDatabaseError, UsageError, first_of

FAILED = JobFailed(Outcome.FAILED, "migration_failed", "3_add.up.sql:1: no hunter2", "mend it", 0, 1.0)


def masked(text: str) -> str:
    return text.replace("hunter2", "***")


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "termination-log"
    path.write_text("an earlier word, and a long one")
    monkeypatch.setattr(termination_log, "_PATH", str(path))
    return path


def test_it_takes_the_place_of_the_one_before(log: Path) -> None:
    leave(last_word("broken", "mend it"))
    assert log.read_text() == "tidegate: broken\n  hint: mend it\n"
    leave(last_word("x", ""))
    assert log.read_text() == "tidegate: x\n"


@pytest.mark.parametrize("character", ["a", "ä", "€", "😀"])
def test_a_long_one_keeps_its_end_and_whole_characters(log: Path, character: str) -> None:
    leave(character * LIMIT_BYTES + "\nthe end")
    said = log.read_bytes()
    assert LIMIT_BYTES - 4 < len(said) <= LIMIT_BYTES
    assert said.decode().endswith(f"{character}\nthe end")


def test_where_there_is_no_such_file_none_is_made(log: Path) -> None:
    log.unlink()
    leave("x")
    assert not log.exists()


def test_a_workers_job_that_fails_is_left_until_one_succeeds_and_says_no_secret(log: Path) -> None:
    sink = LastWord(masked).sink
    sink(FAILED, {})
    assert log.read_text() == "tidegate: 3_add.up.sql:1: no ***\n  hint: mend it\n"
    sink(JobFinished(Outcome.INTERRUPTED, 0, 1.0), {})
    assert "3_add" in log.read_text()
    sink(JobFinished(Outcome.SUCCEEDED, 1, 1.0), {})
    assert not log.read_text()


def test_a_fault_of_the_program_is_told_with_its_traceback_and_no_secret(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_fault(ValueError("hunter2"), masked)
    said = capsys.readouterr().err
    assert said.splitlines()[-2:] == [
        "ValueError: ***",
        "tidegate: internal error (ValueError); please report it with the lines above",
    ]
    assert log.read_text() == said


def test_of_several_errors_the_first_is_told_unless_one_is_a_fault_of_the_program() -> None:
    away, wrong, fault = NoDatabaseError("away"), UsageError("wrong"), ValueError("fault")
    assert first_of(away) is away
    assert first_of(ExceptionGroup("two", [ExceptionGroup("one", [wrong]), away])) is wrong
    assert first_of(ExceptionGroup("two", [away, ExceptionGroup("one", [fault])])) is fault
