"""`python plot.py REPORT.json PLOT.svg`: each tool's median in each workload, in seconds; needs matplotlib."""

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

_COLUMNS = 3
_OURS, _THEIRS, _FLOOR = "#0b7285", "#adb5bd", "#dee2e6"
# What does no more than any tool has to, or is one process where the others are eight.
_FLOORS = ("psql", "bare asyncpg", "tidegate alone")
_ROW_INCHES, _TITLE_INCHES = 0.2, 0.55


def main(report: Path, picture: Path) -> None:
    """Draw one panel a workload that has a time for several tools."""
    # The same report gives the same file.
    mpl.rcParams.update({"svg.hashsalt": "tidegate", "font.size": 8})
    workloads = [each for each in json.loads(report.read_text(encoding="utf-8"))["workloads"] if len(_walls(each)) > 1]
    # Panels of the same height stand beside each other.
    workloads.sort(key=lambda each: -len(_walls(each)))
    rows = [workloads[first : first + _COLUMNS] for first in range(0, len(workloads), _COLUMNS)]
    heights = [max(len(_walls(each)) for each in row) * _ROW_INCHES + _TITLE_INCHES for row in rows]
    figure, places = plt.subplots(
        len(rows), _COLUMNS, figsize=(4 * _COLUMNS, sum(heights)), squeeze=False,
        gridspec_kw={"height_ratios": heights}, layout="constrained",
    )  # fmt: skip
    for place, workload in zip(places.flat, workloads, strict=False):
        _panel(place, workload)
    for row in places:
        # Bars of a row are as thick as where most stand.
        most = max(len(place.get_yticks()) for place in row)
        for place in row:
            top = len(place.get_yticks())
            place.set_ylim(top - most - 0.5, top - 0.5)
    for place in places.flat[len(workloads) :]:
        place.set_axis_off()
    figure.savefig(picture, metadata={"Date": None})


def _walls(workload: dict[str, Any]) -> dict[str, float]:
    measured = [each for each in workload["results"] if each["turns"]]
    return {each["peer"]: median(turn["wall"] for turn in each["turns"]) for each in measured}


def _panel(place: Any, workload: dict[str, Any]) -> None:
    walls = _walls(workload)
    ours = {each["peer"] for each in workload["results"] if each["peer"] == workload["results"][0]["peer"]}
    ours |= {name for name in walls if name.startswith(("tidegate", "at ")) and name not in _FLOORS}
    names = sorted(walls, key=lambda name: walls[name], reverse=True)
    colours = [_OURS if name in ours else _FLOOR if name.startswith(_FLOORS) else _THEIRS for name in names]
    bars = place.barh(names, [walls[name] for name in names], color=colours, height=0.75)
    place.bar_label(bars, labels=[_seconds(walls[name]) for name in names], padding=2)
    place.margins(x=0.18)
    place.set_title(workload["name"], fontsize=9, loc="left")
    place.spines[:].set_visible(False)
    place.tick_params(left=False, bottom=False, labelbottom=False)


def _seconds(wall: float) -> str:
    return f"{wall * 1000:.0f} ms" if wall < 1 else f"{wall:.1f} s"


main(Path(sys.argv[1]), Path(sys.argv[2]))
