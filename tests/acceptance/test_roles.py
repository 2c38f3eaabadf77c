"""Split mode as the roles of `admin grants`: an owner, a migrator, an API that may only do CRUD; never a superuser."""

import sys
from pathlib import Path

import anyio
import pytest

from tests.fixtures.command_line import call, content
from tests.fixtures.network import HOST, free_port, is_bound
from tests.fixtures.processes import StartTidegate
from tests.fixtures.roles import NAMES, PASSWORD, RoleSet, psql_at
from tests.fixtures.servers import Database
from tests.fixtures.workers import applied, eventually, finish, migrations_in, start_worker, tables
from worker.bundles.shipped import shipped

OWNERS = """
SELECT DISTINCT pg_get_userbyid(c.relowner) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname IN ('tidegate', 'public')
UNION SELECT pg_get_userbyid(p.proowner) FROM pg_proc AS p WHERE p.pronamespace = 'tidegate'::regnamespace
UNION SELECT pg_get_userbyid(n.nspowner) FROM pg_namespace AS n WHERE n.nspname = 'tidegate'
"""


def test_no_role_of_the_set_up_can_do_more_than_it_must(roles: RoleSet) -> None:
    powers = roles.database.psql(
        "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'r_test_%' "
        "AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)"
    )
    logins = roles.database.psql(
        f"SELECT rolname FROM pg_roles WHERE rolname LIKE '{roles.base}%' AND rolcanlogin ORDER BY 1"
    )
    assert powers == "0"
    assert logins.split() == sorted(f"{roles.base}_{name}" for name in NAMES if name != "owner")


def test_split_mode_from_the_first_grant_to_the_second_release(
    roles: RoleSet, tidegate: StartTidegate, tmp_path: Path
) -> None:
    database, environment = roles.database, {**roles.migrating, "TIDEGATE_READERS": roles.api}
    finish(tidegate("up", "--source", shipped("example"), env=environment))
    assert database.psql(OWNERS) == roles.owner
    roles.set_up()

    # The API: its gate, and CRUD on tables that the migrations made; no DDL, and no word in the records.
    finish(tidegate("wait", "--at-least", "12", "--timeout", "0", env={"DB_URL": roles.dsn("api")}))
    roles.psql("api", "INSERT INTO customers (name, email) VALUES ('Ada', 'ada@example.org')")
    assert roles.psql("api", "DELETE FROM customers RETURNING email").splitlines()[-1] == "ada@example.org"
    for refused in (
        "CREATE TABLE mine (a int)",
        "ALTER TABLE customers ADD b int",
        "UPDATE schema_migrations SET version = 1",
        "UPDATE tidegate.readiness SET serves = 1",
        "SELECT * FROM tidegate.bundle",
        f'SET ROLE "{roles.owner}"',
    ):
        answer = roles.psql("api", refused)
        assert "permission denied" in answer or "must be owner" in answer, (refused, answer)

    # A worker with the migrator's credentials, a release by the publisher, and a look by the reader.
    release = migrations_in(tmp_path / "next", {})
    for file in [*shipped("example").glob("*.sql"), *shipped("example").glob("next/*.sql")]:
        (release / file.name).write_bytes(file.read_bytes())
    worker = start_worker(tidegate, roles.dsn("migrator"), "--migrations-options", f"-c role={roles.owner}")
    finish(tidegate("publish", release, "--label", "1.1", env={"DB_URL": roles.dsn("publisher")}))
    worker.until("/readyz?at_least=13")
    assert worker.stop() == 0
    assert database.psql(OWNERS) == roles.owner
    assert roles.psql("api", "SELECT count(*) FROM reviews") == "0"
    for verb in ("status", "history", "plan"):
        call(verb, "--json", DB_URL=roles.dsn("reader")).is_fine()
    call("pause", DB_URL=roles.dsn("reader")).is_error(3, f"role {roles.base}_reader", "permission denied", "GRANT")


