"""The report: medians with the least and the most, ratios, goals; as Markdown for people and as JSON."""

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.child import least_memory
from tests.bench.results import Disk, Goal, Result, Results, Subject
from tests.bench.workloads import Workload

_WAITS = """\
Each migration is a transaction of its own, with every tool but where it says batch. psql and the other tools wait for
the disk at each commit. Tidegate sends plain migrations several in one message, and waits for the last commit of a
message, which has all of them on disk.
"""
_SHORT = 0.1
_Cell = Callable[[dict[str, Any]], str]


def document(measured: Sequence[tuple[Workload | Subject, list[Result]]], server: str, disk: Disk) -> dict[str, Any]:
    """Everything that was measured, for machines."""
    return {
        "server": server,
        "disk": asdict(disk),
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(terse=True),
            "processors": os.cpu_count(),
            "load": os.getloadavg()[0],
        },
        # What no process is seen to stay below: the kernel hands on what the one that starts it had.
        "memory_from": least_memory(),
        "workloads": [_workload(workload, results) for workload, results in measured],
    }


def _workload(workload: Workload | Subject, results: list[Result]) -> dict[str, Any]:
    by_name = {result.peer: result for result in results}
    return {
        "name": workload.name,
        "goals": [_goal(goal, by_name) for goal in workload.goals],
        "results": [asdict(result) for result in results],
    }


def _goal(goal: Goal, results: Results) -> dict[str, Any]:
    value = _measured(goal.measure, results)
    reached = value is not None and value <= goal.most
    return {
        "what": goal.what, "most": goal.most, "value": value, "reached": reached,
        "floor": goal.floor, "at_floor": _measured(goal.at_floor, results),
    }  # fmt: skip


def _measured(measure: Callable[[Results], float | None], results: Results) -> float | None:
    try:
        return measure(results)
    except KeyError:
        return None


def markdown(report: dict[str, Any]) -> str:
    """The same for people."""
    machine = report["machine"]
    where = f"{machine['processors']} processors, load {machine['load']:.1f} at the end, {machine['system']}"
    disk = "a commit that waits for the disk takes {commit:.2f} ms, a new table {table:.2f}".format(
        **{name: seconds * 1000 for name, seconds in report["disk"].items()}
    )
    parts = [f"{report['server']}; Python {machine['python']}; {where}; {disk}\n", _WAITS]
    parts += [table(workload, report["memory_from"]) for workload in report["workloads"]]
    return "\n".join(parts)


def table(workload: dict[str, Any], memory_from: float) -> str:
    """One workload: its goals, then the tools, the quickest first, and of several sizes the least."""
    ours = workload["results"][0]
    head = [f"### {workload['name']}\n", *map(_verdict, workload["goals"]), ""]
    if ours["figures"]:
        return "\n".join([*head, "| figure | |", "| --- | ---: |", *map(_figure, ours["figures"].items()), ""])
    with_figures = sorted((r for r in workload["results"] if r["turns"]), key=lambda r: (r["targets"], _wall(r)))
    columns = _columns(with_figures, ours, memory_from)
    head += [f"| {' | '.join(columns)} |", f"| ---{' | ---:' * (len(columns) - 1)} |"]
    rows = [f"| {' | '.join(cell(result) for cell in columns.values())} |" for result in with_figures]
    rows += [
        f"| {r['peer']} | {r['trouble']}{' |' * (len(columns) - 1)}" for r in workload["results"] if not r["turns"]
    ]
    return "\n".join([*head, *rows, ""])


def _verdict(goal: dict[str, Any]) -> str:
    if goal["value"] is None:
        return f"- {goal['what']}: not measured"
    word = "reached" if goal["reached"] else "NOT reached"
    floor = "" if goal["at_floor"] is None else f"; {goal['floor']} is at {goal['at_floor']:.4g}"
    return f"- {goal['what']}: {goal['value']:.4g}; at most {goal['most']:g} is {word}{floor}"


def _figure(named: tuple[str, float]) -> str:
    return f"| {named[0]} | {named[1]:.3g} |"


def _columns(results: list[dict[str, Any]], ours: dict[str, Any], memory_from: float) -> dict[str, _Cell]:
    """What is said of each result, by heading."""
    about = {result["targets"] for result in results}
    columns: dict[str, _Cell] = {
        "tool": lambda result: str(result["peer"]),
        "turns": lambda result: str(len(result["turns"])),
        "median s": lambda result: _seconds(_wall(result)),
        "least to most": _spread,
    }
    if about - {0}:
        columns["ms a target"] = _each
    if len(about) == 1 and ours["turns"]:
        columns["ours / its"] = lambda result: f"{_wall(ours) / _wall(result):.2f}"
    columns["CPU s"] = _used("cpu")
    columns["server's"] = _used("server")
    columns["in the kernel"] = _used("kernel")
    if about - {0}:
        columns["processors busy"] = _busy
    columns["MiB"] = lambda result: _memory(result, memory_from)
    columns["load"] = lambda result: f"{result['load']:.1f}" if result["load"] else ""
    return columns


def _spread(result: dict[str, Any]) -> str:
    walls = [turn["wall"] for turn in result["turns"]]
    return f"{_seconds(min(walls))} to {_seconds(max(walls))}"


def _each(result: dict[str, Any]) -> str:
    each = _wall(result) * 1000 / result["targets"]
    return f"{each:.1f}" if each >= 1 else f"{each:.4f}"


def _seconds(wall: float) -> str:
    return f"{wall:.3f}" if wall >= _SHORT else f"{wall:.5f}"


def _used(name: str) -> _Cell:
    def cell(result: dict[str, Any]) -> str:
        used = median(turn[name] for turn in result["turns"])
        return f"{used:.3f}" if used else ""

    return cell


def _busy(result: dict[str, Any]) -> str:
    """How many processors the tool and the server kept busy."""
    busy = median((turn["cpu"] + turn["server"]) / turn["wall"] for turn in result["turns"])
    return f"{busy:.2f}" if busy else ""


def _memory(result: dict[str, Any], memory_from: float) -> str:
    memory = max(turn["memory"] for turn in result["turns"])
    return f"{'≤ ' if memory <= memory_from else ''}{memory:.0f}" if memory else ""


def _wall(result: dict[str, Any]) -> float:
    return float(median(turn["wall"] for turn in result["turns"]))


def write(report: dict[str, Any], folder: Path) -> None:
    """Write both forms into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    (folder / "report.md").write_text(markdown(report), encoding="utf-8")
