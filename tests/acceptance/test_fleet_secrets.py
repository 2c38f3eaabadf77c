"""No password that a fleet's file refers to is in anything that the program says, whatever happens."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.fixtures.command_line import Said, call
from tests.fixtures.fleets import TENANTS, Fleet, names
from tests.fixtures.network import free_port, http_get
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database, fresh_database
from tests.fixtures.workers import Worker, eventually

CORE = "murmurmurmur"
ENV_SECRET, FILE_SECRET, KEY_SECRET = f"{CORE}/@:'é%{CORE}", f"of a file {CORE}\\", f"of-the-key-{CORE}"
REFERENCES = {"by_env": '{ env = "BY_ENV" }', "by_file": '{ file = "%s" }'}


@pytest.fixture
def fleet(tidegate: StartTidegate, database: Database, tmp_path: Path) -> Fleet:
    fleet = Fleet(tidegate, database, tmp_path)
    fleet.schemas(names(1))
    return fleet


@pytest.fixture
def far(database: Database) -> Iterator[Database]:
    with fresh_database(database.server) as other:
        yield other


@pytest.fixture
def further(database: Database) -> Iterator[Database]:
    with fresh_database(database.server) as other:
        yield other


def role(far: Database, name: str, secret: str) -> str:
    """Make a role that may do all in a schema of its name; returns its URL."""
    literal, user = secret.replace("'", "''"), f"{name}_{far.name}"
    literal = f" E'{literal}'".replace("\\", "\\\\")
    far.psql(
        f"CREATE ROLE {user} LOGIN PASSWORD {literal}; CREATE SCHEMA {name} AUTHORIZATION {user};"
        f"GRANT CREATE ON DATABASE {far.name} TO {user}"
    )
    place = f"{far.server.host}:{far.server.port}/{far.name}"
    return f"postgres://{user}:{quote(secret, safe='')}@{place}?sslmode=disable&sslpassword={KEY_SECRET}"


def hidden(*texts: str) -> None:
    assert [line for text in texts for line in text.splitlines() if CORE in line] == []


def test_no_command_and_no_page_says_a_password_that_a_reference_leads_to(
    fleet: Fleet, far: Database, further: Database, tmp_path: Path
) -> None:
    env = {"DB_URL": fleet.database.dsn, "BY_ENV": role(far, "by_env", ENV_SECRET)}
    file = tmp_path / "url"
    file.write_text(role(further, "by_file", FILE_SECRET))
    groups = [
        f'[[targets]]\nname = "{name}"\ndatabase = {reference.replace("%s", str(file))}\nschemas = ["{name}"]\n'
        for name, reference in REFERENCES.items()
    ]
    fleet.declare(TENANTS + "".join(groups))
    first = everything(fleet, env, ("up", "--source", fleet.source), ("doctor",), ("status",))
    assert first[0].code == 0, first
    for number, secret in enumerate((ENV_SECRET, FILE_SECRET), start=3):
        literal = "E'" + secret.replace("\\", "\\\\").replace("'", "''") + "'"
        fleet.migrations({f"000{number}_c{number}.up.sql": f"SELECT {literal}::int"})
        worker = start(fleet, **env)
        eventually(lambda worker=worker: len(worker.status()["troubled"]) == 3, "all have failed")
        name = f"by_file/{further.name}/by_file.schema_migrations"
        said = everything(
            fleet, env, ("up",), ("up", "--json"), ("status",), ("status", "--json"), ("doctor", "--json"),
            ("status", "--target", name), ("plan", "--target", name), ("history", "--target", name),
            ("up", "1", "--target", name), ("admin", "config"),
            ("wait", "--at-least", "9", "--target", name, "--timeout", "0"),
        )  # fmt: skip
        paths = ("/", "/status.json", "/metrics", "/readyz", f"/readyz?target={name}")
        pages = [http_get(worker.port, path).body for path in paths]
        assert worker.stop() == 0, worker.process.report()
        assert "***" in said[1].out
        assert "***" in pages[0]
        assert "***" in pages[1]
        hidden(worker.process.stdout, worker.process.stderr, *pages, *(each.all for each in (*first, *said)))
        (fleet.source / f"000{number}_c{number}.up.sql").unlink()
        fleet.database.psql("UPDATE tidegate.bundle SET withdrawn_at = now() WHERE id > 1")


def test_no_error_of_a_reference_that_leads_nowhere_says_what_it_holds(fleet: Fleet, far: Database) -> None:
    good = role(far, "by_env", ENV_SECRET)
    fleet.declare(TENANTS + '[[targets]]\nname = "by_env"\ndatabase = { env = "BY_ENV" }\nschemas = ["by_env"]\n')
    wrong = {
        "password": good.replace("murmur", "MURMUR", 1),
        "scheme": f"mysql://u:{CORE}@h/d",
        "port": f"postgres://u:{CORE}@h:port/d",
        "words": f"host=h password={CORE} nonsense",
        "host": f"postgres://u:{CORE}@127.0.0.1:1/d",
        "option": f"postgres://u:{CORE}@127.0.0.1:1/d?nonsense=1",
    }
    for name, url in wrong.items():
        env = {"DB_URL": fleet.database.dsn, "BY_ENV": url}
        said = everything(fleet, env, ("up", "--source", fleet.source), ("doctor",), ("status",))
        assert said[0].code in {2, 5}, (name, said)
        hidden(*(each.all for each in said))


def everything(fleet: Fleet, env: dict[str, str], *commands: tuple[object, ...]) -> list[Said]:
    return [call("--log-level", "debug", *words, "--fleet", fleet.file, **env) for words in commands]


def start(fleet: Fleet, **env: str) -> Worker:
    port = free_port()
    words = ("run", "--source", fleet.source, "--http-port", str(port), "--log-level", "debug")
    process = fleet.start(*words, **env)
    process.wait_for_event("http.serving")
    return Worker(process, port)