async def test_auto_mode_acts_as_the_owner_with_the_apis_login_and_binds_no_port_before(
    roles: RoleSet, tidegate: StartTidegate, tmp_path: Path
) -> None:
    port, source = (
        free_port(),
        migrations_in(tmp_path / "m", {1: "CREATE TABLE t1 (a int); SELECT pg_advisory_xact_lock(1)"}),
    )
    environment = {**roles.migrating, "DB_AUTO_MIGRATE": "true", "DB_OPTIONS": "-c role=never_created"}
    holder = await roles.database.connect()
    try:
        await holder.execute("SELECT pg_advisory_lock(1)")
        api = tidegate(
            "exec",
            "--source",
            source,
            "--",
            sys.executable,
            "-m",
            "http.server",
            "--bind",
            HOST,
            str(port),
            env=environment,
        )
        await api.line(lambda line: "migration.started" in line)
        await anyio.to_thread.run_sync(eventually, lambda: is_waited_for(roles.database), "the migration waits")
        assert not is_bound(port)
    finally:
        await holder.close()
    await anyio.to_thread.run_sync(eventually, lambda: is_bound(port), "the API listens")
    assert roles.database.psql(OWNERS) == roles.owner
    assert applied(roles.database) == ["1"]


def is_waited_for(database: Database) -> bool:
    """Whether a migration waits for the advisory lock 1."""
    return (
        database.psql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 1") == "1"
    )


def test_a_gate_needs_no_more_than_usage_and_select(
    database: Database, roles: RoleSet, tidegate: StartTidegate
) -> None:
    finish(tidegate("up", "--source", shipped("example"), env=roles.migrating))
    wait = ("wait", "--at-least", "12", "--timeout", "0")
    call(*wait, DB_URL=roles.dsn("api")).is_error(4)

    database.psql(
        f'GRANT USAGE ON SCHEMA tidegate TO "{roles.api}"; GRANT SELECT ON tidegate.readiness TO "{roles.api}"'
    )

    call(*wait, DB_URL=roles.dsn("api")).is_fine()
    assert roles.psql("api", "SELECT tidegate.ready(12)") == "t"


def test_the_set_up_can_be_run_again_and_changes_nothing_then(roles: RoleSet, tidegate: StartTidegate) -> None:
    finish(tidegate("up", "--source", shipped("example"), env=roles.migrating))
    roles.set_up()
    before = roles.database.server.dump(roles.database.name, "--schema-only")

    roles.set_up()

    assert roles.database.server.dump(roles.database.name, "--schema-only") == before


def test_the_set_up_works_for_a_database_owner_who_may_create_roles(
    database: Database, role_names: RoleSet, tidegate: StartTidegate
) -> None:
    admin = f"a_{database.name}"
    database.psql(
        f"CREATE ROLE {admin} LOGIN CREATEROLE PASSWORD '{PASSWORD}'; ALTER DATABASE {database.name} OWNER TO {admin}"
    )
    if database.server.version < 15:  # until then the schema public was not the database owner's
        database.psql(f"ALTER SCHEMA public OWNER TO {admin}")
    try:
        for _ in range(2):
            assert psql_at(database, database.dsn_as(admin, PASSWORD), role_names.sql()) == ""
        role_names.set_up()
        finish(tidegate("up", "--source", shipped("example"), env=role_names.migrating))
        assert database.psql(OWNERS) == role_names.owner
    finally:
        database.psql(f"REASSIGN OWNED BY {admin} TO postgres; DROP OWNED BY {admin}")
        role_names.drop()
        database.psql(f"DROP ROLE {admin}")


@pytest.mark.parametrize("schema", ["app", "Odd schema"])
def test_a_schema_of_the_applications_own_is_made_for_the_owner(
    role_names: RoleSet, tidegate: StartTidegate, tmp_path: Path, schema: str
) -> None:
    role_names.set_up("--app-schema", schema, "--app-schema", "public", "--publisher", "none")
    source = migrations_in(tmp_path / "m", tables(1))

    finish(tidegate("up", "--source", source, env=role_names.migrating))

    assert role_names.psql("api", f'SELECT count(*) FROM "{schema}".t1') == "0"


def test_a_later_run_without_the_option_is_told_apart_and_changes_nothing(
    roles: RoleSet, tidegate: StartTidegate, tmp_path: Path
) -> None:
    source = migrations_in(tmp_path / "m", tables(1))
    finish(tidegate("up", "--source", source, env=roles.migrating))
    before = content(roles.database)
    migrations_in(source, tables(2))

    for dsn in (roles.dsn("migrator"), roles.database.dsn):
        call("up", "--source", source, DB_URL=dsn).is_error(
            3, f"tidegate belongs to role {roles.owner}", f"DB_MIGRATIONS_OPTIONS='-c role={roles.owner}'"
        )

    assert content(roles.database) == before
    call("up", "--source", source, **roles.migrating).is_fine()


