"""What is measured, and what each figure is to reach."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from tests.bench.peers import BARE, OTHERS, PSQL, TIDEGATE, WAIT, Migration, Peer

_TABLE = "CREATE TABLE t{number} (id bigint PRIMARY KEY, name text NOT NULL);\n"
_ROW = "INSERT INTO t1 VALUES ({number}, 'the quick brown fox; jumps over the lazy dog''s back, {number} times');\n"
_BIG_BYTES = 20_000_000


class Kind(Enum):
    """How one turn goes: on an empty database, on one that is up to date, or by eight processes at once."""

    APPLY = "apply"
    NOTHING = "nothing to do"
    CROWD = "eight at once"


@dataclass(frozen=True, slots=True)
class Load:
    """Migrations, made when they are written; `holds` is SQL for whether the schema is then as it should be."""

    count: int
    make: Callable[[], Sequence[Migration]]
    holds: str


@dataclass(frozen=True, slots=True)
class Target:
    """The most that our time may be, as a multiple of another tool's in the same run."""

    of: Peer
    most: float


@dataclass(frozen=True, slots=True)
class Workload:
    """A row of the table: its migrations, the tools that take turns, and what is to be reached.

    `delay_ms` is added to each round trip; `turns` is how often each tool has its turn, the first not counted.
    """

    name: str
    kind: Kind
    load: Load
    peers: tuple[Peer, ...]
    target: Target | None = None
    delay_ms: float = 0
    turns: int = 7


def _tables(count: int) -> Load:
    """A table in each migration."""
    return Load(
        count,
        lambda: [Migration(number, f"t{number}", _TABLE.format(number=number)) for number in range(1, count + 1)],
        f"(SELECT count(*) = {count} FROM pg_class WHERE relkind = 'r' AND relname ~ '^t[0-9]+$')",
    )


def _statements(count: int) -> Load:
    """One migration of so many statements."""
    rows = range(1, count)
    return Load(
        1,
        lambda: [Migration(1, "t1", _TABLE.format(number=1) + "".join([_ROW.format(number=row) for row in rows]))],
        f"(SELECT count(*) = {count - 1} FROM t1)",
    )


_HUNDRED, _THOUSAND = _tables(100), _tables(1_000)
_MANY, _BIG = _statements(2_000), _statements(_BIG_BYTES // len(_ROW.format(number=100_000)))
_ALL = (TIDEGATE, PSQL, *OTHERS)


def full() -> tuple[Workload, ...]:
    """The whole benchmark."""
    return (
        Workload(
            "up, nothing to do, 100", Kind.NOTHING, _HUNDRED, (TIDEGATE, BARE, *OTHERS), Target(BARE, 1.3), turns=21
        ),
        Workload("up, nothing to do, 1,000", Kind.NOTHING, _THOUSAND, (TIDEGATE, BARE), Target(BARE, 1.5), turns=21),
        Workload("wait, ready, 100", Kind.NOTHING, _HUNDRED, (WAIT, BARE), Target(BARE, 1.3), turns=21),
        Workload("wait, ready, 1,000", Kind.NOTHING, _THOUSAND, (WAIT, BARE), Target(BARE, 1.5), turns=21),
        Workload("apply 100", Kind.APPLY, _HUNDRED, _ALL, Target(PSQL, 1.3)),
        Workload("apply 1,000", Kind.APPLY, _THOUSAND, _ALL, Target(PSQL, 1.0), turns=4),
        Workload("apply 100, 1 ms away", Kind.APPLY, _HUNDRED, _ALL, Target(PSQL, 0.45), delay_ms=1, turns=4),
        Workload("apply 100, 5 ms away", Kind.APPLY, _HUNDRED, _ALL, Target(PSQL, 0.45), delay_ms=5, turns=3),
        Workload("one file, 2,000 statements", Kind.APPLY, _MANY, _ALL, Target(PSQL, 0.7)),
        Workload("one file, 20 MB", Kind.APPLY, _BIG, _ALL, Target(PSQL, 0.8), turns=3),
        Workload("eight at once, 100", Kind.CROWD, _HUNDRED, (TIDEGATE, *OTHERS), turns=3),
    )


def quick() -> tuple[Workload, ...]:
    """What fits into a minute, with the tools that nothing has to be built for."""
    return (
        Workload("up, nothing to do, 100", Kind.NOTHING, _HUNDRED, (TIDEGATE, BARE), Target(BARE, 1.3)),
        Workload("wait, ready, 100", Kind.NOTHING, _HUNDRED, (WAIT, BARE), Target(BARE, 1.3)),
        Workload("apply 100", Kind.APPLY, _HUNDRED, (TIDEGATE, PSQL), Target(PSQL, 1.3), turns=4),
        Workload("apply 100, 1 ms away", Kind.APPLY, _HUNDRED, (TIDEGATE, PSQL), Target(PSQL, 0.45), 1, turns=3),
        Workload("one file, 2,000 statements", Kind.APPLY, _MANY, (TIDEGATE, PSQL), Target(PSQL, 0.7), turns=4),
        Workload("eight at once, 100", Kind.CROWD, _HUNDRED, (TIDEGATE,), turns=2),
    )
