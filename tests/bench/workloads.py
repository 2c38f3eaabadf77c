"""What is measured, and what each figure is to reach."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from tests.bench import idle, ready
from tests.bench.fleet.peers import FLOOR_OF_SCHEMAS, SCHEMAS, of_schemas, others_of_schemas
from tests.bench.peers import ALONE, APPLYING, BARE, BATCH, OTHERS, PSQL, READING, TIDEGATE, WAIT, Migration, Peer
from tests.bench.results import Goal, figure, memory, percentile, ratio

_TABLE = "CREATE TABLE t{number} (id bigint PRIMARY KEY, name text NOT NULL);\n"
_ROW = "INSERT INTO t1 VALUES ({number}, 'the quick brown fox; jumps over the lazy dog''s back, {number} times');\n"
_BIG_BYTES = 20_000_000
_BIG_MIB = _BIG_BYTES / (1 << 20)


class Kind(Enum):
    """How one turn goes.

    On an empty database, on one that is up to date, or by several processes at once; or, without peers of its own,
    publications to a worker, and a worker that has nothing to do.
    """

    APPLY = "apply"
    NOTHING = "nothing to do"
    CROWD = "several at once"
    READY = "publish to ready"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Load:
    """Migrations, made when they are written; `holds` is SQL for whether the schema is then as it should be.

    `count` is how many are recorded then, `before` SQL that a new database is prepared with. `databases` is SQL for the
    names of those in which both are looked at, and `database_count` how many that has to be; `targets` is how many
    schemas or databases a tool goes through, 0 where a target is not what the workload is about.
    """

    count: int
    make: Callable[[], Sequence[Migration]]
    holds: str
    before: str = ""
    databases: str = "SELECT current_database()"
    database_count: int = 1
    targets: int = 0


@dataclass(frozen=True, slots=True)
class Workload:
    """A row of the table: its migrations, the tools that take turns, and what is to be reached.

    `delay_ms` is added to each round trip; `turns` is how often each tool has its turn, the first not counted. A tool
    that has spent `seconds` has no further turn once it has one that counts; of an idle worker it is how long it is
    watched. A process that has not ended after `limit` seconds is killed.
    """

    name: str
    kind: Kind
    load: Load
    peers: tuple[Peer, ...]
    goals: tuple[Goal, ...] = ()
    delay_ms: float = 0
    turns: int = 7
    seconds: float = 8
    limit: float = 180


def tables_of(count: int) -> Load:
    """A table in each migration."""
    return Load(
        count,
        lambda: tables(count),
        f"(SELECT count(*) = {count} FROM pg_class WHERE relkind = 'r' AND relname ~ '^t[0-9]+$')",
    )


def tables(count: int) -> list[Migration]:
    """A small table in each."""
    return [Migration(number, f"t{number}", _TABLE.format(number=number)) for number in range(1, count + 1)]


def _trifles(count: int) -> Load:
    """Migrations that leave nothing but their records."""
    return Load(count, lambda: [Migration(n, f"t{n}", "SELECT 1;\n") for n in range(1, count + 1)], "true")


def _statements(count: int) -> Load:
    """One migration of so many statements."""
    rows = range(1, count)
    return Load(
        1,
        lambda: [Migration(1, "t1", _TABLE.format(number=1) + "".join([_ROW.format(number=row) for row in rows]))],
        f"(SELECT count(*) = {count - 1} FROM t1)",
    )


def tenants(schemas: int, count: int = 20) -> Load:
    """The same migrations in each of many schemas."""
    return Load(
        count * schemas,
        lambda: tables(count),
        f"(SELECT count(*) = {count * schemas} AND count(DISTINCT relnamespace) = {schemas} FROM pg_class "
        f"JOIN ({SCHEMAS}) AS s ON nspname = relnamespace::regnamespace::text "
        "WHERE relkind = 'r' AND relname ~ '^t[0-9]+$')",
        "".join(f"CREATE SCHEMA tenant_{number};\n" for number in range(1, schemas + 1)),
        targets=schemas,
    )


ENOUGH = 200
"""So many schemas it takes for the work to outweigh the start of a process."""


def many_schemas(count: int, turns: int, seconds: float, others: Sequence[Peer]) -> Workload:
    """20 migrations into each of so many schemas, against others that go through them four at a time."""
    most = {"psql -P4": 0.75, "dbmate -P4": 0.55}
    compared = [other.name for other in others if other.name in most and count >= ENOUGH]
    goals = tuple(ratio(_OURS, name, most[name], FLOOR_OF_SCHEMAS.name) for name in compared)
    name = f"20 migrations into {count:,} schemas"
    return Workload(name, Kind.APPLY, tenants(count), (of_schemas(), *others), goals, turns=turns, seconds=seconds)


_HUNDRED, _THOUSAND = tables_of(100), tables_of(1_000)
_MANY, _BIG = _statements(2_000), _statements(_BIG_BYTES // len(_ROW.format(number=100_000)))
_ALL = (TIDEGATE, PSQL, BATCH, APPLYING, *OTHERS)
_OURS = TIDEGATE.name
_CROWD_GOALS = (ratio(_OURS, ALONE.name, 1.3, APPLYING.name),)
_READY_GOALS = (
    ratio(ready.AT_WAIT, ready.FLOOR, 3.0, ready.BARE_GATE),
    ratio(ready.AT_READYZ, ready.FLOOR, 3.0, ready.BARE_NOTICE),
    percentile(ready.AT_WAIT, 99, 0.1),
    percentile(ready.AT_READYZ, 99, 0.1),
)
_IDLE_GOALS = (
    figure("tidegate run", idle.CONNECTIONS, 2),
    figure("tidegate run", idle.QUERIES, 0.2),
    figure("tidegate run", idle.MEMORY, 60),
    # A thousandth of a processor.
    figure("tidegate run", idle.CPU, 0.06),
)


def full() -> tuple[Workload, ...]:
    """The whole benchmark."""
    return (
        _nothing("up, nothing to do, 100", _HUNDRED, TIDEGATE, 1.3, (READING, *OTHERS)),
        _nothing("up, nothing to do, 1,000", _THOUSAND, TIDEGATE, 1.5, (READING,)),
        _nothing("up, nothing to do, 10,000", _trifles(10_000), TIDEGATE, 1.5, (READING,)),
        _nothing("wait, ready, 100", _HUNDRED, WAIT, 1.3),
        _nothing("wait, ready, 1,000", _THOUSAND, WAIT, 1.5),
        _apply("apply 100", _HUNDRED, 1.3, turns=11, seconds=12),
        Workload(
            "apply 1,000", Kind.APPLY, _THOUSAND, _ALL,
            (ratio(_OURS, PSQL.name, 1.0, APPLYING.name), *(ratio(_OURS, other.name, 1.0) for other in OTHERS)),
            turns=6, seconds=25,
        ),
        _apply("apply 100, 1 ms away", _HUNDRED, 0.45, delay_ms=1, turns=5),
        _apply("apply 100, 5 ms away", _HUNDRED, 0.45, delay_ms=5, turns=3),
        _apply("one file, 2,000 statements", _MANY, 0.7, turns=9),
        Workload(
            "one file, 20 MB", Kind.APPLY, _BIG, _ALL,
            (ratio(_OURS, PSQL.name, 0.8), memory(_OURS, 4 * _BIG_MIB)), turns=4, seconds=25,
        ),
        Workload(
            "eight at once, 100", Kind.CROWD, _HUNDRED, (TIDEGATE, ALONE, APPLYING, *OTHERS),
            _CROWD_GOALS, turns=6, seconds=15,
        ),
        many_schemas(200, 4, 60, (FLOOR_OF_SCHEMAS, *others_of_schemas(200))),
        Workload("publish to ready", Kind.READY, _HUNDRED, (), _READY_GOALS, turns=101, seconds=150),
        Workload("idle worker", Kind.IDLE, _HUNDRED, (), _IDLE_GOALS, seconds=60),
    )  # fmt: skip


def _nothing(name: str, load: Load, ours: Peer, most: float, others: tuple[Peer, ...] = ()) -> Workload:
    goals = (ratio(ours.name, BARE.name, most, READING.name),)
    return Workload(name, Kind.NOTHING, load, (ours, BARE, *others), goals, turns=21)


def _apply(name: str, load: Load, most: float, *, delay_ms: float = 0, turns: int, seconds: float = 8) -> Workload:
    return Workload(
        name, Kind.APPLY, load, _ALL, (ratio(_OURS, PSQL.name, most, APPLYING.name),), delay_ms, turns, seconds
    )


def quick() -> tuple[Workload, ...]:
    """What fits into a minute, with the tools that nothing has to be built for."""
    both = (TIDEGATE, PSQL)
    return (
        replace(_nothing("up, nothing to do, 100", _HUNDRED, TIDEGATE, 1.3), turns=7),
        replace(_nothing("wait, ready, 100", _HUNDRED, WAIT, 1.3), turns=7),
        replace(_apply("apply 100", _HUNDRED, 1.3, turns=4), peers=both),
        replace(_apply("apply 100, 1 ms away", _HUNDRED, 0.45, delay_ms=1, turns=3), peers=both),
        replace(_apply("one file, 2,000 statements", _MANY, 0.7, turns=4), peers=both),
        Workload("eight at once, 100", Kind.CROWD, _HUNDRED, (TIDEGATE, ALONE), _CROWD_GOALS, turns=3),
        Workload("publish to ready", Kind.READY, _HUNDRED, (), _READY_GOALS, turns=11),
        Workload("idle worker", Kind.IDLE, _HUNDRED, (), _IDLE_GOALS, seconds=6),
    )
