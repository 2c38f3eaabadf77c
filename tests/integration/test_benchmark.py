"""The benchmark where a tool does not do its work: that is said, and the rest is measured."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench import runner
from tests.bench.peers import TIDEGATE
from tests.bench.workloads import Kind, quick
from tests.fixtures.cluster import Server


def test_a_worker_that_does_not_start_is_a_result_that_says_so(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "TIDEGATE", replace(TIDEGATE, program="false"))
    (workload,) = [each for each in quick() if each.kind is Kind.READY]

    (result,) = runner.run(workload, server, tmp_path)
    for left in ("bench_ready", "bench_ready_floor"):
        server.psql(f"DROP DATABASE {left} WITH (FORCE)")

    assert (result.trouble, result.turns) == ("the worker ended with 1: without a word", [])
