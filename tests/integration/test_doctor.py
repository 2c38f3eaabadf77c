"""The doctor: each trap of a first run is found, and the SQL that it prints mends it; nothing is changed by looking."""

from pathlib import Path
from typing import Any

import anyio
import asyncpg
import pytest

from tests.fixtures.command_line import call, content, files
from tests.fixtures.roles import RoleSet
from tests.fixtures.servers import Database
from worker.core.lock_keys import golang_key
from worker.core.target import Target

Finding = dict[str, Any]


def examined(*more: str, **environment: str) -> list[Finding]:
    """What `tidegate doctor` finds."""
    said = call("doctor", "--json", *more, **environment)
    assert said.code in {0, 3}, said
    findings: list[Finding] = said.document
    assert (said.code == 3) == any(each["severity"] == "error" for each in findings), said
    return findings


def of(findings: list[Finding], check: str) -> list[Finding]:
    """What a check found, apart from what is as it should be."""
    return [each for each in findings if each["check"] == check and each["severity"] != "ok"]


def test_a_first_run_as_the_set_up_says_has_nothing_wrong(roles: RoleSet) -> None:
    before = content(roles.database)
    findings = examined(**roles.migrating)
    assert {each["severity"] for each in findings} == {"ok"}, findings
    assert content(roles.database) == before


OBJECTS = """
CREATE TABLE public.theirs (a int);
CREATE TYPE public."Odd kind" AS ENUM ();
CREATE VIEW public.seen AS SELECT 1 AS a;
CREATE FUNCTION public.doing(a int, b text) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TABLE public.numbered (a serial, b int GENERATED ALWAYS AS IDENTITY);
CREATE MATERIALIZED VIEW public.kept AS SELECT 1 AS a;
CREATE PROCEDURE public.go() LANGUAGE sql AS 'SELECT 1';
CREATE SEQUENCE public.counted;
CREATE DOMAIN public.short AS text;
CREATE TYPE public.pair AS (a int, b int);
CREATE TYPE public.span AS RANGE (subtype = int);
CREATE FUNCTION public.of_kind(public."Odd kind") RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE public.counts(*) (sfunc = int8inc, stype = bigint, initcond = '0');
CREATE SCHEMA legacy;
CREATE TABLE legacy.old (a int);
"""
TRAPS = {
    "create_on_database": ('DROP SCHEMA tidegate; REVOKE CREATE ON DATABASE {database} FROM "{owner}"', "error"),
    "create_on_schema": ('DROP TABLE schema_migrations; REVOKE CREATE ON SCHEMA public FROM "{owner}"', "error"),
    "public_create": ("GRANT CREATE ON SCHEMA public TO PUBLIC", "warning"),
    "user_schema": ('CREATE SCHEMA "{owner}" AUTHORIZATION "{owner}"', "warning"),
    "setting": ("ALTER ROLE \"{migrator}\" SET session_replication_role = 'replica'", "warning"),
    "foreign_objects": (OBJECTS, "warning"),
}


@pytest.mark.parametrize("check", TRAPS)
def test_a_trap_is_found_and_its_sql_takes_it_away(roles: RoleSet, check: str) -> None:
    prepare, severity = TRAPS[check]
    names = {"database": roles.database.name, "owner": roles.owner, "migrator": roles.migrator}
    roles.database.psql(prepare.format(**names))
    before = content(roles.database)

    findings = of(examined(**roles.migrating), check)

    assert [each["severity"] for each in findings] == [severity]
    assert content(roles.database) == before
    roles.database.psql(findings[0]["sql"])
    assert of(examined(**roles.migrating), check) == []


def test_a_role_that_may_not_remove_old_events_is_told_the_grant_and_may_migrate(
    roles: RoleSet, tmp_path: Path
) -> None:
    source = files(tmp_path / "m", _1_a="CREATE TABLE a (a int);")
    call("up", "--source", source, **roles.migrating).is_fine()
    roles.database.psql(f'REVOKE DELETE ON tidegate.job_event FROM "{roles.owner}"')

    (finding,) = of(examined(**roles.migrating), "events")

    files(tmp_path / "m", _2_b="CREATE TABLE b (a int);")
    call("up", "--source", source, **roles.migrating).is_fine()
    roles.database.psql(finding["sql"])
    assert of(examined(**roles.migrating), "events") == []


