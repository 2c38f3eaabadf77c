"""The benchmark where a tool does not do its work: that is said, and the rest is measured."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench import runner
from tests.bench.child import Child
from tests.bench.peers import PSQL, TIDEGATE
from tests.bench.workloads import Kind, quick
from tests.fixtures.cluster import Server


def test_a_worker_that_does_not_start_is_a_result_that_says_so(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "TIDEGATE", replace(TIDEGATE, program="false"))
    (workload,) = [each for each in quick() if each.kind is Kind.READY]

    (result,) = runner.run(workload, server, tmp_path)
    server.psql("DROP DATABASE bench_ready WITH (FORCE)")

    assert (result.trouble, result.turns) == ("the worker ended with 1: without a word", [])


@pytest.mark.parametrize(("mebibytes", "at_least", "below"), [(0, 5, 100), (200, 200, 300)])
def test_a_process_has_its_own_peak_of_memory_however_much_the_benchmark_used(
    tmp_path: Path, mebibytes: int, at_least: float, below: float
) -> None:
    used = b"x" * (400 << 20)
    program = f"used = b'x' * ({mebibytes} << 20); print(len(used))"
    with (tmp_path / "said").open("wb") as said:
        child = Child([sys.executable, "-S", "-c", program], os.environ, tmp_path, said)
        child.begin()
        code, turn = child.wait_for(30)

    assert (code, (tmp_path / "said").read_text()) == (0, f"{mebibytes << 20}\n")
    assert at_least <= turn.memory < below < len(used) >> 20


def test_a_process_that_does_not_end_in_time_is_killed_with_what_it_started(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as said:
        child = Child(["sh", "-c", "echo begun; sleep 1000 & wait"], os.environ, tmp_path, said)
    child.begin()

    code, turn = child.wait_for(0.5)

    assert (code, turn.memory) == (-signal.SIGKILL, 0.0)
    with os.fdopen(reader, "rb") as heard:
        # The end comes when nobody is left who could say more.
        assert heard.read() == b"begun\n"


def test_an_interrupted_wait_leaves_no_process_behind(tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as said:
        child = Child(["sh", "-c", "echo begun; sleep 1000"], os.environ, tmp_path, said)
    child.begin()
    before = signal.signal(signal.SIGALRM, interrupt)
    with os.fdopen(reader, "rb") as heard:
        assert heard.readline() == b"begun\n"
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(KeyboardInterrupt):
                child.wait_for(600)
        finally:
            signal.signal(signal.SIGALRM, before)
        assert heard.read() == b""


def test_a_measured_program_begins_with_the_signals_and_the_environment_that_it_would_have(tmp_path: Path) -> None:
    program = "grep SigIgn /proc/self/status; env"
    with (tmp_path / "said").open("wb") as said:
        child = Child(["sh", "-c", program], {"PATH": os.environ["PATH"]}, tmp_path, said)
        child.begin()
        child.wait_for(30)

    lines = (tmp_path / "said").read_text().splitlines()
    assert not int(lines[0].split()[1], 16) & (1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1))
    assert not [line for line in lines if line.startswith("LC_")]


def test_psql_is_measured_without_the_script_that_looks_for_it() -> None:
    found = PSQL.find()
    assert found is not None
    with Path(found).open("rb") as program:
        assert program.read(4) == b"\x7fELF"
