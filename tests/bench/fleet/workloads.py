"""What is measured of fleets that are brought: schemas, databases, and more connections and processes for the same."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tests.bench.fleet.peers import DATABASES, of_databases, of_schemas, others_of_databases, others_of_schemas
from tests.bench.growth import memory_grows, time_grows
from tests.bench.peers import TIDEGATE, Peer
from tests.bench.results import Goal, Result, Results, Subject, quickest
from tests.bench.workloads import ENOUGH, Kind, Workload, many_schemas, tables_of, tenants

MIGRATIONS = 20
_SECONDS, _LIMIT_SECONDS = 60, 3600
_SLOWER = 1.1
# Four of them as a multiple of one; two connections of one process already keep most of two processors busy.
_FOUR_CONNECTIONS, _FOUR_PROCESSES = 0.77, 0.95
# A process starts within less, and what a server does of its own accord takes it now and then.
_NOISE_SECONDS = 0.2
_MAKE = r"""
SELECT format('CREATE DATABASE %I TEMPLATE template0', current_database() || '_' || n)
FROM generate_series(1, {count}) AS n \gexec
"""


# The other tools take part up to here: beyond, they would have all the time.
_COMPARED_SCHEMAS, _COMPARED_DATABASES = 200, 20


@dataclass(frozen=True, slots=True)
class Asked:
    """Of how many schemas and databases each, how often, and whether no other tool takes part."""

    schemas: Sequence[int]
    databases: Sequence[int]
    rounds: int
    is_alone: bool = False


def workloads(asked: Asked) -> list[list[Workload]]:
    """The workloads of each kind of fleet: bringing all of it for each size, and having nothing to bring."""
    by_schema = [_many_schemas(count, asked) for count in asked.schemas]
    by_database = [_many_databases(count, asked) for count in asked.databases]
    groups = [by_schema, [_nothing(each) for each in by_schema], by_database, [_nothing(each) for each in by_database]]
    return [[replace(each, limit=_LIMIT_SECONDS) for each in group] for group in groups if group]


def _many_schemas(count: int, asked: Asked) -> Workload:
    is_alone = asked.is_alone or count > _COMPARED_SCHEMAS
    return many_schemas(count, asked.rounds + 1, _SECONDS, () if is_alone else others_of_schemas(count))


def _many_databases(count: int, asked: Asked) -> Workload:
    is_alone = asked.is_alone or count > _COMPARED_DATABASES
    peers = (of_databases(), *(() if is_alone else others_of_databases(count)))
    made = _MAKE.format(count=count)
    load = replace(tables_of(MIGRATIONS), before=made, databases=DATABASES, database_count=count, targets=count)
    name = f"{MIGRATIONS} migrations into {count:,} databases"
    return Workload(name, Kind.APPLY, load, peers, turns=asked.rounds + 1, seconds=_SECONDS)


def _nothing(full: Workload) -> Workload:
    """The same once more, where nothing is to be done."""
    name = f"nothing to do, {full.name.rpartition(' into ')[2]}"
    return replace(full, name=name, kind=Kind.NOTHING, peers=full.peers[:1], goals=())


def grown(measured: Sequence[tuple[Workload, list[Result]]]) -> tuple[Subject, list[Result]]:
    """How our own results grow with the targets."""
    kind = measured[0][0].name.rsplit(" ", 2)
    own = [replace(results[0], peer=f"{results[0].peer}, {results[0].targets:,} {kind[2]}") for _, results in measured]
    return Subject(f"{kind[0]} many {kind[2]}", (time_grows(_NOISE_SECONDS), memory_grows())), own


def speeds(schemas: int, rounds: int, connections: Sequence[int], processes: Sequence[int]) -> list[Workload]:
    """The same fleet by more connections of one process, and by more processes of two connections."""
    one = [of_schemas(f"tidegate, {_counted(n, 'connection')}", connections=n) for n in connections]
    several = [of_schemas(f"tidegate, {_counted(n, 'process')} of two", connections=2, processes=n) for n in processes]
    return [
        _speed(schemas, rounds, Kind.APPLY, one, "more connections", _FOUR_CONNECTIONS),
        _speed(schemas, rounds, Kind.CROWD, several, "more processes", _FOUR_PROCESSES),
    ]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"


def _speed(schemas: int, rounds: int, kind: Kind, peers: Sequence[Peer], what: str, four: float) -> Workload:
    return Workload(
        f"{MIGRATIONS} migrations into {schemas:,} schemas, {what}", kind, tenants(schemas, MIGRATIONS), tuple(peers),
        _speed_goals([peer.name for peer in peers], four) if schemas >= ENOUGH else (),
        turns=rounds + 1, seconds=_SECONDS, limit=_LIMIT_SECONDS,
    )  # fmt: skip


def _speed_goals(names: Sequence[str], four: float) -> tuple[Goal, ...]:
    """More is never slower, and four are faster; by the quickest turn of each, for the others tell of other load."""
    what = "more of them, as a multiple of the next fewer, at worst"
    return (
        Goal(what, _SLOWER, lambda results: _worst(results, names)),
        *(_faster(name, names[0], four) for name in names if " 4 " in name),
    )


def _worst(results: Results, names: Sequence[str]) -> float | None:
    if any(not results[name].turns for name in names):
        return None
    walls = [quickest(results[name].turns) for name in names]
    return max((more / fewer for fewer, more in pairwise(walls)), default=None)


def _faster(name: str, one: str, most: float) -> Goal:
    def measure(results: Results) -> float | None:
        several, single = results[name].turns, results[one].turns
        return quickest(several) / quickest(single) if several and single else None

    return Goal(f"{name}, as a multiple of {one}", most, measure)


def failed(result: Result) -> bool:
    """Whether our own tool did not do its work; another one may be missing."""
    return bool(result.trouble) and result.peer.startswith(TIDEGATE.name)