def test_the_first_run_beside_golang_migrate_without_its_option_is_told_apart(roles: RoleSet, tmp_path: Path) -> None:
    roles.database.psql("DROP SCHEMA tidegate; INSERT INTO schema_migrations VALUES (1, false)")
    before = content(roles.database)
    source = migrations_in(tmp_path / "m", tables(1, 2))

    call("up", "--source", source, DB_URL=roles.dsn("migrator")).is_error(
        3, "version table public.schema_migrations belongs to role", roles.owner, roles.migrator
    )

    assert content(roles.database) == before
    call("up", "--source", source, **roles.migrating).is_fine()


def test_what_a_run_without_the_option_made_is_explained_and_can_be_given_to_the_owner(
    roles: RoleSet, tmp_path: Path
) -> None:
    database, source = roles.database, migrations_in(tmp_path / "m", tables(1))
    roles.undo_tables()
    database.psql(
        f'GRANT CREATE ON DATABASE {database.name} TO "{roles.migrator}";'
        f'GRANT CREATE ON SCHEMA public TO "{roles.migrator}"'
    )
    call("up", "--source", source, DB_URL=roles.dsn("migrator")).is_fine()
    before = content(database)
    migrations_in(source, {2: "ALTER TABLE t1 ADD b int;"})

    call("up", "--source", source, **roles.migrating).is_error(
        3, f"belongs to role {roles.migrator}", "tidegate doctor"
    )

    assert content(database) == before
    found = call("doctor", "--json", **roles.migrating).document
    database.psql("\n".join(each["sql"] for each in found if each["check"] == "foreign_objects"))
    call("up", "--source", source, **roles.migrating).is_fine("1 migrations run")
    assert database.psql(OWNERS) == roles.owner


def test_a_stranger_to_the_control_schema_is_told_what_would_let_it_look(roles: RoleSet, tmp_path: Path) -> None:
    call("up", "--source", migrations_in(tmp_path / "m", tables(1)), **roles.migrating).is_fine()
    said = call("status", DB_URL=roles.dsn("api"))
    said.is_error(3, f"role {roles.api} may not read the control schema tidegate", "GRANT SELECT ON ALL TABLES")
    assert f'GRANT "{roles.owner}"' not in said.err


def test_a_first_run_without_the_option_is_told_apart_and_changes_nothing(roles: RoleSet, tmp_path: Path) -> None:
    before = content(roles.database)
    source = migrations_in(tmp_path / "m", tables(1))
    call("up", "--source", source, DB_URL=roles.dsn("migrator")).is_error(3, f"belongs to role {roles.owner}")
    assert content(roles.database) == before


def test_a_publisher_does_not_make_the_control_schema(roles: RoleSet, tmp_path: Path) -> None:
    before = content(roles.database)
    source = migrations_in(tmp_path / "m", tables(1))
    call("publish", source, DB_URL=roles.dsn("publisher")).is_error(3, "is not to make it", "tidegate admin upgrade")
    assert content(roles.database) == before
    call("admin", "upgrade", **roles.migrating).is_fine()
    roles.set_up()
    call("publish", source, DB_URL=roles.dsn("publisher")).is_fine("published, and wanted now")


def test_what_was_there_before_is_told_and_kept(role_names: RoleSet) -> None:
    database = role_names.database
    database.psql(f'CREATE ROLE "{role_names.owner}" SUPERUSER LOGIN; CREATE TABLE theirs (a int)')
    database.psql(f'CREATE ROLE "{role_names.api}" LOGIN IN ROLE "{role_names.owner}"')

    told = psql_at(database, database.dsn, role_names.sql())

    assert f"role {role_names.owner} was there before, with attributes that it should not have" in told
    assert f"role {role_names.api} is a member of the owner, and should not be" in told


def test_a_table_of_somebody_elses_does_not_stop_the_set_up(database: Database, role_names: RoleSet) -> None:
    admin = f"a_{database.name}"
    database.psql(f"CREATE ROLE {admin} LOGIN CREATEROLE PASSWORD '{PASSWORD}'; CREATE TABLE theirs (a int)")
    database.psql(f"ALTER DATABASE {database.name} OWNER TO {admin}")
    if database.server.version < 15:  # until then the schema public was not the database owner's
        database.psql(f"ALTER SCHEMA public OWNER TO {admin}")
    try:
        told = psql_at(database, database.dsn_as(admin, PASSWORD), role_names.sql())
        assert "WARNING:  theirs belongs to postgres, who has to grant the API rights on it" in told
        assert "ERROR" not in told
    finally:
        database.psql(f"REASSIGN OWNED BY {admin} TO postgres; DROP OWNED BY {admin}")
        role_names.drop()
        database.psql(f"DROP ROLE {admin}")
