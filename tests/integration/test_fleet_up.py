"""`tidegate up --fleet`: many schemas of one database, several databases, and what is wrong with some of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.fleets import TENANTS, Fleet, names
from tests.fixtures.network import free_port
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database, fresh_database
from worker.postgres.queries import queries

CLASH = {"0003_c.up.sql": "CREATE TABLE c (d int)"}


@pytest.fixture
def fleet(tidegate: StartTidegate, database: Database, tmp_path: Path) -> Fleet:
    return Fleet(tidegate, database, tmp_path)


@pytest.fixture
def second(database: Database) -> Iterator[Database]:
    with fresh_database(database.server) as other:
        yield other


async def test_all_schemas_that_a_query_yields_are_migrated_each_in_its_own(fleet: Fleet) -> None:
    fleet.schemas(names(6))
    fleet.declare(TENANTS)

    document = fleet.up()

    assert (document["targets"], document["states"], document["migrations"]) == (6, {"succeeded": 6}, 12)
    for name in names(6):
        assert await fleet.database.fetchval(f"SELECT count(*) FROM {name}.a") == 1
        assert await fleet.database.fetchval(f"SELECT version FROM {name}.schema_migrations") == 2
        assert await fleet.database.fetchval("SELECT tidegate.ready(2, target => $1)", f"{name}.schema_migrations")
    assert await fleet.database.fetchval("SELECT to_regclass('public.a')") is None
    assert fleet.up()["migrations"] == 0


async def test_targets_in_other_databases_have_their_ledgers_there_and_their_jobs_at_home(
    fleet: Fleet, second: Database
) -> None:
    fleet.schemas(names(2))
    second.psql("CREATE SCHEMA tenant_x")
    fleet.declare(f'[[targets]]\ndatabases = ["{fleet.database.name}", "{second.name}"]\n' + TENANTS.split("]]")[1])

    document = fleet.up()

    assert document["states"] == {"succeeded": 3}
    ledger = "SELECT count(*) FROM tidegate.ledger WHERE target = 'tenant_x.schema_migrations'"
    assert (await second.fetchval(ledger), await fleet.database.fetchval(ledger)) == (2, 0)
    assert await second.fetchval("SELECT tidegate.ready(2, target => 'tenant_x.schema_migrations')")
    jobs = await fleet.database.fetch(
        "SELECT t.name FROM tidegate.job AS j JOIN tidegate.target AS t ON t.id = j.target_id WHERE state = 'succeeded'"
    )
    assert f"{second.name}/tenant_x.schema_migrations" in {row["name"] for row in jobs}


async def test_a_database_without_schemas_to_name_is_a_target_itself(fleet: Fleet, second: Database) -> None:
    fleet.declare(
        f"[[targets]]\ndatabases_query = \"SELECT datname FROM pg_database WHERE datname = '{second.name}'\"\n"
    )

    assert fleet.up()["states"] == {"succeeded": 1}
    assert await second.fetchval("SELECT count(*) FROM public.a") == 1


async def test_one_that_fails_is_named_and_the_others_are_done(fleet: Fleet) -> None:
    fleet.schemas(names(5))
    fleet.declare(TENANTS)
    fleet.database.psql("CREATE TABLE tenant_3.a ()")

    document = fleet.up(1)

    assert document["states"] == {"failed": 1, "succeeded": 4}
    problem = fleet.problem(document, "tenant_3.schema_migrations")
    assert (problem["state"], problem["reason"]) == ("failed", "migration_failed")
    assert "0001_a.up.sql" in problem["message"]
    assert await fleet.database.fetchval("SELECT to_regclass('tenant_3.schema_migrations')") is not None

    fleet.database.psql("DROP TABLE tenant_3.a")
    assert fleet.up()["migrations"] == 2


def test_a_schema_that_is_not_there_is_refused_and_not_made(fleet: Fleet) -> None:
    fleet.schemas(["tenant_0"])
    fleet.declare('[[targets]]\nschemas = ["tenant_0", "tenant_gone"]\n')

    document = fleet.up(3)

    assert document["states"] == {"refused": 1, "succeeded": 1}
    assert "schema tenant_gone" in fleet.problem(document, "tenant_gone.schema_migrations")["message"]
    assert fleet.database.psql("SELECT count(*) FROM pg_namespace WHERE nspname = 'tenant_gone'") == "0"


def test_a_target_whose_owner_lacks_rights_is_refused_with_the_sql_that_helps(fleet: Fleet) -> None:
    fleet.schemas(names(2))
    fleet.database.psql(
        f"CREATE ROLE m_{fleet.database.name} LOGIN PASSWORD 'm';"
        f"GRANT CREATE ON DATABASE {fleet.database.name} TO m_{fleet.database.name};"
        f"GRANT USAGE, CREATE ON SCHEMA tenant_0 TO m_{fleet.database.name}"
    )
    fleet.declare(TENANTS)

    document = fleet.up(3, DB_URL=fleet.database.dsn_as(f"m_{fleet.database.name}", "m"))

    assert document["states"] == {"refused": 1, "succeeded": 1}
    assert "GRANT USAGE, CREATE ON SCHEMA" in fleet.problem(document, "tenant_1.schema_migrations")["hint"]


async def test_a_strangers_trigger_on_the_home_half_is_refused_before_anything_is_written(fleet: Fleet) -> None:
    fleet.schemas(names(1))
    fleet.declare(TENANTS)
    fleet.up()
    fleet.database.psql("""
        CREATE FUNCTION public.planted() RETURNS trigger LANGUAGE plpgsql
            AS 'BEGIN CREATE TABLE public.planted (); RETURN NEW; END';
        CREATE TRIGGER planted BEFORE INSERT OR UPDATE ON tidegate.target FOR EACH ROW EXECUTE FUNCTION public.planted()
    """)
    fleet.schemas(["tenant_new"])

    process = fleet.start("up", "--source", fleet.source)

    assert process.wait() == 3, process.report()
    assert "planted" in process.stderr
    assert await fleet.database.fetchval("SELECT to_regclass('public.planted')") is None


def test_an_unreachable_database_among_others_is_named_and_the_others_are_done(fleet: Fleet, second: Database) -> None:
    fleet.schemas(names(2))
    fleet.declare(
        TENANTS + '[[targets]]\nname = "far"\ntable = "far_migrations"\ndatabase = { env = "FAR" }\nschemas = ["s"]\n'
    )

    document = fleet.up(5, FAR=second.dsn.replace(second.name, "not_there"))

    assert document["states"] == {"succeeded": 2, "unreachable": 1}
    problem = fleet.problem(document, "far/not_there/s.far_migrations")
    assert (problem["reason"], "not_there" in problem["message"]) == ("no_such_database", True)


def test_a_database_that_is_away_keeps_no_command_waiting_once_its_line_is_halted(fleet: Fleet) -> None:
    fleet.schemas(names(3))
    fleet.database.psql("".join(f"CREATE TABLE {name}.a ();" for name in names(3)))
    fleet.declare(
        '[[targets]]\nname = "far"\ndatabase = { env = "FAR" }\nschemas = ["s"]\n'
        + TENANTS
        + "[limits]\nerror_budget = 1\n"
    )

    document = fleet.up(1, FAR=f"postgres://u@127.0.0.1:{free_port()}/far")

    assert document["states"]["unreachable"] == 1
    assert document["states"]["failed"] >= 1


def test_a_query_that_loses_its_connection_is_told_as_that(fleet: Fleet) -> None:
    fleet.schemas(names(2))
    fleet.declare(
        TENANTS
        + '[[targets]]\ntable = "other"\nschemas_query = "SELECT pg_terminate_backend(pg_backend_pid())::text"\n'
    )

    document = fleet.up(5)

    assert document["states"] == {"succeeded": 2}
    assert "the connection was lost" in document["misdeclared"][0]["message"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[targets]", "is no TOML"),
        ("", "declares no targets"),
        (
            "[[targets]]\nschema = 'a'",
            "has no key 'schema'\n  hint: it has database, databases, databases_query, line, ",
        ),
        ("[[targets]]\nschemas = ['a', 'a']", "yields 'a' twice"),
        ("[[targets]]\nschemas = ['a']\n[[targets]]\nschemas = ['a']", "declares the target a.schema_migrations twice"),
        ("[[targets]]\ndatabase = 'postgres://u:sesame@h/d'\nschemas = ['a']", "holds a password"),
        ("[[targets]]\ndatabase = { env = 'NOT_SET' }\nschemas = ['a']", "NOT_SET is not set"),
        ("[[targets]]\nschemas = ['a']\nschemas_query = 'SELECT 1'", "schemas and schemas_query"),
        ("[[targets]]\nschemas = ['a']\n[limits]\nworkers = 0", "workers = 0"),
        ("[[targets]]\nschemas = ['a']\n[limits]\nerror_budget = '200%'", "error_budget"),
        ("[[targets]]\nschemas_query = 'SELECT 1'", "type int"),
        ("[[targets]]\nschemas_query = 'SELECT NULL::text'", "yields NULL"),
        ("[[targets]]\nschemas_query = \"SELECT 'x' WHERE false\"", "yields no schemas"),
        ("[[targets]]\nschemas_query = \"SELECT 'a' FROM generate_series(1, 2)\"", "yields 'a' twice"),
        ("[[targets]]\nschemas_query = \"SELECT 'a', 'b'\"", "yields 2 columns"),
        ("[[targets]]\nschemas_query = 'SELECT nonsense'", "is refused"),
        ("[[targets]]\nschemas_query = 'DROP TABLE x; SELECT 1'", "is refused"),
        ("[[targets]]\nschemas_query = 'CREATE TABLE oops ()'", "is refused"),
    ],
)
def test_a_wrong_declaration_is_one_clear_message_with_no_secret_and_no_traceback(
    fleet: Fleet, text: str, message: str
) -> None:
    fleet.declare(text)

    process = fleet.start("up", "--source", fleet.source)

    assert process.wait() == 2, process.report()
    said = process.stdout + process.stderr
    assert message in said
    assert "sesame" not in said
    assert "Traceback" not in said


def test_a_wrong_group_leaves_the_others_alone(fleet: Fleet) -> None:
    fleet.schemas(names(2))
    fleet.declare(TENANTS + '[[targets]]\ntable = "other"\nschemas_query = "SELECT nonsense"\n')

    document = fleet.up(2)

    assert document["states"] == {"succeeded": 2}
    assert "nonsense" in document["misdeclared"][0]["message"]


def test_a_group_that_cannot_be_read_keeps_its_targets_and_one_that_lacks_some_has_them_gone(fleet: Fleet) -> None:
    fleet.schemas(names(3))
    fleet.declare(TENANTS)
    fleet.up()

    fleet.declare(TENANTS.replace("nspname FROM", "nonsense FROM"))
    assert fleet.up(2)["targets"] == 3
    fleet.declare('[[targets]]\nschemas = ["tenant_0"]\n')
    assert fleet.up()["targets"] == 1


def test_the_error_budget_halts_the_rest_and_retry_goes_on(fleet: Fleet) -> None:
    fleet.schemas(names(8))
    fleet.database.psql("".join(f"CREATE TABLE {name}.a ();" for name in names(8)))
    fleet.declare(TENANTS + "[limits]\nworkers = 1\nerror_budget = 2\n")

    document = fleet.up(1)

    # A failure has what was claimed besides handed back, so that the budget is asked before the next one.
    assert document["states"] == {"failed": 2, "due": 6}
    fleet.database.psql("".join(f"DROP TABLE {name}.a;" for name in names(8)))
    assert fleet.up()["states"] == {"succeeded": 8}


async def test_what_counts_against_the_budget_is_told_as_it_is_claimed_by(fleet: Fleet) -> None:
    fleet.schemas(names(8))
    fleet.database.psql("".join(f"CREATE TABLE {name}.a ();" for name in names(8)))
    fleet.declare(TENANTS + "[limits]\nworkers = 1\nerror_budget = 2\n")
    assert fleet.up(1)["states"] == {"failed": 2, "due": 6}

    async def spent() -> dict[str, int]:
        rows = await fleet.database.fetch(queries("fleet", "tidegate")["spent"], ["schema_migrations", "none"])
        return {row["line"]: row["targets"] for row in rows}

    assert await spent() == {"schema_migrations": 2}
    # One that is paused is counted as such, and has failed all the same; one that was forgiven is a failure to mend.
    assert fleet.start("pause", "--target", "tenant_0.schema_migrations").wait() == 0
    assert await spent() == {"schema_migrations": 2}
    assert fleet.start("resume", "--target", "tenant_0.schema_migrations").wait() == 0
    assert await spent() == {"schema_migrations": 1}
    assert fleet.start("resume").wait() == 0
    assert await spent() == {}
    status = fleet.start("status")
    assert status.wait() == 0
    assert "schema_migrations: 2 failed" in status.stdout


def test_a_named_target_alone_is_done_and_an_unknown_one_is_refused(fleet: Fleet) -> None:
    fleet.schemas(names(3))
    fleet.declare(TENANTS)

    assert fleet.up(0, "--target", "tenant_1.schema_migrations")["states"] == {"due": 2, "succeeded": 1}
    process = fleet.start("up", "--source", fleet.source, "--target", "nobody")
    assert process.wait() == 2
    assert "--target nobody: the fleet has no such target" in process.stderr


def test_what_is_paused_is_left_and_status_tells_it(fleet: Fleet) -> None:
    fleet.schemas(names(3))
    fleet.declare(TENANTS)
    fleet.up()
    assert fleet.start("pause", "--target", "tenant_1.schema_migrations").wait() == 0
    fleet.migrations(CLASH)

    assert fleet.up()["states"] == {"paused": 1, "succeeded": 2}
    assert fleet.start("resume").wait() == 0
    status = fleet.start("status")
    assert status.wait() == 0
    assert "schema_migrations: 1 due" in status.stdout
    assert fleet.up()["migrations"] == 1


def test_status_writes_nothing_and_says_what_is_missing_where_no_fleet_is_known(fleet: Fleet) -> None:
    fleet.declare(TENANTS)

    process = fleet.start("status")

    assert process.wait() == 3
    assert "knows of no fleet" in process.stderr
    assert fleet.database.psql("SELECT count(*) FROM pg_namespace WHERE nspname = 'tidegate'") == "0"


async def test_a_migration_that_resets_its_search_path_fails_rather_than_hit_another_schema(fleet: Fleet) -> None:
    fleet.schemas(["tenant_0"])
    fleet.declare(TENANTS)
    fleet.migrations({"0003_c.up.sql": "RESET search_path; CREATE TABLE stray ()"})

    document = fleet.up(1)

    assert "no schema has been selected" in document["troubled"][0]["message"]
    assert await fleet.database.fetchval("SELECT count(*) FROM pg_class WHERE relname = 'stray'") == 0


@pytest.mark.parametrize("first", ["", "-- tidegate: gate=off"], ids=["short way", "usual way"])
async def test_nothing_of_a_session_reaches_the_next_target(fleet: Fleet, first: str) -> None:
    fleet.schemas(names(4))
    fleet.declare(TENANTS + "[limits]\nworkers = 1\n")
    # A lock that is taken twice and a setting that is set anew would not be noticed: what is there is asked for.
    fleet.migrations(
        {
            "0003_c.up.sql": (
                f"{first}\nCREATE TABLE found AS SELECT coalesce(current_setting('app.tenant', true), '') AS tenant,"
                " current_setting('work_mem') AS memory, (SELECT count(*) FROM pg_listening_channels()) AS channels,"
                " (SELECT count(*) FROM pg_locks"
                " WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objid = 4711) AS locks;"
                "CREATE TEMP TABLE left_over (a int); PREPARE p AS SELECT 1; SET work_mem = '3MB'; LISTEN x;"
                "SELECT pg_advisory_lock(4711); SELECT set_config('app.tenant', current_schema(), false);"
            )
        }
    )

    assert fleet.up()["states"] == {"succeeded": 4}
    for name in names(4):
        found = await fleet.database.fetchrow(f"SELECT tenant, memory, channels, locks FROM {name}.found")
        assert tuple(found or ()) == ("", "4MB", 0, 0), name


def test_verbs_for_one_target_refuse_a_fleet_and_a_named_target_needs_one(fleet: Fleet) -> None:
    fleet.declare(TENANTS)
    for verb in (("down",), ("goto", "1"), ("force", "1"), ("plan",), ("version",)):
        process = fleet.start(*verb)
        assert process.wait() == 2, process.report()
        assert "fleet" in process.stderr
    process = fleet.lone("up", "--target", "x")
    assert process.wait() == 2
    assert "--target names a target of a fleet" in process.stderr
