"""`python -m tests.bench [quick] [--only WORDS] [--rounds N] [--out FOLDER]`: measure, print, and write the report.

`tests/bench/install` comes first. It ends with 1 only where our own tool did not do its work, never because of how long
that took.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tests.bench import report
from tests.bench.peers import ROOT
from tests.bench.runner import disk_of, lacking, run
from tests.bench.workloads import Workload, full, quick
from tests.fixtures.cluster import Durability, running_server
from tests.fixtures.installations import installations

_VERSION = 15
_FULL_GIB, _QUICK_GIB = 12, 2


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("form", nargs="?", choices=("full", "quick"), default="full")
    parser.add_argument("--only", default="", help="workloads whose names hold these words")
    parser.add_argument("--rounds", type=int, help="turns that count, where a workload would have more")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench")
    chosen = parser.parse_args()
    # So that the server is stopped, and its folder removed, however this ends.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    workloads = [each for each in (full() if chosen.form == "full" else quick()) if chosen.only in each.name]
    if chosen.rounds is not None:
        workloads = [replace(each, turns=min(each.turns, chosen.rounds + 1)) for each in workloads]
    if lacks := lacking(_FULL_GIB if chosen.form == "full" else _QUICK_GIB):
        parser.error(lacks)
    measured, server_says = [], f"PostgreSQL {_VERSION}, settings as shipped"
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder,
        running_server(_VERSION, installations()[_VERSION], Durability.AS_SHIPPED) as server,
    ):
        disk = asyncio.run(disk_of(server))
        for number, workload in enumerate(workloads, 1):
            so_far = time.monotonic() - began
            _say(f"{number} of {len(workloads)}, {so_far:.0f} s so far, at most {_most(workload):.0f} s for this one")
            measured.append((workload, run(workload, server, Path(folder))))
            now = report.document([measured[-1]], server_says, disk)
            _say(report.table(now["workloads"][0], now["memory_from"]))
    report.write(report.document(measured, server_says, disk), chosen.out)
    _say(f"{time.monotonic() - began:.0f} s; {chosen.out / 'report.md'}")
    return int(any(results[0].trouble for _, results in measured))


def _most(workload: Workload) -> float:
    """About the most seconds that a workload takes: each tool's share, and one turn beyond it."""
    return workload.seconds * max(1, len(workload.peers)) * 1.5 + 10


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


sys.exit(main())
