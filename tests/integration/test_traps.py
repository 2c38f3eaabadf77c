"""The traps of a first set-up by hand: each ends in one message with role, object and SQL, and changes nothing."""

from pathlib import Path

import pytest

from tests.fixtures.command_line import call, content, files
from tests.fixtures.processes import StartTidegate
from tests.fixtures.roles import RoleSet
from tests.fixtures.workers import start_worker
from worker.core.lock_keys import golang_key
from worker.core.target import Target

TABLE = "CREATE TABLE public.schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);"
ROW = "INSERT INTO public.schema_migrations VALUES (1, false);"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return files(tmp_path / "m", _1_a="CREATE TABLE public.a (a int);", _2_b="CREATE TABLE public.b (a int);")


TRAPS = {
    "the owner was granted to another login": (
        'REVOKE "{owner}" FROM "{migrator}"; GRANT "{owner}" TO "{reader}"',
        'GRANT "{owner}" TO "{migrator}"',
    ),
    "CREATE was granted on another database": (
        'REVOKE CREATE ON DATABASE {database} FROM "{owner}"; GRANT CREATE ON DATABASE postgres TO "{owner}"',
        'GRANT CREATE ON DATABASE "{database}" TO "{owner}";',
    ),
    "the schema was granted in another database": (
        'REVOKE ALL ON SCHEMA public FROM "{owner}", PUBLIC',
        'GRANT USAGE, CREATE ON SCHEMA "public" TO "{owner}";',
    ),
    "the version table may only be read": (
        f'{TABLE} {ROW} GRANT SELECT ON schema_migrations TO "{{owner}}"',
        'ALTER TABLE "public"."schema_migrations" OWNER TO "{owner}";',
    ),
    "a schema of the role's name leads the search path": (
        f'SET ROLE "{{owner}}"; {TABLE} {ROW} CREATE SCHEMA "{{owner}}"',
        'ALTER ROLE "{migrator}" IN DATABASE "{database}" SET search_path = "public";',
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_is_told_with_its_sql_and_nothing_is_changed(roles: RoleSet, source: Path, trap: str) -> None:
    database = roles.database
    names = {
        "database": database.name,
        "owner": roles.owner,
        "migrator": roles.migrator,
        "reader": f"{roles.base}_reader",
    }
    prepare, sql = (text.format(**names) for text in TRAPS[trap])
    roles.undo_tables()
    database.psql(prepare)
    before = content(database)

    call("up", "--source", source, **roles.migrating).is_error(3, sql.rstrip(";"))

    assert content(database) == before
    database.psql(sql)
    call("up", "--source", source, **roles.migrating).is_fine()
    assert database.psql("SELECT version, dirty FROM public.schema_migrations") == "2|f"


def test_after_the_first_run_a_new_schema_of_the_roles_name_is_not_migrated_anew(roles: RoleSet, source: Path) -> None:
    call("up", "--source", source, **roles.migrating).is_fine()
    roles.database.psql(f'CREATE SCHEMA "{roles.owner}" AUTHORIZATION "{roles.owner}"')
    before = content(roles.database)

    call("up", "--source", source, **roles.migrating).is_error(3, "public.schema_migrations is there", roles.owner)

    assert content(roles.database) == before
    named = {"DB_MIGRATIONS_TABLE": '"public"."schema_migrations"', "DB_MIGRATIONS_TABLE_QUOTED": "true"}
    call("up", "--source", source, **roles.migrating, **named).is_fine("nothing to do")


def test_public_that_everybody_may_write_is_no_obstacle(roles: RoleSet, source: Path) -> None:
    roles.database.psql("GRANT CREATE ON SCHEMA public TO PUBLIC")
    call("up", "--source", source, **roles.migrating).is_fine()


def test_a_worker_goes_on_by_itself_when_the_grant_was_given(
    roles: RoleSet, source: Path, tidegate: StartTidegate
) -> None:
    database = roles.database
    roles.undo_tables()
    database.psql(f'REVOKE CREATE ON DATABASE {database.name} FROM "{roles.owner}"')
    options = ("--migrations-options", f"-c role={roles.owner}", "--poll-interval", "250ms")
    worker = start_worker(tidegate, roles.dsn("migrator"), "--source", source, *options)
    refused = worker.process.wait_for_event("job.failed", reason="privilege")
    assert refused["hint"] == f'GRANT CREATE ON DATABASE "{database.name}" TO "{roles.owner}"'

    database.psql(refused["hint"])

    worker.until("/readyz?at_least=2")
    assert worker.stop() == 0


async def test_a_role_that_sees_no_statistics_is_told_who_holds_the_lock(
    roles: RoleSet, source: Path, tidegate: StartTidegate
) -> None:
    key = golang_key(Target("public", "schema_migrations"), f"/{roles.database.name}")
    holder = await roles.database.connect()
    try:
        await holder.execute(f"SELECT pg_advisory_lock({key})")
        waiting = tidegate("up", "--source", source, "--advisory-timeout", "1ms", env=roles.migrating)
        assert await waiting.ended() == 4, waiting.report()
    finally:
        await holder.close()
    assert f"held by role postgres, application unnamed, address unknown, backend {holder.get_server_pid()}" in (
        waiting.stderr
    )
