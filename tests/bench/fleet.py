"""What a fleet costs: schemas and databases against psql and dbmate in turns, and a home half with many targets.

    python -m tests.bench.fleet [--schemas 100,200] [--databases 20] [--rounds 3] [--rows 100,1000,10000,100000]
    python -m tests.bench.fleet --alone --rounds 1 --schemas 2000 --databases 200 --rows ""

One server with default durability; whole processes from start to exit, four at a time where a process does one target;
each turn begins with a new database and is checked. Seconds are medians, ratios medians of each round's. The processes
are those of `tests/bench/install`, or else those of this environment.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count as numbers
from pathlib import Path

import asyncpg

from tests.bench.child import Child
from tests.bench.peers import PROGRAM_PSQL
from tests.fixtures.cluster import Durability, Server, running_server
from tests.fixtures.installations import installations
from worker.core.fleet.declared import REGISTERED
from worker.postgres.fleet import LEASE_SECONDS
from worker.postgres.queries import queries

ROOT = Path(__file__).parents[2]
MIGRATIONS = 20
_MADE = "^t[0-9]+$"
AT_ONCE = 4
_LIMIT_SECONDS = 3600
_PLACES = (
    ROOT / ".venv/bench/own/bin",
    *ROOT.glob(".venv/bench/node_modules/@dbmate/*/bin"),
    Path(sys.executable).parent,
    ROOT / ".venv/tools",
)
_TENANTS = "[[targets]]\nschemas_query = \"SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tenant%'\"\n"
_DATABASES = "[[targets]]\ndatabases_query = \"SELECT datname FROM pg_database WHERE datname LIKE 'tenant%'\"\n"
_LIMITS = f"[limits]\nworkers = {AT_ONCE}\nper_database = {AT_ONCE}\n"
_LINE = "schema_migrations"
_NUMBERS = numbers(1)


@dataclass(frozen=True, slots=True)
class Took:
    """What a process took: seconds, and its most memory in MiB."""

    seconds: float
    memory: float


def main() -> None:
    """Measure, and print a table a subject."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schemas", type=_numbers, default=(100, 200))
    parser.add_argument("--databases", type=_numbers, default=())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=_numbers, default=(100, 1000, 10_000, 100_000))
    parser.add_argument("--alone", action="store_true", help="without the peers, for thousands of targets")
    asked = parser.parse_args()
    with (
        running_server(15, installations()[15], Durability.AS_SHIPPED) as server,
        tempfile.TemporaryDirectory(prefix="tidegate-fleet-") as folder,
    ):
        bench = _Bench(server, Path(folder), () if asked.alone else ("psql", "dbmate"))
        if asked.schemas or asked.databases:
            bench.apply(asked.schemas, asked.databases, asked.rounds)
        if asked.rows:
            asyncio.run(bench.home(asked.rows))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, filter(None, text.split(","))))


def _say(*cells: object) -> None:
    sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n" if len(cells) > 1 else f"{cells[0]}\n")
    sys.stdout.flush()


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def _own() -> str:
    """The path of our own command.

    Raises:
        SystemExit: It is not installed.
    """
    found = _found("tidegate")
    if found is None:
        sys.exit("tidegate was not found: run `make peers`, or install it into this environment")
    return found


def _found(program: str) -> str | None:
    return shutil.which(program, path=os.pathsep.join([*map(str, _PLACES), os.environ.get("PATH", "")]))


