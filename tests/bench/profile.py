"""`python -m tests.bench.profile [--rounds N]`: where the time of an `up` on an empty database goes, and its floor.

The server says what each message took that the program sent it; what is left of the whole is the program's own time.
All is measured in turns in one run, on one server with its settings as shipped; medians in milliseconds are printed.
"""

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from statistics import median

from tests.bench.child import Child
from tests.bench.peers import BARE, PROGRAM_PSQL, PSQL, TIDEGATE, Migration
from tests.bench.process import clean
from tests.bench.workloads import tables
from tests.fixtures.cluster import Durability, Server, running_server
from tests.fixtures.installations import installations

_VERSION = 15
_COUNTS = (1, 100, 1_000)
_LIMIT_SECONDS = 180
_ENTRY = re.compile(r"^\d{4}-\d\d-\d\d [^\n]*? LOG:  duration: ([0-9.]+) ms  ([^\n]*(?:\n\t[^\n]*)*)", re.MULTILINE)
_MADE, _RUN, _TAKEN, _OTHER = (
    "control schema and bundle",
    "migrations, recorded",
    "fingerprint",
    "looks, lock, readiness",
)
_WORDS = {"CREATE SCHEMA": _MADE, "record_applied(": _RUN, ".fingerprint": _TAKEN}
_INTERPRETER, _SCRIPT, _WHOLE, _OWN = "python -c pass", "bare asyncpg script", "tidegate up", "the program itself"
_FLOOR, _PSQL = "migrations alone, in the same messages", "psql, a transaction a file"
_ROWS = (_INTERPRETER, _SCRIPT, _WHOLE, _OWN, _MADE, _RUN, _TAKEN, _OTHER, _FLOOR, _PSQL)
_NUMBERS = count(1)

Milliseconds = dict[str, float]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    rounds = parser.parse_args().rounds
    with (
        tempfile.TemporaryDirectory(prefix="tidegate-profile-") as folder,
        running_server(_VERSION, installations()[_VERSION], Durability.AS_SHIPPED) as server,
    ):
        columns = []
        for number in _COUNTS:
            measured = [_Turn(server, Path(folder) / f"{number}", tables(number)).take() for _ in range(rounds + 1)]
            # The first one warms up.
            columns.append({row: median(each[row] for each in measured[1:]) for row in _ROWS})
    _say("milliseconds", *(f"{number:,}" for number in _COUNTS))
    _say("---", *("---:" for _ in _COUNTS))
    for row in _ROWS:
        _say(row, *(f"{column[row]:.0f}" for column in columns))


def _say(*cells: str) -> None:
    sys.stdout.write(f"| {' | '.join(cells)} |\n")


class _Turn:
    """Everything once for some migrations, each on a database of its own."""

    def __init__(self, server: Server, home: Path, migrations: Sequence[Migration]) -> None:
        self._server = server
        self._home = home
        self._migrations = migrations
        for peer in (TIDEGATE, PSQL):
            if not (home / peer.program).exists():
                (home / peer.program).mkdir(parents=True)
                peer.write(home / peer.program, migrations)

    def take(self) -> Milliseconds:
        """What each part took."""
        python = BARE.find() or sys.executable
        took = {
            _INTERPRETER: self._process([python, "-c", "pass"], ""),
            _SCRIPT: self._process(BARE.call(python, self._home, ""), self._database()),
            _PSQL: self._process(
                PSQL.call(str(PROGRAM_PSQL), self._home / PSQL.program, self._url(self._database())), ""
            ),
        }
        sizes, parts = self._up()
        return {**took, **parts, _FLOOR: asyncio.run(self._alone(sizes))}

    def _up(self) -> tuple[list[int], Milliseconds]:
        """What a run took in all and in its parts, and how many migrations each of its messages held."""
        database, before = self._database(), len(self._server.log())
        self._server.psql(f"ALTER DATABASE {database} SET log_min_duration_statement = 0")
        program = TIDEGATE.find() or "tidegate"
        whole = self._process(TIDEGATE.call(program, self._home / TIDEGATE.program, self._url(database)), database)
        parts: Milliseconds = defaultdict(float)
        sizes = []
        for entry in _ENTRY.finditer(self._server.log()[before:]):
            part = next((part for word, part in _WORDS.items() if word in entry[2]), _OTHER)
            parts[part] += float(entry[1])
            if part == _RUN:
                sizes.append(entry[2].count("record_applied("))
        if sum(sizes) != len(self._migrations):
            raise AssertionError(
                f"{sum(sizes)} records in the server's log, and {len(self._migrations)} would be right"
            )
        return sizes, {**parts, _WHOLE: whole, _OWN: whole - sum(parts.values())}

    async def _alone(self, sizes: Sequence[int]) -> float:
        """The bodies in a transaction each, in messages of these sizes whose last commit waits for the disk."""
        conn, rest = await self._server.connect(self._database()), iter(self._migrations)
        began = time.perf_counter()
        for size in sizes:
            bodies = [next(rest).sql for _ in range(size)]
            unhurried = [f"BEGIN; {body}; SET LOCAL synchronous_commit = off; COMMIT" for body in bodies[:-1]]
            await conn.execute("; ".join((*unhurried, f"BEGIN; {bodies[-1]}; COMMIT")))
        took = time.perf_counter() - began
        await conn.close()
        return took * 1000

    def _database(self) -> str:
        name = f"profile_{next(_NUMBERS)}"
        self._server.psql(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    def _url(self, database: str) -> str:
        return self._server.dsn(database, sslmode="disable")

    def _process(self, command: list[str], database: str) -> float:
        environment = {**clean(), "DATABASE_URL": self._url(database or "postgres")}
        with open(os.devnull, "wb") as output:  # noqa: PTH123  a device
            child = Child(command, environment, self._home, output)
            child.begin()
            code, turn = child.wait_for(_LIMIT_SECONDS)
        if code != 0:
            raise AssertionError(f"{command[0]}: exit {code}")
        return turn.wall * 1000


if __name__ == "__main__":
    main()
