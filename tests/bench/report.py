"""The report: medians with the least and the most, ratios, goals; as Markdown for people and as JSON."""

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.child import least_memory
from tests.bench.results import Goal, Result, Results
from tests.bench.workloads import Workload

_WAITS = """\
Each migration is a transaction of its own, with every tool but where it says batch. psql and the other tools wait for
the disk at each commit. Tidegate sends plain migrations several in one message, and waits for the last commit of a
message, which has all of them on disk.
"""


def document(measured: list[tuple[Workload, list[Result]]], server: str, commit: float) -> dict[str, Any]:
    """Everything that was measured, for machines; `commit` is the seconds that one takes which waits for the disk."""
    return {
        "server": server,
        "commit": commit,
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


def _workload(workload: Workload, results: list[Result]) -> dict[str, Any]:
    by_name = {result.peer: result for result in results}
    return {
        "name": workload.name,
        "goals": [_goal(goal, by_name) for goal in workload.goals],
        "results": [asdict(result) for result in results],
    }


def _goal(goal: Goal, results: Results) -> dict[str, Any]:
    try:
        value = goal.measure(results)
    except KeyError:
        value = None
    return {"what": goal.what, "most": goal.most, "value": value, "reached": value is not None and value <= goal.most}


def markdown(report: dict[str, Any]) -> str:
    """The same for people."""
    machine = report["machine"]
    where = f"{machine['processors']} processors, load {machine['load']:.1f} at the end, {machine['system']}"
    disk = f"a commit that waits for the disk takes {report['commit'] * 1000:.2f} ms"
    parts = [f"{report['server']}; Python {machine['python']}; {where}; {disk}\n", _WAITS]
    parts += [table(workload, report["memory_from"]) for workload in report["workloads"]]
    return "\n".join(parts)


def table(workload: dict[str, Any], memory_from: float) -> str:
    """One workload: its goals, then the tools, the quickest first."""
    ours = workload["results"][0]
    head = [f"### {workload['name']}\n", *map(_verdict, workload["goals"]), ""]
    if ours["figures"]:
        return "\n".join([*head, "| figure | |", "| --- | ---: |", *map(_figure, ours["figures"].items()), ""])
    head += [
        "| tool | turns | median s | least to most | ours / its | CPU s | MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    with_figures = sorted((r for r in workload["results"] if r["turns"]), key=_wall)
    rows = [_row(result, ours, memory_from) for result in with_figures]
    rows += [f"| {r['peer']} | {r['trouble']} | | | | | |" for r in workload["results"] if not r["turns"]]
    return "\n".join([*head, *rows, ""])


def _verdict(goal: dict[str, Any]) -> str:
    if goal["value"] is None:
        return f"- {goal['what']}: not measured"
    word = "reached" if goal["reached"] else "NOT reached"
    return f"- {goal['what']}: {goal['value']:.3g}; at most {goal['most']:g} is {word}"


def _figure(named: tuple[str, float]) -> str:
    return f"| {named[0]} | {named[1]:.3g} |"


def _row(result: dict[str, Any], ours: dict[str, Any], memory_from: float) -> str:
    turns = result["turns"]
    walls = [turn["wall"] for turn in turns]
    ratio = f"{_wall(ours) / _wall(result):.2f}" if ours["turns"] else ""
    spread = f"{min(walls):.3f} to {max(walls):.3f}"
    cpu, memory = median(turn["cpu"] for turn in turns), max(turn["memory"] for turn in turns)
    used = f"{cpu:.3f} | {'≤ ' if memory <= memory_from else ''}{memory:.0f}" if memory else "|"
    return f"| {result['peer']} | {len(turns)} | {_wall(result):.4f} | {spread} | {ratio} | {used} |"


def _wall(result: dict[str, Any]) -> float:
    return float(median(turn["wall"] for turn in result["turns"]))


def write(report: dict[str, Any], folder: Path) -> None:
    """Write both forms into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    (folder / "report.md").write_text(markdown(report), encoding="utf-8")
