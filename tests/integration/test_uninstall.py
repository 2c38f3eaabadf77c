"""`admin uninstall`: what it shows, what it refuses, what it leaves, and the way there and back."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.cluster import PASSWORD
from tests.fixtures.command_line import call, content, files
from tests.fixtures.processes import StartTidegate
from tests.fixtures.roles import RoleSet
from tests.fixtures.servers import Database
from tests.fixtures.sites import bundle_of, tables, worker_on
from tests.fixtures.workers import start_worker
from worker.core.lock_keys import control_key, golang_keys, target_key
from worker.core.target import Target
from worker.errors import RefusedError
from worker.jobs.uninstall import inspect, uninstall
from worker.postgres import removal
from worker.postgres.removal import Extent, Removal

ONE = "CREATE TABLE t1 (a int)"
TWO = "CREATE TABLE t2 (a int)"
HALF = "CREATE TABLE t2 (a int);\nCOMMIT;\nINSERT INTO nowhere VALUES (1)"
TARGET = Target("public", "schema_migrations")
APPLICATION = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"


def brought(database: Database, folder: Path) -> dict[str, str]:
    """Two migrations applied; returns the environment."""
    environment = {"DB_URL": database.dsn, "DB_SCHEMA_DIR": str(files(folder, _1_a=ONE, _2_b=TWO))}
    call("up", **environment).is_fine("version 2")
    return environment


def has_control(database: Database) -> bool:
    return database.psql("SELECT to_regnamespace('tidegate') IS NOT NULL") == "t"


def test_what_goes_and_what_stays_is_shown_and_has_to_be_agreed_to(database: Database, tmp_path: Path) -> None:
    database.psql("CREATE ROLE uninstall_reader")
    try:
        environment = brought(database, tmp_path)
        database.psql("GRANT USAGE ON SCHEMA tidegate TO uninstall_reader")
        before = content(database)

        said = call("admin", "uninstall", **environment)

        said.is_error(2, "has to be confirmed", "--yes")
        assert content(database) == before
    finally:
        database.psql("DROP OWNED BY uninstall_reader; DROP ROLE uninstall_reader")
    lines = [line.split() for line in said.out.splitlines()]
    assert ["table", "history", database.psql("SELECT count(*) FROM tidegate.history"), "rows"] in lines
    assert ["function", "ready(bigint,text,text)"] in lines
    assert ["grant", "to", "uninstall_reader", "USAGE", "on", "the", "schema"] in lines
    assert lines[-1] == ["version", "table", "public.schema_migrations,", "version", "2,", "clean"]


def test_only_the_control_schema_goes(database: Database, tmp_path: Path) -> None:
    environment = brought(database, tmp_path)
    application = database.server.dump(database.name, "--exclude-schema=tidegate")

    call("admin", "uninstall", "--yes", **environment).is_fine("public.schema_migrations: version 2, clean")

    assert not has_control(database)
    assert database.server.dump(database.name) == application
    assert database.psql("SELECT * FROM schema_migrations") == "2|f"


def test_up_after_it_adopts_and_everything_is_as_before(database: Database, tmp_path: Path) -> None:
    environment = brought(database, tmp_path)
    before = database.server.dump(database.name, "--schema-only")
    call("admin", "uninstall", "--yes", **environment).is_fine()

    call("up", **environment).is_fine("0 migrations run, 2 adopted from golang-migrate; it is at version 2")

    assert database.server.dump(database.name, "--schema-only") == before
    assert (
        database.psql("SELECT version, origin FROM tidegate.ledger WHERE target ^@ 'public.'") == "1|adopted\n2|adopted"
    )
    call("wait", "--at-least", "2", **environment).is_fine()
    call("up", **environment).is_fine("nothing to do")
    call("admin", "uninstall", "--yes", **environment).is_fine("version 2, clean")


@pytest.mark.parametrize("prepare", ["SELECT", "CREATE SCHEMA tidegate", "CREATE SCHEMA tidegate CREATE TABLE x ()"])
def test_where_there_is_nothing_nothing_is_done(database: Database, prepare: str) -> None:
    database.psql(prepare)
    before = content(database)

    call("admin", "uninstall", DB_URL=database.dsn).is_fine("there is no control schema tidegate here; nothing to do")
    said = call("admin", "uninstall", "--yes", "--json", DB_URL=database.dsn)

    assert said.document == {
        "result": "nothing_there", "schema": "tidegate", "dropped": [], "grants": [], "kept": [],
    }  # fmt: skip
    assert content(database) == before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 2), ("\n", 2), ("", 2)])
def test_a_terminal_is_asked(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    environment = brought(database, tmp_path)
    monkeypatch.setattr(sys, "stdin", Terminal(answer))

    said = call("admin", "uninstall", **environment)

    assert (said.code, has_control(database)) == (code, code != 0), said
    assert "drop the schema tidegate? [y/N] " in said.out


def test_json_names_what_went_and_what_stays(database: Database, tmp_path: Path) -> None:
    environment = brought(database, tmp_path)
    call("admin", "uninstall", "--json", **environment).is_error(2, "--yes")
    assert has_control(database)

    document = call("admin", "uninstall", "--json", "--yes", **environment).document

    assert set(document) == {"result", "schema", "dropped", "grants", "kept"}
    assert (document["result"], document["schema"], document["grants"]) == ("dropped", "tidegate", [])
    assert {"kind": "table", "name": "bundle", "rows": 1} in document["dropped"]
    assert {"kind": "view", "name": "status", "rows": None} in document["dropped"]
    assert document["kept"] == [{"target": "public.schema_migrations", "table": True, "version": 2, "dirty": False}]


def test_every_target_is_told_with_what_golang_migrate_finds(database: Database, tmp_path: Path) -> None:
    environment = brought(database, tmp_path / "a")
    other = environment | {"DB_SCHEMA_DIR": str(files(tmp_path / "b", _7_x="CREATE TABLE x (a int)"))}
    for table in ("Other Table", "third", "gone"):
        other |= {"DB_MIGRATIONS_TABLE": table, "TIDEGATE_NEW_TABLE": "true"}
        call("up", **other).is_fine()
        database.psql("DROP TABLE x")
    database.psql('UPDATE "Other Table" SET dirty = true; DELETE FROM third; DROP TABLE gone')

    call("admin", "uninstall", "--yes", **environment).is_fine(
        'public."Other Table": version 7, dirty: migrate force 7 comes first\n',
        "public.gone: not there\n",
        "public.schema_migrations: version 2, clean\n",
        "public.third: no version\n",
    )

    assert not has_control(database)


def test_a_connected_worker_is_named_and_stops_it(database: Database, tidegate: StartTidegate, tmp_path: Path) -> None:
    environment = brought(database, tmp_path)
    worker = start_worker(tidegate, database.dsn)
    worker.until("/readyz?at_least=2")
    before = content(database)

    call("admin", "uninstall", "--yes", **environment).is_error(
        3, "still connected: tidegate ", "role postgres, address 127.0.0.1, backend ", "stop the workers"
    )

    assert content(database) == before
    assert worker.stop() == 0
    call("admin", "uninstall", "--yes", **environment).is_fine()


KEYS = {
    "the control schema tidegate": lambda _: control_key("tidegate"),
    "public.schema_migrations": lambda _: target_key(TARGET),
    "public.schema_migrations ": lambda name: golang_keys(TARGET, name)[0],
}


@pytest.mark.parametrize(("what", "key"), KEYS.items(), ids=["control", "own", "golang"])
async def test_a_lock_that_somebody_holds_is_named_and_stops_it(
    database: Database, tidegate: StartTidegate, what: str, key: Callable[[str], int]
) -> None:
    async with worker_on(database) as worker:
        await worker.up(bundle_of(tables(1)))
    stranger = await database.connect(server_settings={"application_name": "somebody"})
    try:
        await stranger.execute(f"SELECT pg_advisory_lock({key(database.name)})")

        process = tidegate("admin", "uninstall", "--yes", env={"DB_URL": database.dsn})

        assert await process.ended() == 3, process.report()
        pid = stranger.get_server_pid()
        who = f"somebody (role postgres, address 127.0.0.1, backend {pid})"
        assert f"tidegate: the advisory lock of {what.strip()} is held by {who}\n" in process.stderr + "\n"
        assert await database.fetchval("SELECT count(*) FROM tidegate.ledger WHERE target = 'public.schema_migrations'")
    finally:
        await stranger.close()


def test_a_half_done_migration_stops_it_until_one_of_two_ways_out_is_taken(database: Database, tmp_path: Path) -> None:
    environment = {"DB_URL": database.dsn, "DB_SCHEMA_DIR": str(files(tmp_path, _1_a=ONE, _0002_b=HALF))}
    assert call("up", **environment).code == 1
    before = content(database)

    call("admin", "uninstall", "--yes", **environment).is_error(
        3, "migration 2 (up, 0002_b.up.sql) of public.schema_migrations is half done",
        "tidegate up goes on with it", "tidegate force 2",
    )  # fmt: skip

    assert content(database) == before
    call("force", "2", **environment).is_fine()
    call("admin", "uninstall", "--yes", **environment).is_fine("version 2, clean")


@pytest.mark.parametrize(("state", "said"), [("running", "no worker holds its lock"), ("in_doubt", "is in doubt")])
def test_a_job_that_a_dead_worker_left_stops_it(database: Database, tmp_path: Path, state: str, said: str) -> None:
    environment = brought(database, tmp_path) | {"TIDEGATE_LABEL": "1.0"}
    forged = "SET session_replication_role = replica; UPDATE tidegate.bundle SET label = '1.0'"
    database.psql(f"UPDATE tidegate.job SET state = '{state}'; {forged}")

    call("admin", "uninstall", "--yes", **environment).is_error(3, "schema_migrations to bundle 1.0", said, "withdraw")
    assert has_control(database)

    call("bundle", "withdraw", "1.0", **environment).is_fine()
    call("admin", "uninstall", "--yes", **environment).is_fine()


STRANGERS = {
    "CREATE TABLE tidegate.mine (id serial PRIMARY KEY, e int[])": "table mine",
    'CREATE VIEW tidegate."My View" AS SELECT 1 AS a': 'view "My View"',
    "CREATE FUNCTION tidegate.ready(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'": "function ready(integer)",
    "CREATE TYPE tidegate.mood AS ENUM ('a')": "type mood",
    "CREATE SEQUENCE tidegate.s": "sequence s",
    "CREATE TABLE o (a int) PARTITION BY LIST (a); CREATE TABLE tidegate.p PARTITION OF o DEFAULT": "table p",
    "DROP VIEW tidegate.status; CREATE TABLE tidegate.status (a int)": "table status",
}


@pytest.mark.parametrize(("sql", "named"), STRANGERS.items())
def test_what_is_not_tidegates_is_named_and_stops_it(database: Database, tmp_path: Path, sql: str, named: str) -> None:
    environment = brought(database, tmp_path)
    database.psql(sql)
    before = content(database)

    call("admin", "uninstall", "--yes", **environment).is_error(3, f"holds what is not Tidegate's: {named}\n")

    assert content(database) == before


DEPENDENTS = {
    "CREATE VIEW v AS SELECT tidegate.ready(1) AS r": "view public.v",
    "CREATE MATERIALIZED VIEW v AS SELECT * FROM tidegate.status": "materialized view public.v",
    "CREATE TABLE d (a bigint REFERENCES tidegate.target)": "table public.d",
    "CREATE TABLE d (a bigint DEFAULT nextval('tidegate.wanted_seq'))": "table public.d",
    "CREATE TABLE d (a tidegate.readiness)": "table public.d",
    "CREATE TABLE d () INHERITS (tidegate.history)": "table public.d",
    "CREATE TABLE d (a int); CREATE POLICY p ON d USING (tidegate.ready(1))": "table public.d",
    "CREATE TABLE d (a bigint CHECK (tidegate.ready(a)))": "table public.d",
    "CREATE FUNCTION f() RETURNS SETOF tidegate.fence LANGUAGE sql AS 'TABLE tidegate.fence'": "function public.f()",
    "CREATE FUNCTION f(a bigint) RETURNS bool RETURN tidegate.ready(a)": "function public.f(bigint)",
}


@pytest.mark.parametrize(("sql", "named"), DEPENDENTS.items())
def test_what_depends_on_it_from_outside_is_named_and_stops_it(
    database: Database, tmp_path: Path, sql: str, named: str
) -> None:
    environment = brought(database, tmp_path)
    database.psql(sql)
    before = content(database)

    call("admin", "uninstall", "--yes", **environment).is_error(3, f"depends on what is in it: {named}\n")

    assert content(database) == before


async def test_what_comes_to_depend_on_it_at_the_last_moment_is_not_dropped(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(bundle_of(tables(1)))
        assert await inspect(worker.session, worker.site) is not None
        await database.execute("CREATE VIEW late AS SELECT * FROM tidegate.status")

        with pytest.raises(RefusedError, match=r"dropping the schema tidegate: .*other objects depend on it"):
            await Removal(worker.session, database.name, Extent.WHOLE).drop()

    assert await database.fetchval("SELECT count(*) FROM late") == 1


async def test_an_open_transaction_that_reads_it_is_not_waited_for_without_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "_PATIENCE", "SET LOCAL lock_timeout = '50ms'")
    reader = await database.connect()
    try:
        async with worker_on(database) as worker:
            await worker.up(bundle_of(tables(1)))
            async with reader.transaction():
                await reader.execute("TABLE tidegate.readiness")

                with pytest.raises(RefusedError, match="a transaction that uses the schema tidegate is open") as caught:
                    await uninstall(worker.session, worker.site)

            assert caught.value.exit_code == 3
            assert await inspect(worker.session, worker.site) is not None
    finally:
        await reader.close()


@pytest.mark.parametrize("half", ["target", "home"])
def test_a_control_schema_of_another_version_is_left_alone(database: Database, tmp_path: Path, half: str) -> None:
    environment = brought(database, tmp_path)
    database.psql(f"UPDATE tidegate.{half}_version SET version = version + 1")

    call("admin", "uninstall", "--yes", **environment).is_error(3, "of another version than this program")

    assert has_control(database)


def test_who_does_not_own_it_is_told_what_is_missing(database: Database, tmp_path: Path) -> None:
    environment, role = brought(database, tmp_path), f"user_{database.name}"
    database.psql(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    environment["DB_URL"] = database.dsn_as(role)
    try:
        call("admin", "uninstall", "--yes", **environment).is_error(
            3, "may not read the control schema", f'TO "{role}"'
        )
        database.psql(
            f"GRANT USAGE ON SCHEMA tidegate TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA tidegate, public TO {role}"
        )
        before = content(database)
        call("admin", "uninstall", "--yes", **environment).is_error(3, "belongs to role postgres", "-c role=postgres")
        assert content(database) == before
    finally:
        database.psql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_login_that_becomes_the_owner_may_do_it(database: Database, tmp_path: Path) -> None:
    owner, login = f"owner_{database.name}", f"login_{database.name}"
    database.psql(
        f"CREATE ROLE {owner}; CREATE ROLE {login} LOGIN PASSWORD '{PASSWORD}' IN ROLE {owner};"
        f"GRANT CREATE ON DATABASE {database.name} TO {owner}; GRANT CREATE ON SCHEMA public TO {owner}"
    )
    options = {"DB_URL": database.dsn_as(login), "DB_MIGRATIONS_OPTIONS": f"-c role={owner}"}
    try:
        call("up", "-s", files(tmp_path, _1_a=ONE), **options).is_fine()
        call("admin", "uninstall", "--yes", **options).is_fine("version 1, clean")
        assert not has_control(database)
    finally:
        database.psql(f"DROP OWNED BY {owner}, {login}; DROP ROLE {owner}, {login}")


async def test_a_session_of_another_role_is_seen_by_who_may_not_see_its_address(
    database: Database, roles: RoleSet, tidegate: StartTidegate, tmp_path: Path
) -> None:
    environment = roles.migrating | {"DB_SCHEMA_DIR": str(files(tmp_path, _1_a=ONE))}
    assert await tidegate("up", env=environment).ended() == 0
    waiting = await database.connect(server_settings={"application_name": "tidegate gate api-1"})
    try:
        process = tidegate("admin", "uninstall", "--yes", env=environment)

        assert await process.ended() == 3, process.report()
        who = f"tidegate gate api-1 (role postgres, address unknown, backend {waiting.get_server_pid()})"
        assert f"still connected: {who}" in process.stderr
    finally:
        await waiting.close()
    assert await tidegate("admin", "uninstall", "--yes", env=environment).ended() == 0


@pytest.mark.parametrize("control", ["My Gate", 'q"uote', "select", "it's", "back\\slash"])
async def test_a_control_schema_of_any_name_can_be_dropped(database: Database, control: str) -> None:
    async with worker_on(database, control=control) as worker:
        await worker.up(bundle_of(tables(1)))

        found = await uninstall(worker.session, worker.site)

    assert found is not None
    assert {thing.name for thing in found.ours} >= {"bundle", "hold_fence(text,bigint,bigint)", "wanted_seq"}
    assert await database.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = $1", control) == 0
