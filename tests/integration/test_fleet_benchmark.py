"""The benchmark of fleets, with few targets: what it measures is checked, and comes with figures and verdicts."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench import report, runner
from tests.bench.fleet import home
from tests.bench.fleet.peers import others_of_databases, others_of_schemas
from tests.bench.fleet.workloads import Asked, failed, grown, speeds, workloads
from tests.bench.peers import TIDEGATE
from tests.bench.results import Disk
from tests.bench.workloads import Workload
from tests.fixtures.cluster import Server

_MADE = "SELECT format('DROP DATABASE %I', datname) FROM pg_database WHERE datname ~ '^(bench|home)_[0-9_]+$'"


@pytest.fixture(autouse=True)
def _no_database_stays(server: Server) -> Iterator[None]:
    yield
    server.psql(f"{_MADE} \\gexec")


def _once(workload: Workload) -> Workload:
    """The same, where the first turn counts and is the last."""
    return replace(workload, turns=1, seconds=0)


def test_every_size_of_a_fleet_has_figures_and_they_are_reported(server: Server, tmp_path: Path) -> None:
    groups = workloads(Asked((1, 2), (2,), 1, is_alone=True))

    measured = [[(each, runner.run(_once(each), server, tmp_path)) for each in group] for group in groups]
    subjects = [grown(group) for group in measured]
    report.write(report.document(subjects, "a server", Disk(0.001, 0.002)), tmp_path)

    assert [[result.trouble for result in results] for _, results in subjects] == [["", ""], ["", ""], [""], [""]]
    said = (tmp_path / "report.md").read_text()
    assert "| tidegate, 2 schemas | 1 |" in said
    assert "ms a target" in said
    assert (tmp_path / "report.json").exists()


def test_connections_and_processes_share_a_fleet_and_each_has_figures(server: Server, tmp_path: Path) -> None:
    results = [result for each in speeds(4, 1, (1, 2), (1, 2)) for result in runner.run(_once(each), server, tmp_path)]

    assert [(each.peer, each.trouble) for each in results] == [
        ("tidegate, 1 connection", ""),
        ("tidegate, 2 connections", ""),
        ("tidegate, 1 process of two", ""),
        ("tidegate, 2 processes of two", ""),
    ]
    assert all(turn.server > 0 for each in results for turn in each.turns)


def test_a_tool_that_leaves_a_target_out_has_no_figures(server: Server, tmp_path: Path) -> None:
    (schemas,), _, (databases,), _ = workloads(Asked((2,), (2,), 1, is_alone=True))
    psql, psql_again = others_of_schemas(1)[0], others_of_databases(1)[0]

    results = [
        *runner.run(replace(schemas, peers=(psql,)), server, tmp_path),
        *runner.run(replace(databases, peers=(psql_again,)), server, tmp_path),
    ]

    assert [(each.turns, each.trouble) for each in results] == [
        ([], "left f|40, and t|40 in 1 would be right"),
        ([], "left f|20, and t|20 in 2 would be right"),
    ]


def test_a_home_half_is_measured_for_each_number_of_targets(server: Server, tmp_path: Path) -> None:
    measured = home.run(server, tmp_path / "home", (5, 10), 1)

    assert {result.trouble for _, results in measured for result in results} == {""}
    assert {tuple(result.targets for result in results) for _, results in measured} == {(5, 10)}
    assert all(result.turns for _, results in measured for result in results)


def test_a_home_half_that_cannot_be_measured_is_a_failure_that_says_why(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "TIDEGATE", replace(TIDEGATE, program="false"))

    (_, results), *_ = home.run(server, tmp_path / "home", (5, 10), 1)

    assert [(each.trouble, failed(each)) for each in results] == [("exit 1: without a word", True)]
