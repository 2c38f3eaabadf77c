"""`python -m tests.bench.fleet [quick] [--rounds N] [--out FOLDER] …`: what a fleet costs, and how that grows.

20 migrations into each of many schemas and databases, against psql and dbmate four at a time; the same by more
connections and more processes; a home half with many targets. One server with default durability; whole processes from
start to exit in turns, each turn in a new database and checked. `tests/bench/install` comes first. It ends with 1 only
where our own tool did not do its work, never because of how long that took.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench import report
from tests.bench.fleet import home
from tests.bench.fleet.workloads import Asked, failed, grown, speeds, workloads
from tests.bench.peers import ROOT
from tests.bench.results import Result, Subject
from tests.bench.runner import disk_of, lacking, run
from tests.bench.workloads import Workload
from tests.fixtures.cluster import Durability, Server, running_server
from tests.fixtures.installations import installations

_VERSION = 15
_FULL_GIB, _QUICK_GIB = 25, 2
_HUNDRED_THOUSAND = "100,1000,10000,100000"
_FULL = {"schemas": "100,200,2000", "databases": "20,50,200", "rows": _HUNDRED_THOUSAND, "speed": 200, "rounds": 3}
_QUICK = {"schemas": "2,8", "databases": "2", "rows": "10,100,1000", "speed": 8, "rounds": 1}
_CONNECTIONS, _PROCESSES = (1, 2, 4, 8), (1, 2, 4)

Measured = tuple[Workload | Subject, list[Result]]


def main() -> int:
    """Measure, print a table each, and write the report."""
    asked = _asked()
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    measured = []
    with (
        running_server(_VERSION, installations()[_VERSION], Durability.AS_SHIPPED) as server,
        tempfile.TemporaryDirectory(prefix="tidegate-fleet-") as folder,
    ):
        disk = asyncio.run(disk_of(server))
        for each in _measured(asked, server, Path(folder)):
            measured.append(each)
            # What is measured stays, whatever becomes of the rest.
            now = report.document(measured, f"PostgreSQL {_VERSION}, settings as shipped", disk)
            report.write(now, asked.out)
            _say(report.table(now["workloads"][-1], now["memory_from"]))
    _say(str(asked.out / "report.md"))
    return int(any(failed(result) for _, results in measured for result in results))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.fleet", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("form", nargs="?", choices=("full", "quick"), default="full")
    parser.add_argument("--schemas", type=counts, help="how many, each for itself; none where empty")
    parser.add_argument("--databases", type=counts, help="the same")
    parser.add_argument("--rows", type=counts, help="targets in the home half, the same")
    parser.add_argument("--speed", type=int, help="schemas for more connections and processes; 0 leaves them out")
    parser.add_argument("--rounds", type=int, help="turns that count")
    parser.add_argument("--alone", action="store_true", help="without the other tools")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench-fleet")
    form = parser.parse_known_args()[0].form
    parser.set_defaults(**(_FULL if form == "full" else _QUICK))
    if lacks := lacking(_FULL_GIB if form == "full" else _QUICK_GIB):
        parser.error(lacks)
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def counts(text: str) -> tuple[int, ...]:
    return tuple(map(int, filter(None, text.split(","))))


def _run(workload: Workload, server: Server, folder: Path) -> list[Result]:
    _say(f"{time.strftime('%H:%M:%S')} {workload.name}")
    return run(workload, server, folder)


def _measured(asked: argparse.Namespace, server: Server, folder: Path) -> Iterator[Measured]:
    """One after the other, each as soon as it was measured."""
    for group in workloads(Asked(asked.schemas, asked.databases, asked.rounds, asked.alone)):
        done = []
        for each in group:
            done.append((each, _run(each, server, folder)))
            if len(each.peers) > 1:
                yield done[-1]
        yield grown(done)
    for each in speeds(asked.speed, asked.rounds, _CONNECTIONS, _PROCESSES) if asked.speed else ():
        yield each, _run(each, server, folder)
    _say(f"{time.strftime('%H:%M:%S')} home half")
    yield from home.run(server, folder / "home", asked.rows, asked.rounds) if asked.rows else ()


sys.exit(main())
