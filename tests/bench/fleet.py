"""What a fleet costs: many schemas against psql in turns, and the home half with many targets in it.

    python -m tests.bench.fleet [--schemas 200] [--rounds 3] [--rows 100000]

One server with default durability; whole processes from start to exit; medians, and the ratio of each round.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from tests.fixtures.cluster import Server, running_server
from tests.fixtures.installations import installations
from worker.core.fleet.declared import REGISTERED
from worker.postgres.fleet import LEASE_SECONDS
from worker.postgres.queries import queries

MIGRATIONS = 20
AT_ONCE = 4
QUERY = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tenant%'"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schemas", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=100_000)
    asked = parser.parse_args()
    with running_server(15, installations()[15]) as server, tempfile.TemporaryDirectory() as folder:
        if asked.rounds:
            _schemas(server, Path(folder), asked.schemas, asked.rounds)
        if asked.rows:
            asyncio.run(_home(server, Path(folder), asked.rows))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _schemas(server: Server, folder: Path, schemas: int, rounds: int) -> None:
    files = []
    for version in range(1, MIGRATIONS + 1):
        files.append(folder / f"{version:04}_t.up.sql")
        files[-1].write_text(f"CREATE TABLE t{version} (id bigint PRIMARY KEY, name text);\n")
    (folder / "fleet").mkdir()
    (folder / "fleet" / "fleet.toml").write_text(
        f'[[targets]]\nschemas_query = "{QUERY}"\n[limits]\nworkers = {AT_ONCE}\n'
    )
    ours, theirs = [], []
    for number in range(rounds):
        with _database(server, f"psql_{number}", schemas) as dsn:
            theirs.append(_psql(dsn, folder, files, schemas))
        with _database(server, f"ours_{number}", schemas) as dsn:
            ours.append(_ours(dsn, folder))
            done = server.psql(
                "SELECT count(*) FROM tidegate.ledger WHERE target LIKE 'tenant%'", database=f"ours_{number}"
            )
            assert int(done) == schemas * MIGRATIONS, done
        _say(f"{schemas} schemas: psql -P{AT_ONCE} {theirs[-1]:.2f} s, tidegate {ours[-1]:.2f} s")
    ratios = [own / other for own, other in zip(ours, theirs, strict=True)]
    _say(
        f"{MIGRATIONS} migrations into {schemas} schemas: psql {statistics.median(theirs):.2f} s, "
        f"tidegate {statistics.median(ours):.2f} s, ratio {statistics.median(ratios):.2f}"
    )


@contextmanager
def _database(server: Server, name: str, schemas: int) -> Iterator[str]:
    server.psql(f"CREATE DATABASE {name}")
    for first in range(0, schemas, 100):
        server.psql(
            "".join(f"CREATE SCHEMA tenant_{n};" for n in range(first, min(schemas, first + 100))), database=name
        )
    yield server.dsn(name)
    server.psql(f"DROP DATABASE {name} WITH (FORCE)")


def _ours(dsn: str, folder: Path) -> float:
    command = [sys.executable, "-m", "worker", "up", "--fleet", str(folder / "fleet" / "fleet.toml")]
    began = time.perf_counter()
    subprocess.run(
        [*command, "--source", str(folder)], env={**os.environ, "DB_URL": dsn}, check=True, capture_output=True
    )
    return time.perf_counter() - began


def _psql(dsn: str, folder: Path, files: list[Path], schemas: int) -> float:
    script = folder / "fleet" / "one.sh"
    named = " ".join(f"-f {file}" for file in files)
    script.write_text(f'#!/bin/sh\nPGOPTIONS="-c search_path=$1" exec psql -X -q -v ON_ERROR_STOP=1 "{dsn}" {named}\n')
    script.chmod(0o755)
    names = "\n".join(f"tenant_{number}" for number in range(schemas))
    began = time.perf_counter()
    subprocess.run(["xargs", f"-P{AT_ONCE}", "-n1", str(script)], input=names, text=True, check=True)
    return time.perf_counter() - began


async def _home(server: Server, folder: Path, rows: int) -> None:
    """Status and claims over many targets, of which a hundred failed."""
    server.psql("CREATE DATABASE home")
    conn = await asyncpg.connect(server.dsn("home"))
    await conn.execute("CREATE SCHEMA tenant_0")
    files = folder / "one"
    files.mkdir()
    (files / "0001_a.up.sql").write_text("SELECT 1")
    (folder / "rows.toml").write_text("[[targets]]\nrows = true\n")
    fleet = ["--fleet", str(folder / "rows.toml")]
    env = {**os.environ, "DB_URL": server.dsn("home")}
    await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "worker", "up", *fleet, "--source", str(files)],
        env=env,
        check=True,
        capture_output=True,
    )
    sql = queries("fleet", "tidegate")
    for share in (rows // 100, rows // 10, rows):
        await conn.execute("DELETE FROM tidegate.target")
        await conn.execute(
            "INSERT INTO tidegate.target (name, line, schema, version_table, source, settled, outcome, problem) "
            "SELECT 't' || n || '.schema_migrations', 'schema_migrations', 't' || n, 'schema_migrations', $2, "
            "CASE WHEN n % 2 = 0 THEN b.id END, CASE WHEN n % 2 = 0 THEN CASE WHEN n % 2000 = 0 THEN 'failed' "
            "ELSE 'succeeded' END END, CASE WHEN n % 2000 = 0 THEN '{}'::jsonb END "
            "FROM generate_series(1, $1::int) AS n, tidegate.bundle AS b",
            share,
            REGISTERED,
        )
        await conn.execute("VACUUM ANALYZE tidegate.target")
        status = await _timed(conn, sql["counts"], [REGISTERED])
        troubled = await _timed(conn, sql["troubled"], [REGISTERED], 100)
        lines = (["schema_migrations"], [None], [REGISTERED], [""])
        claim = await _timed(conn, sql["claim"], "bench", *lines, 16, LEASE_SECONDS, None)
        _say(f"{share:>7} targets: counts {status:.1f} ms, troubled {troubled:.1f} ms, claim of 16 {claim:.1f} ms")
    await conn.close()
    began = time.perf_counter()
    command = [sys.executable, "-m", "worker", "status", *fleet]
    await asyncio.to_thread(subprocess.run, command, env=env, check=True, capture_output=True)
    _say(f"tidegate status as a process: {(time.perf_counter() - began) * 1000:.0f} ms")


async def _timed(conn: "asyncpg.Connection[asyncpg.Record]", sql: str, *values: object) -> float:
    took = []
    for _ in range(7):
        began = time.perf_counter()
        await conn.fetch(sql, *values)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


if __name__ == "__main__":
    main()
