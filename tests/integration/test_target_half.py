"""A fleet's database has the target half of the control schema alone, and lone commands there tell the truth."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.fixtures.cluster import PASSWORD, SUPERUSER
from tests.fixtures.fleets import ONE
from tests.fixtures.network import free_port
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database, fresh_database
from tests.fixtures.tenants import HOME_TABLES, LEDGER, THREE, Tenant
from worker.control_schema import control_bundle

HOME = "SELECT max(version) FROM tidegate.home_version"
LATEST = control_bundle("home", "tidegate").latest


def errors(database: Database) -> int:
    """How many errors the server has logged."""
    return database.server.log().count(" ERROR: ")


def test_a_fleet_makes_the_target_half_alone_in_a_target_s_database(tenant: Tenant) -> None:
    assert tenant.database.psql(HOME_TABLES) == ""
    assert tenant.database.psql(HOME) == ""
    assert tenant.database.psql(LEDGER) == "1 2"
    assert tenant.database.psql("SELECT tidegate.ready(2)") == "t"
    assert tenant.home.psql(HOME) == str(LATEST)
    assert tenant.fleet("up", "--json").document["migrations"] == 0


def test_the_verbs_that_look_tell_the_truth_about_a_target_half(tenant: Tenant) -> None:
    (status,) = tenant.lone("status", "--json").document["targets"]
    assert (status["version"], status["applied"], status["wanted"]) == (2, 2, None)
    assert [step["version"] for step in status["panorama"]["steps"]] == [2, 1]
    assert [row["version"] for row in tenant.lone("history", "--json").document] == [2, 1]
    assert tenant.lone("version", "--json").document == {"version": 2, "dirty": False}
    assert tenant.sourced("plan", "--json").document["run"] == []
    assert tenant.lone("bundle", "list", "--json").document == []
    tenant.lone("wait", "--timeout", "5s", "--at-least", "2").is_fine()
    tenant.sourced("doctor").is_fine("0 migrations are pending")
    tenant.lone("doctor", "--gate").is_fine("may read readiness")
    tenant.lone("status", "--drift").is_fine()
    assert tenant.database.psql(HOME_TABLES) == "", "looking makes nothing"


@pytest.mark.parametrize("words", [("publish",), ("up",)])
def test_a_lone_command_makes_the_home_half_and_goes_on_from_the_ledger(tenant: Tenant, words: tuple[str]) -> None:
    tenant.migrations(THREE)
    # Were the version table believed, the first two would be adopted anew.
    tenant.sourced(*words, *([str(tenant.folder / "migrations")] if words == ("publish",) else [])).is_fine()
    tenant.sourced("up").is_fine("version 3")

    assert tenant.database.psql(HOME) == str(LATEST)
    assert tenant.database.psql(LEDGER) == "1 2 3"
    assert tenant.database.psql("SELECT count(*) FROM tidegate.history WHERE action = 'adopt'") == "0"
    (status,) = tenant.lone("status", "--json").document["targets"]
    assert (status["state"], status["pending"]) == ("succeeded", [])
    assert tenant.fleet("up", "--json").document["states"] == {"succeeded": 1}


def test_a_lone_worker_makes_the_home_half_and_goes_on_from_the_ledger(tenant: Tenant, tidegate: StartTidegate) -> None:
    tenant.migrations(THREE)
    ways = ("--source", tenant.folder / "migrations", "--http-port", str(free_port()))
    worker = tidegate("run", *ways, env={"DB_URL": tenant.database.dsn})

    worker.wait_for_event("job.finished")
    worker.terminate()

    assert worker.wait() == 0, worker.report()
    assert tenant.database.psql(HOME) == str(LATEST)
    assert tenant.database.psql(LEDGER) == "1 2 3"
    assert tenant.database.psql("SELECT count(*) FROM tidegate.history WHERE action = 'adopt'") == "0"


def test_a_lone_worker_without_files_waits_at_a_target_half_and_changes_nothing(
    tenant: Tenant, tidegate: StartTidegate
) -> None:
    ways = ("--http-port", str(free_port()), "--poll-interval", "1s")
    worker = tidegate("run", *ways, env={"DB_URL": tenant.database.dsn})
    worker.wait_for_event("target.paused")
    worker.terminate()

    assert worker.wait() == 0, worker.report()
    assert tenant.database.psql(HOME_TABLES) == ""
    assert tenant.database.psql(LEDGER) == "1 2"


@pytest.mark.parametrize("words", [("pause",), ("resume",), ("retry",), ("bundle", "withdraw", "1.0")])
def test_what_a_person_tells_a_fleet_s_target_has_to_be_told_the_fleet(tenant: Tenant, words: tuple[str]) -> None:
    tenant.lone(*words).is_error(
        3, "is a target of a fleet", f"--target {tenant.database.name}/public.schema_migrations"
    )
    assert tenant.database.psql(HOME_TABLES) == ""


def test_a_down_goes_back_from_the_ledger(tenant: Tenant) -> None:
    tenant.sourced("down", "1", "--yes").is_fine("version 1")
    assert tenant.database.psql(LEDGER) == "1"


def test_another_role_than_the_owner_does_not_make_the_home_half(tenant: Tenant) -> None:
    other, psql = f"other_{tenant.database.name}", tenant.database.psql
    psql(
        f"CREATE ROLE {other} LOGIN PASSWORD '{PASSWORD}'; GRANT ALL ON SCHEMA tidegate, public TO {other};"
        f"GRANT ALL ON ALL TABLES IN SCHEMA tidegate, public TO {other};"
        f"GRANT ALL ON ALL FUNCTIONS IN SCHEMA tidegate TO {other};"
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA tidegate TO {other}"
    )
    try:
        said, told = (tenant.sourced(verb, DB_URL=tenant.database.dsn_as(other)) for verb in ("up", "doctor"))
    finally:
        psql(f"DROP OWNED BY {other}; DROP ROLE {other}")

    why = f"the control schema tidegate belongs to role {SUPERUSER}, but this run acts as {other}"
    said.is_error(3, why)
    assert (told.code, why in told.out) == (3, True)
    assert psql(HOME_TABLES) == ""


def test_uninstall_shows_and_drops_a_target_half(tenant: Tenant) -> None:
    lines = [line.split() for line in tenant.lone("admin", "uninstall").out.splitlines()]
    assert ["table", "ledger", tenant.database.psql("SELECT count(*) FROM tidegate.ledger"), "rows"] in lines
    assert not [line for line in lines if line[:2] == ["table", "bundle"]]

    tenant.lone("admin", "uninstall", "--yes").is_fine("public.schema_migrations: version 2, clean")

    assert tenant.database.psql("SELECT to_regnamespace('tidegate') IS NULL") == "t"
    assert tenant.fleet("up", "--json").document["states"] == {"succeeded": 1}
    assert tenant.database.psql(HOME_TABLES) == ""


def test_uninstall_leaves_what_somebody_else_named_like_a_table_of_the_home_half(tenant: Tenant) -> None:
    tenant.database.psql("CREATE TABLE tidegate.bundle (precious int); INSERT INTO tidegate.bundle VALUES (1)")
    tenant.lone("admin", "uninstall", "--yes").is_error(3, "not Tidegate's: table bundle")
    assert tenant.database.psql("SELECT precious FROM tidegate.bundle") == "1"


def test_looking_at_a_target_half_leaves_no_error_in_the_server_s_log(tenant: Tenant) -> None:
    before = errors(tenant.database)
    for words in (("status",), ("plan",), ("up",)):
        tenant.sourced(*words)
    assert errors(tenant.database) == before


def test_a_database_that_has_both_halves_keeps_them(tenant: Tenant) -> None:
    tenant.lone("admin", "upgrade").is_fine()
    before = tenant.database.psql(HOME_TABLES)
    tenant.migrations(THREE)

    assert tenant.fleet("up", "--json").document["migrations"] == 1

    assert before == tenant.database.psql(HOME_TABLES) == "bundle bundle_file job job_event target wanted_seq"
    assert tenant.database.psql(LEDGER) == "1 2 3"


def test_a_role_without_create_is_refused_and_nothing_is_made(
    database: Database, far: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = f"poor_{far.name}"
    far.psql(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'; GRANT ALL ON SCHEMA public TO {name}")
    request.addfinalizer(lambda: far.psql(f"DROP OWNED BY {name}; DROP ROLE {name}"))
    (tmp_path / "migrations").mkdir()
    (tmp_path / "fleet.toml").write_text('[[targets]]\nname = "far"\ndatabase = { env = "FAR" }\n')
    tenant = Tenant(far, database, tmp_path)
    tenant.migrations(ONE)

    said = tenant.fleet("up", FAR=far.dsn_as(name))

    assert said.code == 3
    assert "CREATE ON DATABASE" in said.out + said.err
    assert far.psql("SELECT to_regnamespace('tidegate') IS NULL AND to_regclass('a') IS NULL") == "t"


def test_two_workers_at_once_make_one_target_half(tidegate: StartTidegate, database: Database, far: Database) -> None:
    homes = [database, far]
    with fresh_database(database.server) as shared, TemporaryDirectory() as folder:
        source, file = Path(folder) / "migrations", Path(folder) / "fleet.toml"
        source.mkdir()
        for name, sql in ONE.items():
            (source / name).write_text(sql)
        file.write_text(f'[[targets]]\ndatabases = ["{shared.name}"]\n')

        words = ("up", "--fleet", file, "--source", source)
        # Of two fleets, so that no claim keeps one of them from the database.
        workers = [tidegate(*words, env={"DB_URL": home.dsn}) for home in homes]

        for worker in workers:
            assert worker.wait() == 0, worker.report()
        assert shared.psql(LEDGER) == "1 2"
        assert shared.psql("SELECT count(*) FROM tidegate.ledger WHERE target = 'tidegate.target_version'") == str(
            len(control_bundle("target", "tidegate").migrations)
        )
        assert shared.psql(HOME_TABLES) == ""
