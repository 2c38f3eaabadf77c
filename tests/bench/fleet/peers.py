"""Who brings a fleet: our one process, or as many of the others' as targets, some of them at once."""

from collections.abc import Sequence
from pathlib import Path

from tests.bench.peers import GOLANG_FILES, Call, Migration, Peer, Writer, files, floor, psql_files

AT_ONCE = 4
"""Processes of the others, or connections of our one, that work on a fleet at once."""

SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tenant%'"
DATABASES = r"SELECT datname FROM pg_database WHERE datname LIKE current_database() || '\_%'"
"""The targets of a workload: schemas of its database, or databases that bear its name and a number."""

_SCHEMAS, _DATABASES = (
    f'[[targets]]\n{kind}_query = """{query}"""\n'.replace("\\", "\\\\")
    for kind, query in (("schemas", SCHEMAS), ("databases", DATABASES))
)
_RECORDED = (
    "SELECT CASE count(*) WHEN count(DISTINCT (target, version)) THEN count(*) ELSE -1 END "
    "FROM tidegate.ledger WHERE target NOT LIKE 'tidegate%'"
)
_COUNTED = "SELECT count(*) AS n FROM %I.schema_migrations"
_COUNTED_BY_DBMATE = (
    f"SELECT sum((xpath('/row/n/text()', query_to_xml(format('{_COUNTED}', nspname), false, true, '')))[1]::text::int) "
    f"FROM ({SCHEMAS}) AS s"
)
_RECORDED_BY_DBMATE = "SELECT count(*) FROM schema_migrations"
_PSQL = '"$0" -Xq -v ON_ERROR_STOP=1 -d "$1" -f "$2/all.psql"'
_DBMATE = '"$0" -u "$1" -d "$2" --no-dump-schema migrate'
_DBMATE_FILES = files("{version:06}_{name}.sql", "-- migrate:up\n", "\n-- migrate:down\n")


def of_schemas(name: str = "tidegate", *, connections: int = AT_ONCE, processes: int = 1) -> Peer:
    """Ours, for the schemas of a database: so many connections in each of so many processes."""
    return Peer(name, "tidegate", _fleet(_SCHEMAS, connections), _up, _RECORDED, crowd=processes)


FLOOR_OF_SCHEMAS = floor("bare asyncpg", "bringing", SCHEMAS, str(AT_ONCE))


def of_databases() -> Peer:
    """Ours, for databases of a server."""
    return Peer("tidegate", "tidegate", _fleet(_DATABASES, AT_ONCE), _up, _RECORDED)


def others_of_schemas(count: int) -> tuple[Peer, ...]:
    """psql and dbmate, a process a schema."""
    search_path = 'env PGOPTIONS="-c search_path=tenant_{}" '
    return (
        Peer("psql -P4", "psql", psql_files, _each(count, search_path + _PSQL), ""),
        Peer(
            "dbmate -P4", "dbmate", _DBMATE_FILES,
            _each(count, _DBMATE.replace("$1", "$1&search_path=tenant_{}")), _COUNTED_BY_DBMATE,
        ),
    )  # fmt: skip


def others_of_databases(count: int) -> tuple[Peer, ...]:
    """psql and dbmate, a process a database."""
    return (
        Peer("psql -P4", "psql", psql_files, _each(count, _PSQL, "_{}"), ""),
        Peer("dbmate -P4", "dbmate", _DBMATE_FILES, _each(count, _DBMATE, "_{}"), _RECORDED_BY_DBMATE),
    )


def _fleet(targets: str, connections: int) -> Writer:
    def write(home: Path, migrations: Sequence[Migration]) -> None:
        GOLANG_FILES(home, migrations)
        limits = f"[limits]\nworkers = {connections}\nper_database = {connections}\n"
        (home / "fleet.toml").write_text(f"{targets}{limits}", encoding="utf-8")

    return write


def _up(program: str, home: Path, url: str) -> list[str]:
    return [program, "up", "--fleet", str(home / "fleet.toml"), "--source", str(home), "--database", url]


def _each(count: int, command: str, suffix: str = "") -> Call:
    """A shell that runs a command for each number; `suffix` goes behind the database's name in the URL."""
    script = f"seq 1 {count} | xargs -P{AT_ONCE} -I{{}} {command}"

    def call(program: str, home: Path, url: str) -> list[str]:
        return ["sh", "-c", script, program, url.replace("?", f"{suffix}?", 1), str(home)]

    return call