def _process(command: Sequence[str | Path], text: str = "", **env: str) -> Took:
    """Run it to its end, which has to be a good one."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(text.encode())
        given.seek(0)
        child = Child([*map(str, command)], {**_clean(), **env}, None, said, given=given)
        child.begin()
        code, turn = child.wait_for(_LIMIT_SECONDS)
        said.seek(0)
        assert code == 0, f"{command[0]} ended with {code}: {said.read()[-2000:].decode(errors='replace')}"
    return Took(turn.wall, turn.memory)


def _clean() -> dict[str, str]:
    """The environment without settings of any tool, and with bytecode, as an installation has it."""
    ours = ("DB_", "PG", "TIDEGATE_", "DATABASE_URL", "PYTHON", "DBMATE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


class _Bench:
    def __init__(self, server: Server, folder: Path, peers: Sequence[str]) -> None:
        self._server = server
        self._folder = folder
        self._own = _own()
        self._peers = peers
        self._dbmate = _found("dbmate") if "dbmate" in peers else None
        self._files = folder / "files"
        self._theirs = folder / "dbmate"
        self._files.mkdir()
        self._theirs.mkdir()
        for version in range(1, MIGRATIONS + 1):
            sql = f"CREATE TABLE t{version} (id bigint PRIMARY KEY, name text);\n"
            (self._files / f"{version:04}_t.up.sql").write_text(sql)
            (self._theirs / f"{version:04}_t.sql").write_text(f"-- migrate:up\n{sql}\n-- migrate:down\n")

    def apply(self, schemas: Sequence[int], databases: Sequence[int], rounds: int) -> None:
        """Apply all migrations to each target, in turns with the peers."""
        _say(f"{MIGRATIONS} migrations into each target, {AT_ONCE} at a time\n")
        _say("targets", "psql s", "dbmate s", "tidegate s", "/ psql", "/ dbmate", "again s", "MiB", "load")
        _say(*["---"] * 9)
        for count in schemas:
            self._subject(f"{count} schemas", rounds, lambda count=count: self._schemas(count))
        for count in databases:
            self._subject(f"{count} databases", rounds, lambda count=count: self._databases(count))
        _say("")

    def _subject(self, name: str, rounds: int, turn: Callable[[], tuple[float, float, Took, Took]]) -> None:
        turns = [turn() for _ in range(rounds)]
        psql, dbmate, ours, again = zip(*turns, strict=True)
        own = [each.seconds for each in ours]

        def ratio(others: Sequence[float]) -> str:
            return f"{statistics.median(a / b for a, b in zip(own, others, strict=True)):.2f}" if all(others) else "-"

        shown = [f"{statistics.median(each):.2f}" if all(each) else "-" for each in (psql, dbmate, own)]
        once_more = statistics.median(each.seconds for each in again)
        memory = max(each.memory for each in ours)
        _say(name, *shown, ratio(psql), ratio(dbmate), f"{once_more:.2f}", f"{memory:.0f}", _load())

    def _schemas(self, count: int) -> tuple[float, float, Took, Took]:
        names = [f"tenant_{n}" for n in range(count)]
        psql = self._psql_schemas(names) if "psql" in self._peers else 0.0
        dbmate = self._dbmate_schemas(names) if self._dbmate else 0.0
        database = self._database(names)
        return psql, dbmate, *self._ours(database, _TENANTS, database, count)

    def _databases(self, count: int) -> tuple[float, float, Took, Took]:
        theirs = [self._database() for _ in range(count if "psql" in self._peers else 0)]
        script = self._script(
            f'exec "{PROGRAM_PSQL}" -X -q -v ON_ERROR_STOP=1 "$1"', *(f"-f {file}" for file in self._sorted())
        )
        psql = self._four(script, [self._dsn(name) for name in theirs]) if theirs else 0.0
        for name in theirs:
            self._check(name, 1)
        home, names = self._database(), [f"tenant_{next(_NUMBERS)}" for _ in range(count)]
        self._each(f"CREATE DATABASE {name}" for name in names)
        took = self._ours(home, _DATABASES, names[-1], 1)
        sql = "SELECT count(*) FROM tidegate.target WHERE outcome = 'succeeded'"
        assert int(self._server.psql(sql, database=home)) == count
        self._each(f"ALTER DATABASE {name} RENAME TO done_{name}" for name in names)
        return psql, 0.0, *took

    def _ours(self, home: str, targets: str, database: str, count: int) -> tuple[Took, Took]:
        """Bring all of them, and once more, where nothing is to be done; `count` of them lie in `database`."""
        dsn = self._dsn(home)
        file = self._folder / "fleet.toml"
        file.write_text(targets + _LIMITS)
        command = [self._own, "up", "--fleet", file, "--source", self._files]
        took = _process(command, DB_URL=dsn)
        sql = "SELECT count(*) FROM tidegate.ledger WHERE target NOT LIKE 'tidegate%'"
        done = self._server.psql(sql, database=database)
        assert int(done) == count * MIGRATIONS, done
        return took, _process(command, DB_URL=dsn)

    def _psql_schemas(self, names: list[str]) -> float:
        database = self._database(names)
        dsn = self._dsn(database)
        files = (f"-f {file}" for file in self._sorted())
        call = f'PGOPTIONS="-c search_path=$1" exec "{PROGRAM_PSQL}" -X -q -v ON_ERROR_STOP=1 "{dsn}"'
        return self._checked(database, names, self._script(call, *files))

    def _dbmate_schemas(self, names: list[str]) -> float:
        database = self._database(names)
        url = f"{self._dsn(database)}&search_path=$1"
        call = f'exec "{self._dbmate}" -u "{url}" -d "{self._theirs}" --no-dump-schema migrate'
        return self._checked(database, names, self._script(call))

    def _checked(self, database: str, names: list[str], script: Path) -> float:
        took = self._four(script, names)
        self._check(database, len(names))
        return took

    def _check(self, database: str, count: int) -> None:
        """Whether each of so many schemas has its tables."""
        sql = f"SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '{_MADE}'"
        made = int(self._server.psql(sql, database=database))
        assert made == count * MIGRATIONS, f"{made} tables, and {count * MIGRATIONS} would be right"

    def _sorted(self) -> list[Path]:
        return sorted(self._files.iterdir())

    def _script(self, *words: str) -> Path:
        script = self._folder / "one.sh"
        script.write_text(f"#!/bin/sh\n{' '.join(words)}\n")
        script.chmod(0o755)
        return script

    def _four(self, script: Path, names: Sequence[str]) -> float:
        return _process(["xargs", f"-P{AT_ONCE}", "-n1", script], "\n".join(names)).seconds

    def _dsn(self, database: str) -> str:
        """Its URL; nobody asks for TLS first, which the server has not."""
        return self._server.dsn(database, sslmode="disable")

    def _each(self, statements: Iterator[str]) -> None:
        self._server.psql(";\n".join(statements))

    def _database(self, schemas: Sequence[str] = ()) -> str:
        """A new one. It goes with the server: to drop one of many thousand tables takes longer than to make them."""
        name = f"bench_{next(_NUMBERS)}"
        self._server.psql(f"CREATE DATABASE {name}")
        for first in range(0, len(schemas), 100):
            made = "".join(f"CREATE SCHEMA {each};" for each in schemas[first : first + 100])
            self._server.psql(made, database=name)
        return name

    async def home(self, rows: Sequence[int]) -> None:
        """Declare, count and claim many targets, of which half are due and one in two thousand failed."""
        _say("many targets in the home half; processes with their most memory\n")
        words = "targets|declare s|MiB|again s|MiB|counts ms|unvacuumed ms|claim ms|status s|MiB|load"
        _say(*words.split("|"))
        _say(*["---"] * 11)
        (self._folder / "one").mkdir()
        (self._folder / "one" / "0001_a.up.sql").write_text("SELECT 1")
        for count in rows:
            await self._home(self._dsn(self._database()), count)

    async def _home(self, dsn: str, count: int) -> None:
        file = self._folder / "rows.toml"
        file.write_text(f"[[targets]]\nschemas_query = \"SELECT 't' || n FROM generate_series(1, {count}) AS n\"\n")
        fleet, env = ("--fleet", str(file)), {"DB_URL": dsn}
        declared, again = (_process([self._own, "up", *fleet], **env) for _ in range(2))
        _process([self._own, "publish", self._folder / "one"], **env)
        conn = await asyncpg.connect(dsn)
        source = await conn.fetchval("SELECT min(source) FROM tidegate.target WHERE source IS NOT NULL")
        await _settle_half(conn)
        await conn.execute("VACUUM ANALYZE tidegate.target")
        sql = queries("fleet", "tidegate")
        counts = await _timed(conn, sql["counts"], [source])
        claim = await _timed(conn, sql["claim"], "bench", [_LINE], [None], [source], [""], 16, LEASE_SECONDS, None)
        await _settle_half(conn)
        fresh = await _timed(conn, sql["counts"], [source])
        await conn.execute("VACUUM ANALYZE tidegate.target")
        await conn.close()
        status = sorted((_process([self._own, "status", *fleet], **env) for _ in range(3)), key=lambda t: t.seconds)[1]
        millis = (f"{each:.1f}" for each in (counts, fresh, claim))
        seconds = f"{status.seconds:.2f}", f"{status.memory:.0f}"
        first = f"{declared.seconds:.2f}", f"{declared.memory:.0f}", f"{again.seconds:.2f}", f"{again.memory:.0f}"
        _say(count, *first, *millis, *seconds, _load())


async def _settle_half(conn: "asyncpg.Connection[asyncpg.Record]") -> None:
    await conn.execute(
        "UPDATE tidegate.target AS t SET settled = CASE WHEN t.id % 2 = 0 THEN b.id END, outcome = CASE "
        "WHEN t.id % 2000 = 0 THEN 'failed' WHEN t.id % 2 = 0 THEN 'succeeded' END, "
        "problem = CASE WHEN t.id % 2000 = 0 THEN '{}'::jsonb END, claimed_by = NULL, claimed_until = NULL "
        "FROM tidegate.bundle AS b WHERE t.source <> $1 AND b.line = t.line",
        REGISTERED,
    )


async def _timed(conn: "asyncpg.Connection[asyncpg.Record]", sql: str, *values: object) -> float:
    took = []
    for _ in range(7):
        began = time.perf_counter()
        await conn.fetch(sql, *values)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


if __name__ == "__main__":
    main()
