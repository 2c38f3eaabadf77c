"""The benchmark's worker: one that dies is told, one that does not end is killed, and all its time is counted."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.bench import worker
from tests.bench.idle import processor
from tests.bench.process import family_seconds
from tests.bench.worker import ending, running_worker

_WORKED_SECONDS = 0.1
_DIES = [sys.executable, "-c", "import sys; sys.exit('no such database')"]
_STAYS = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"


def test_a_worker_that_ends_before_it_answers_is_told_by_its_last_line(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="the worker ended with 1: no such database"),
        running_worker(_DIES, {}, tmp_path),
    ):
        pytest.fail("nothing runs")


def test_a_process_that_does_not_heed_its_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_END_SECONDS", 0.1)
    with (
        subprocess.Popen([sys.executable, "-c", _STAYS], stdout=subprocess.PIPE) as process,
        ending(process),
    ):
        assert process.stdout is not None
        process.stdout.readline()

    assert process.returncode < 0


def test_the_time_of_a_thread_that_has_ended_counts() -> None:
    def work() -> None:
        while time.thread_time() < _WORKED_SECONDS:
            pass

    before = processor(os.getpid())
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert processor(os.getpid()) - before >= _WORKED_SECONDS


def test_the_time_of_a_process_counts_with_its_family_while_it_runs_and_once_it_has_ended() -> None:
    program = (
        f"import sys, time\nwhile time.process_time() < {_WORKED_SECONDS}: pass\nprint(flush=True)\nsys.stdin.read()"
    )
    before = sum(family_seconds(os.getpid()))
    with subprocess.Popen(
        [sys.executable, "-S", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        during = sum(family_seconds(os.getpid()))
    after = sum(family_seconds(os.getpid()))

    # The kernel counts in hundredths, and each of the numbers is cut off.
    assert during - before >= _WORKED_SECONDS - 0.04
    assert after - before >= _WORKED_SECONDS - 0.04
