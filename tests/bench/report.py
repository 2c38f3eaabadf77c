"""The report: medians with the least and the most, ratios, targets; as Markdown for people and as JSON."""

import json
import platform
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.runner import Result
from tests.bench.workloads import Workload


def document(measured: list[tuple[Workload, list[Result]]], server: str) -> dict[str, Any]:
    """Everything that was measured, for machines."""
    return {
        "server": server,
        "machine": {"python": platform.python_version(), "system": platform.platform(terse=True)},
        "workloads": [_workload(workload, results) for workload, results in measured],
    }


def _workload(workload: Workload, results: list[Result]) -> dict[str, Any]:
    target = workload.target
    return {
        "name": workload.name,
        "target": None if target is None else {"of": target.of.name, "most": target.most},
        "results": [asdict(result) for result in results],
    }


def markdown(report: dict[str, Any]) -> str:
    """The same for people."""
    parts = [f"{report['server']}; Python {report['machine']['python']}, {report['machine']['system']}\n"]
    parts += [_table(workload) for workload in report["workloads"]]
    return "\n".join(parts)


def _table(workload: dict[str, Any]) -> str:
    ours, target = workload["results"][0], workload["target"]
    head = [f"### {workload['name']}\n"]
    if target is not None:
        head.append(f"{_verdict(workload)}\n")
    head += [
        "| tool | median s | least to most | ours / its | CPU s | MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    with_figures = sorted((r for r in workload["results"] if r["turns"]), key=_wall)
    rows = [_row(result, ours) for result in with_figures]
    rows += [f"| {r['peer']} | {r['trouble']} | | | | |" for r in workload["results"] if not r["turns"]]
    return "\n".join([*head, *rows, ""])


def _verdict(workload: dict[str, Any]) -> str:
    target = workload["target"]
    by_name = {result["peer"]: result for result in workload["results"]}
    ours, its = workload["results"][0], by_name[target["of"]]
    if not (ours["turns"] and its["turns"]):
        return "not measured"
    ratio = _wall(ours) / _wall(its)
    word = "reached" if ratio <= target["most"] else "not reached"
    return f"{ratio:.2f} times {target['of']}; at most {target['most']:.2f} is {word}"


def _row(result: dict[str, Any], ours: dict[str, Any]) -> str:
    walls = [turn["wall"] for turn in result["turns"]]
    ratio = f"{_wall(ours) / _wall(result):.2f}" if ours["turns"] else ""
    cpu = median(turn["cpu"] for turn in result["turns"])
    memory = max(turn["memory"] for turn in result["turns"])
    spread = f"{min(walls):.3f} to {max(walls):.3f}"
    return f"| {result['peer']} | {_wall(result):.3f} | {spread} | {ratio} | {cpu:.3f} | {memory:.0f} |"


def _wall(result: dict[str, Any]) -> float:
    return float(median(turn["wall"] for turn in result["turns"]))


def write(report: dict[str, Any], folder: Path) -> None:
    """Write both forms into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    (folder / "report.md").write_text(markdown(report), encoding="utf-8")
