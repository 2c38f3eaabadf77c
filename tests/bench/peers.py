"""The tools that are compared: where each is found, how it wants its migrations, how it is called, what it records."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha1
from pathlib import Path

from tests.fixtures.installations import installations

ROOT = Path(__file__).parents[2]
_FLOORS = Path(__file__).parent / "floor"


def _psql_program() -> Path:
    """The program itself: Debian's /usr/bin/psql is a script that looks for it, and takes several times as long."""
    found = installations()
    places = [*([found[15]] if 15 in found else []), *found.values()]
    return next((place / "psql" for place in places if (place / "psql").exists()), Path("/usr/bin/psql"))


PROGRAM_PSQL = _psql_program()
_PLACES = (
    ROOT / ".venv/bench/own/bin",
    PROGRAM_PSQL.parent,
    Path(sys.executable).parent,
    ROOT / ".venv/tools",
    ROOT / ".venv/bench/bin",
    *ROOT.glob(".venv/bench/node_modules/@dbmate/*/bin"),
    ROOT / ".venv/bench/node_modules/.bin",
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration of a workload, in no tool's form yet."""

    version: int
    name: str
    sql: str


Writer = Callable[[Path, Sequence[Migration]], None]
Call = Callable[[str, Path, str], list[str]]


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool: `write` lays its files into a folder, `call` says the command for a program, a folder and a URL.

    `recorded` is SQL for the number of migrations that it says are applied; "" where it keeps no record. `prepare` is
    the command that brings a database up to date, where that is another one. `crowd` is how many processes start at
    once where a workload asks for a crowd.
    """

    name: str
    program: str
    write: Writer
    call: Call
    recorded: str
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: Call | None = None
    crowd: int = 8

    def find(self) -> str | None:
        """The program's path, None where it is missing."""
        return shutil.which(self.program, path=os.pathsep.join([*map(str, _PLACES), os.environ.get("PATH", "")]))


def files(pattern: str, before: str = "", after: str = "") -> Writer:
    """One file a migration, its SQL between two texts."""

    def write(home: Path, migrations: Sequence[Migration]) -> None:
        for each in migrations:
            path = home / pattern.format(version=each.version, name=each.name)
            path.write_text(f"{before}{each.sql}{after}", encoding="utf-8")

    return write


def psql_files(home: Path, migrations: Sequence[Migration]) -> None:
    files("{version:06}_{name}.sql")(home, migrations)
    lines = [f"BEGIN;\n\\i {home / f'{each.version:06}_{each.name}.sql'}\nCOMMIT;\n" for each in migrations]
    (home / "all.psql").write_text("".join(lines), encoding="utf-8")


def _sql_migrate(home: Path, migrations: Sequence[Migration]) -> None:
    files("{version:06}_{name}.sql", "-- +migrate Up\n-- +migrate StatementBegin\n", "-- +migrate StatementEnd\n")(
        home, migrations
    )
    settings = "bench:\n  dialect: postgres\n  datasource: ${BENCH_URL}\n  dir: .\n"
    (home / "dbconfig.yml").write_text(settings, encoding="utf-8")


def _sqitch(home: Path, migrations: Sequence[Migration]) -> None:
    (home / "sqitch.conf").write_text(
        f'[core]\n  engine = pg\n[engine "pg"]\n  client = {PROGRAM_PSQL}\n'
        "[user]\n  name = bench\n  email = bench@localhost\n"
    )
    (home / "deploy").mkdir()
    files("deploy/{name}.sql", "BEGIN;\n", "COMMIT;\n")(home, migrations)
    head = "%syntax-version=1.0.0\n%project=bench\n\n"
    lines = [f"{each.name} 2024-01-01T00:00:00Z bench <bench@localhost> # it\n" for each in migrations]
    (home / "sqitch.plan").write_text(head + "".join(lines), encoding="utf-8")


def _alembic(home: Path, migrations: Sequence[Migration]) -> None:
    (home / "alembic.ini").write_text("[alembic]\nscript_location = .\npath_separator = os\n", encoding="utf-8")
    (home / "env.py").write_text(
        "import os\nfrom alembic import context\nfrom sqlalchemy import create_engine, pool\n"
        "engine = create_engine(os.environ['DATABASE_URL'].replace('://', '+psycopg2://'), poolclass=pool.NullPool)\n"
        "with engine.connect() as connection:\n"
        "    context.configure(connection=connection, transaction_per_migration=True)\n"
        "    with context.begin_transaction():\n        context.run_migrations()\n",
        encoding="utf-8",
    )
    (home / "versions").mkdir()
    for before, each in zip([None, *migrations], migrations, strict=False):
        previous = None if before is None else f"{before.version:06}"
        (home / f"versions/{each.version:06}_{each.name}.py").write_text(
            f"from alembic import op\nrevision = '{each.version:06}'\ndown_revision = {previous!r}\n"
            f"def upgrade():\n    op.get_bind().exec_driver_sql({each.sql!r})\n",
            encoding="utf-8",
        )


def _graphile(home: Path, migrations: Sequence[Migration]) -> None:
    (home / ".gmrc").write_text('{"pgSettings": {}, "placeholders": {}}', encoding="utf-8")
    (home / "migrations/committed").mkdir(parents=True)
    previous = ""
    for each in migrations:
        text = f"{previous}\n{each.sql.strip()}".strip() + "\n"
        digest = f"sha1:{sha1(text.encode(), usedforsecurity=False).hexdigest()}"
        head = f"--! Previous: {previous or '-'}\n--! Hash: {digest}\n\n"
        (home / f"migrations/committed/{each.version:06}.sql").write_text(head + each.sql, encoding="utf-8")
        previous = digest


def floor(name: str, program: str, *arguments: str) -> Peer:
    """A program of `tests/bench/floor` on bare asyncpg, which does one work and nothing besides it.

    It plans, records and checks nothing, and holds no fence: what Tidegate takes beyond it is its own. It is given the
    folder of the migrations, and the arguments behind that.
    """

    def call(python: str, home: Path, _url: str) -> list[str]:
        return [python, str(_FLOORS / f"{program}.py"), str(home), *arguments]

    return Peer(name, "python", files("{version:06}_{name}.sql"), call, "", {"PYTHONPATH": str(ROOT)})


def _tidegate(program: str, home: Path, url: str) -> list[str]:
    return [program, "up", "--source", str(home), "--database", url]


GOLANG_FILES = files("{version:06}_{name}.up.sql")

TIDEGATE = Peer(
    "tidegate", "tidegate", GOLANG_FILES, _tidegate,
    "SELECT count(*) FROM tidegate.ledger WHERE target = 'public.schema_migrations'",
)  # fmt: skip
PSQL = Peer("psql", "psql", psql_files, lambda program, home, url: [
    program, "-Xq", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", str(home / "all.psql"),
], "")  # fmt: skip
BARE = floor("bare asyncpg", "connecting")
READING = floor("bare asyncpg, files read", "reading")
APPLYING = floor("bare asyncpg, applying", "applying")
WAIT = Peer("tidegate wait", "tidegate", GOLANG_FILES, lambda program, home, url: [
    program, "wait", "--timeout", "0", "--source", str(home), "--database", url,
], TIDEGATE.recorded, TIDEGATE.environment, _tidegate)  # fmt: skip

BATCH = replace(TIDEGATE, name="tidegate, batch", environment={"TIDEGATE_BATCH": "100"})
"""A hundred migrations in one transaction, where a person asks for it."""

ALONE = replace(TIDEGATE, name="tidegate alone", crowd=1)
"""One process, for what a crowd is compared with."""

OTHERS = (
    Peer(
        "golang-migrate", "migrate", GOLANG_FILES,
        lambda program, home, url: [program, "-path", str(home), "-database", url, "up"],
        "SELECT version FROM schema_migrations WHERE NOT dirty",
    ),
    Peer(
        "goose", "goose",
        files("{version:06}_{name}.sql", "-- +goose Up\n-- +goose StatementBegin\n", "-- +goose StatementEnd\n"),
        lambda program, home, url: [program, "-dir", str(home), "postgres", url, "up"],
        "SELECT count(*) FROM goose_db_version WHERE version_id > 0 AND is_applied",
    ),
    Peer(
        "dbmate", "dbmate", files("{version:06}_{name}.sql", "-- migrate:up\n", "\n-- migrate:down\n"),
        lambda program, home, url: [program, "-u", url, "-d", str(home), "--no-dump-schema", "migrate"],
        "SELECT count(*) FROM schema_migrations",
    ),
    Peer(
        "sql-migrate", "sql-migrate", _sql_migrate,
        lambda program, _home, _url: [program, "up", "-config=dbconfig.yml", "-env=bench"],
        "SELECT count(*) FROM gorp_migrations",
    ),
    Peer(
        "sqitch", "sqitch", _sqitch, lambda program, _home, url: [program, "deploy", f"db:{url}"],
        "SELECT count(*) FROM sqitch.changes", {"PERL_BADLANG": "0"},
    ),
    Peer(
        "yoyo", "yoyo", files("{version:06}_{name}.sql"),
        lambda program, home, url: [program, "apply", "--batch", "--no-config-file", "--database", url, str(home)],
        "SELECT count(*) FROM _yoyo_migration",
    ),
    Peer(
        "alembic", "alembic", _alembic, lambda program, _home, _url: [program, "upgrade", "head"],
        "SELECT version_num::int FROM alembic_version",
    ),
    Peer(
        "node-pg-migrate", "node-pg-migrate",
        files("{version:06}_{name}.sql", "-- Up Migration\n", "\n-- Down Migration\n"),
        lambda program, home, _url: [program, "up", "-m", str(home), "--no-single-transaction"],
        "SELECT count(*) FROM pgmigrations",
    ),
    Peer(
        "graphile-migrate", "graphile-migrate", _graphile, lambda program, _home, _url: [program, "migrate"],
        "SELECT count(*) FROM graphile_migrate.migrations",
    ),
)  # fmt: skip
