"""`python -m tests.bench [quick] [--only WORDS] [--out FOLDER]`: measure, print, and write the report.

`tests/bench/install` comes first. It ends with 1 only where our own tool did not do its work, never because of how long
that took.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.bench import report
from tests.bench.peers import ROOT
from tests.bench.runner import run
from tests.bench.workloads import full, quick
from tests.fixtures.cluster import Durability, running_server
from tests.fixtures.installations import installations

_VERSION = 15


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("form", nargs="?", choices=("full", "quick"), default="full")
    parser.add_argument("--only", default="", help="workloads whose names hold these words")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench")
    chosen = parser.parse_args()
    workloads = [each for each in (full() if chosen.form == "full" else quick()) if chosen.only in each.name]
    measured = []
    with (
        tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder,
        running_server(_VERSION, installations()[_VERSION], Durability.AS_SHIPPED) as server,
    ):
        for workload in workloads:
            results = run(workload, server, Path(folder))
            measured.append((workload, results))
            print(report.markdown(report.document([measured[-1]], f"PostgreSQL {_VERSION}")), flush=True)  # noqa: T201
    report.write(report.document(measured, f"PostgreSQL {_VERSION}, settings as shipped"), chosen.out)
    return int(any(results[0].trouble for _, results in measured))


sys.exit(main())