def test_a_missing_right_stops_the_run_before_anything_is_changed_and_names_the_grant(
    roles: RoleSet, tmp_path: Path
) -> None:
    roles.undo_tables()
    roles.database.psql(f'REVOKE CREATE ON SCHEMA public FROM "{roles.owner}"')
    before = content(roles.database)
    source = files(tmp_path / "m", _1_a="CREATE SCHEMA more;")

    call("up", "--source", source, **roles.migrating).is_error(
        3, roles.owner, f'GRANT USAGE, CREATE ON SCHEMA "public" TO "{roles.owner}"'
    )

    assert content(roles.database) == before


def test_a_schema_that_is_not_there_is_named_with_its_sql(roles: RoleSet, tmp_path: Path) -> None:
    table = {"DB_MIGRATIONS_TABLE": '"elsewhere"."versions"', "DB_MIGRATIONS_TABLE_QUOTED": "true"}
    source = files(tmp_path / "m", _1_a="CREATE TABLE public.a (a int);")
    call("up", "--source", source, **roles.migrating, **table).is_error(3, "elsewhere", "CREATE SCHEMA")

    (finding,) = of(examined(**roles.migrating, **table), "schema")
    roles.database.psql(finding["sql"])

    call("up", "--source", source, **roles.migrating, **table).is_fine()


def test_a_login_that_may_not_act_as_the_owner_is_told_the_grant(roles: RoleSet) -> None:
    roles.database.psql(f'REVOKE "{roles.owner}" FROM "{roles.migrator}"')
    (finding,) = of(examined(**roles.migrating), "privilege")
    assert f'GRANT "{roles.owner}" TO "{roles.migrator}"' in finding["advice"]


def test_a_membership_without_the_set_option_is_told_the_grant(roles: RoleSet) -> None:
    if roles.database.server.version < 16:
        return
    roles.database.psql(f'GRANT "{roles.owner}" TO "{roles.migrator}" WITH SET FALSE')
    (finding,) = of(examined(**roles.migrating), "privilege")
    assert "WITH SET TRUE" in finding["advice"]
    roles.database.psql(f'GRANT "{roles.owner}" TO "{roles.migrator}" WITH SET TRUE')
    assert of(examined(**roles.migrating), "privilege") == []


def test_a_transaction_timeout_is_refused_before_it_ends_a_migration(roles: RoleSet, tmp_path: Path) -> None:
    if roles.database.server.version < 17:
        return
    roles.database.psql(f"ALTER ROLE \"{roles.migrator}\" SET transaction_timeout = '1s'")
    source = files(tmp_path / "m", _1_a="SELECT pg_sleep(2);")
    call("up", "--source", source, **roles.migrating).is_error(3, "transaction_timeout is 1s", roles.migrator)
    (finding,) = of(examined(**roles.migrating), "setting")
    roles.database.psql(finding["sql"])
    call("up", "--source", source, **roles.migrating).is_fine()


def test_a_role_that_nobody_created_is_named(roles: RoleSet) -> None:
    environment = {**roles.migrating, "DB_MIGRATIONS_OPTIONS": "-c role=never_created"}
    call("doctor", **environment).is_error(2, "never_created", "tidegate admin grants")


async def test_who_holds_and_who_waits_for_the_lock_is_told(roles: RoleSet) -> None:
    database = roles.database
    key = golang_key(Target("public", "schema_migrations"), f"/{database.name}")
    holder, waiter = await database.connect(), await database.connect()
    try:
        await holder.execute(f"SELECT pg_advisory_lock({key})")
        pids = [holder.get_server_pid(), waiter.get_server_pid()]
        async with waiter.transaction():
            await waiter.execute("SET LOCAL lock_timeout = '20s'")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_lock, waiter, key)
                await _until_waiting(database, pids[1])
                findings = await anyio.to_thread.run_sync(lambda: examined(**roles.migrating))
                await holder.execute(f"SELECT pg_advisory_unlock({key})")
    finally:
        await holder.close()
        await waiter.close()
    (held,), (waits,) = of(findings, "lock"), of(findings, "lock_waiter")
    assert (f"backend {pids[0]}" in held["message"], f"backend {pids[1]}" in waits["message"]) == (True, True)
    assert held["sql"] == f"SELECT pg_terminate_backend({pids[0]});"


