"""`python plot.py REPORT.json PLOT.svg`: each tool's median in each workload, in seconds; needs matplotlib."""

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

_COLUMNS = 3
_OURS, _THEIRS = "#0b7285", "#adb5bd"


def main(report: Path, picture: Path) -> None:
    """Draw one panel a workload."""
    # The same report gives the same file.
    mpl.rcParams.update({"svg.hashsalt": "tidegate", "font.size": 8})
    workloads = json.loads(report.read_text(encoding="utf-8"))["workloads"]
    rows = -(-len(workloads) // _COLUMNS)
    figure, places = plt.subplots(rows, _COLUMNS, figsize=(4 * _COLUMNS, 2.4 * rows), squeeze=False)
    for place, workload in zip(places.flat, workloads, strict=False):
        _panel(place, workload)
    for place in places.flat[len(workloads) :]:
        place.set_axis_off()
    figure.tight_layout()
    figure.savefig(picture, metadata={"Date": None})


def _panel(place: Any, workload: dict[str, Any]) -> None:
    ours = workload["results"][0]["peer"]
    measured = [each for each in workload["results"] if each["turns"]]
    walls = {each["peer"]: median(turn["wall"] for turn in each["turns"]) for each in measured}
    names = sorted(walls, key=lambda name: walls[name], reverse=True)
    bars = place.barh(names, [walls[name] for name in names], color=[_OURS if n == ours else _THEIRS for n in names])
    place.bar_label(bars, fmt="%.2f", padding=2)
    place.margins(x=0.15)
    place.set_title(f"{workload['name']} (seconds)", fontsize=9)
    place.spines[["top", "right"]].set_visible(False)


main(Path(sys.argv[1]), Path(sys.argv[2]))
