"""A home half with many targets: declared, declared again, shown, claimed from; half of them are due."""

import asyncio
import os
import time
from collections.abc import Sequence
from itertools import count as numbers
from pathlib import Path
from typing import Any

import asyncpg

from tests.bench.growth import memory_grows, time_grows
from tests.bench.peers import TIDEGATE
from tests.bench.process import Process, TroubleError, beside, clean
from tests.bench.results import Goal, Result, Subject, Turn, seconds
from tests.bench.runner import IN_VAIN
from tests.fixtures.cluster import Server
from worker.core.fleet.declared import REGISTERED
from worker.core.status.fleet_status import TROUBLED
from worker.postgres.fleet import LEASE_SECONDS
from worker.postgres.queries import queries

_LIMIT_SECONDS = 3600
_MOST_SECONDS = 0.05
_REPEATED = 7
_COMMANDS = 3
_CLAIMED = 16
_LINE = "schema_migrations"
# What is hidden in the start of a process, and in a round trip.
_PROCESS_NOISE, _STATEMENT_NOISE = 0.2, 0.002
_NUMBERS = numbers(1)
# Half have what is wanted, and one in two thousand failed.
_SETTLE_HALF = """
UPDATE tidegate.target AS t SET settled = CASE WHEN t.id % 2 = 0 THEN b.id END, outcome = CASE
    WHEN t.id % 2000 = 0 THEN 'failed' WHEN t.id % 2 = 0 THEN 'succeeded' END,
    problem = CASE WHEN t.id % 2000 = 0 THEN '{}'::jsonb END, claimed_by = NULL, claimed_until = NULL
FROM tidegate.bundle AS b WHERE t.source <> $1 AND b.line = t.line
"""

_DECLARE, _AGAIN, _STATUS = "declare all targets", "declare all targets, nothing new", "tidegate status"
_SHOWN, _UNVACUUMED = "what the status page asks", "what it asks, no vacuum since half changed"
_CLAIM = f"claim {_CLAIMED} targets"
_PROCESSES, _STATEMENTS = (_DECLARE, _AGAIN, _STATUS), (_SHOWN, _UNVACUUMED, _CLAIM)

Turns = dict[str, list[Turn]]


def run(server: Server, folder: Path, rows: Sequence[int], rounds: int) -> list[tuple[Subject, list[Result]]]:
    """Measure each count of targets so often, in a new database each time; one that fails is the last."""
    folder.mkdir()
    results: dict[str, list[Result]] = {name: [] for name in (*_PROCESSES, *_STATEMENTS)}
    for count in rows:
        of_count = {name: Result(f"tidegate, {count:,} targets", targets=count) for name in results}
        for name, result in of_count.items():
            results[name].append(result)
        try:
            for _ in range(rounds):
                for name, turns in _Home(server, folder, count).measure().items():
                    of_count[name].turns += turns
                    of_count[name].load = os.getloadavg()[0]
        except (TroubleError, *IN_VAIN) as trouble:
            for result in of_count.values():
                result.turns, result.trouble = [], str(trouble)[:160] or type(trouble).__name__
            break
    most = f"tidegate, {max(rows, default=0):,} targets"
    return [(Subject(f"home half: {name}", _goals(name, most)), each) for name, each in results.items()]


def _goals(name: str, most: str) -> tuple[Goal, ...]:
    if name in _PROCESSES:
        return time_grows(_PROCESS_NOISE), memory_grows()
    if name == _CLAIM:
        return (time_grows(_STATEMENT_NOISE),)
    return seconds(most, _MOST_SECONDS), time_grows(_STATEMENT_NOISE)


class _Home:
    """A database whose home half has so many targets, which a query makes up."""

    def __init__(self, server: Server, folder: Path, count: int) -> None:
        self._count = count
        database = f"home_{next(_NUMBERS)}"
        server.psql(f"CREATE DATABASE {database} TEMPLATE template0")
        self._server = server.pid
        self._dsn = server.dsn(database, sslmode="disable")
        self._file, self._source = folder / "fleet.toml", folder / "source"
        query = f"SELECT 't' || n FROM generate_series(1, {count}) AS n"
        self._file.write_text(f'[[targets]]\nschemas_query = "{query}"\n', encoding="utf-8")
        self._source.mkdir(exist_ok=True)
        (self._source / "0001_a.up.sql").write_text("SELECT 1", encoding="utf-8")

    def measure(self) -> Turns:
        """The turns of each kind.

        Raises:
            TroubleError: A command failed, or other targets are counted than there are.
        """
        fleet = ("--fleet", str(self._file))
        # Without a bundle there is nothing to bring any target to.
        took = {_DECLARE: [self._process("up", *fleet)], _AGAIN: [self._process("up", *fleet)]}
        self._process("publish", str(self._source))
        took |= asyncio.run(self._statements())
        return {**took, _STATUS: [self._process("status", *fleet) for _ in range(_COMMANDS)]}

    def _process(self, *words: str) -> Turn:
        command = [TIDEGATE.find() or TIDEGATE.program, *words]
        process = Process(command, {**clean(), "DB_URL": self._dsn}, None, _LIMIT_SECONDS)
        return beside(self._server, lambda: process.begin().wait_for())

    async def _statements(self) -> Turns:
        conn = await asyncpg.connect(self._dsn)
        try:
            return await self._timed(conn)
        finally:
            await conn.close()

    async def _timed(self, conn: "asyncpg.Connection[asyncpg.Record]") -> Turns:
        sql, source = queries("fleet", "tidegate"), await conn.fetchval("SELECT min(source) FROM tidegate.target")
        shown = (sql["counts"], [source]), (sql["troubled"], [source], TROUBLED), (sql["spent"], [_LINE])
        claim = sql["claim"], "bench", [_LINE], [None], [source], [""], _CLAIMED, LEASE_SECONDS, None
        await conn.execute(_SETTLE_HALF, REGISTERED)
        took = {_UNVACUUMED: await _turns(conn, *shown)}
        await conn.execute("VACUUM ANALYZE tidegate.target")
        took[_SHOWN] = await _turns(conn, *shown)
        counted = sum(row["targets"] for row in await conn.fetch(*shown[0]))
        if counted != self._count:
            raise TroubleError(f"counted {counted} targets, and {self._count} would be right")
        return {**took, _CLAIM: await _turns(conn, claim)}


async def _turns(conn: "asyncpg.Connection[asyncpg.Record]", *statements: tuple[Any, ...]) -> list[Turn]:
    """How long the statements take, one behind the other, on an open session."""
    turns = []
    for _ in range(_REPEATED):
        began = time.perf_counter()
        for sql, *values in statements:
            await conn.fetch(sql, *values)
        turns.append(Turn(time.perf_counter() - began))
    return turns