async def _lock(connection: asyncpg.Connection, key: int) -> None:
    await connection.execute(f"SELECT pg_advisory_lock({key})")


async def _until_waiting(database: Database, pid: int) -> None:
    with anyio.fail_after(10):
        while not await database.fetchval("SELECT wait_event = 'advisory' FROM pg_stat_activity WHERE pid = $1", pid):
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("leftover", ["", "_ccnew"])
def test_an_invalid_index_is_told_with_what_mends_it(roles: RoleSet, leftover: str) -> None:
    database = roles.database
    database.psql("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1)")
    with pytest.raises(AssertionError, match="could not create unique index"):
        database.psql(f"CREATE UNIQUE INDEX CONCURRENTLY i{leftover} ON t (a)")
    database.psql("DELETE FROM t")

    (finding,) = of(examined(**roles.migrating), "invalid_index")

    assert f"public.i{leftover}" in finding["message"]
    database.psql(finding["sql"])
    assert of(examined(**roles.migrating), "invalid_index") == []


def test_an_encoding_that_lacks_characters_is_told(roles: RoleSet) -> None:
    name = f"{roles.database.name}_latin"
    roles.database.psql(f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        findings = examined(DB_URL=roles.database.server.dsn(name))
    finally:
        roles.database.psql(f"DROP DATABASE {name} WITH (FORCE)")
    assert "LATIN1" in of(findings, "encoding")[0]["message"]
    assert of(findings, "superuser")


def test_a_dirty_version_table_and_the_wrong_table_are_told(roles: RoleSet, tmp_path: Path) -> None:
    source = files(tmp_path / "m", _1_a="SELECT 1;")
    table = (
        f'SET ROLE "{roles.owner}"; CREATE TABLE {{}} (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);'
    )
    roles.database.psql(table.format("api_schema_migrations") + "INSERT INTO api_schema_migrations VALUES (1, true)")
    environment = {**roles.migrating, "DB_SCHEMA_DIR": str(source)}

    assert "api_schema_migrations" in of(examined(**environment), "version_table")[0]["message"]
    dirty = of(examined(**environment, DB_MIGRATIONS_TABLE="api_schema_migrations"), "dirty")
    assert "tidegate force" in dirty[0]["advice"]


def test_readers_that_are_not_there_or_cannot_read_are_told(roles: RoleSet, tmp_path: Path) -> None:
    environment = {**roles.migrating, "TIDEGATE_READERS": f"never_created,{roles.api}"}
    (missing,) = of(examined(**environment), "readers")
    assert "never_created" in missing["message"]
    call("up", "--source", files(tmp_path / "m", _1_a="SELECT 1;"), **roles.migrating).is_fine()

    _, denied = of(examined(**environment), "readers")
    roles.database.psql(denied["sql"])

    assert len(of(examined(**environment), "readers")) == 1


def test_a_gate_is_examined_with_the_applications_own_rights(roles: RoleSet, tmp_path: Path) -> None:
    environment = {"DB_URL": roles.dsn("api")}
    assert of(examined("--gate", **environment), "gate_no_table")
    call("up", "--source", files(tmp_path / "m", _1_a="SELECT 1;"), **roles.migrating).is_fine()
    (denied,) = of(examined("--gate", **environment), "gate_privilege")
    roles.database.psql(denied["advice"].removeprefix("run as its owner: "))
    assert [each["severity"] for each in examined("--gate", **environment)] == ["ok"]


def test_a_person_reads_severity_check_reason_and_sql(roles: RoleSet) -> None:
    roles.undo_tables()
    roles.database.psql(f'REVOKE CREATE ON DATABASE {roles.database.name} FROM "{roles.owner}"')
    said = call("doctor", **roles.migrating)
    assert said.code == 3
    assert "error    create_on_database: role" in said.out
    assert f'\n         GRANT CREATE ON DATABASE "{roles.database.name}" TO "{roles.owner}";\n' in said.out
