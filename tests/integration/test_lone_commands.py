"""What a lone command states, says and refuses where the home half of the control schema lies in another database."""

import pytest

from tests.fixtures.cluster import PASSWORD, SUPERUSER
from tests.fixtures.command_line import content
from tests.fixtures.network import free_port
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database, fresh_database
from tests.fixtures.tenants import HOME_TABLES, LEDGER, THREE, Tenant

ROW = "SELECT bundle, versions, lowest_pending, serves, array_to_string(bundles, ' ') FROM tidegate.readiness"
FOUR = {"0004_d.up.sql": "CREATE TABLE d ()"}
SERVES = {"bundle.toml": "serves = 2"}


def labels(database: Database) -> set[str]:
    """What the readiness row of the one target says that it is ready for."""
    return set(database.psql("SELECT unnest(bundles) FROM tidegate.readiness").split())


@pytest.fixture
def label(tenant: Tenant) -> str:
    """The label that only the fleet's home knows."""
    (known,) = labels(tenant.database)
    # Other content, and so another label, from here on.
    tenant.migrations({"bundle.toml": ""})
    return known


def test_what_the_fleet_s_gates_wait_for_stays_met_when_a_lone_command_applies_more(tenant: Tenant, label: str) -> None:
    for more, own in ((THREE, "3.0"), (FOUR, "4.0")):
        tenant.migrations(more)
        tenant.sourced("up", "--label", own).is_fine()
        tenant.lone("wait", "--bundle", label, "--timeout", "0").is_fine()
    assert labels(tenant.database) == {label, "3.0", "4.0"}


def test_a_gate_of_the_fleet_closes_with_what_a_lone_command_undoes_until_the_fleet_s_next_job(
    tenant: Tenant, label: str
) -> None:
    tenant.sourced("down", "1", "--yes").is_fine("version 1")
    assert labels(tenant.database) == set()
    tenant.lone("wait", "--at-least", "1", "--timeout", "0").is_fine()

    tenant.sourced("up").is_fine("version 2")
    assert label not in labels(tenant.database), "what is applied again may be another file's"
    tenant.fleet("up").is_fine()
    assert label in labels(tenant.database)


def test_a_lone_job_of_which_a_migration_fails_leaves_the_fleet_s_gates_open(tenant: Tenant, label: str) -> None:
    tenant.migrations({**THREE, "0004_d.up.sql": "SELECT 1/0"})
    assert tenant.sourced("up", "--label", "4.0").code == 1
    assert labels(tenant.database) == {label}
    assert tenant.database.psql(LEDGER) == "1 2 3"


def test_a_bundle_that_ends_the_service_of_older_ones_closes_the_gates_of_labels_that_are_not_known(
    tenant: Tenant,
) -> None:
    tenant.migrations({**THREE, "bundle.toml": "serves = 3"})
    tenant.sourced("up", "--label", "3.0").is_fine("version 3")
    assert labels(tenant.database) == {"3.0"}


def test_a_lone_force_leaves_standing_what_the_fleet_wants_and_serves(tenant: Tenant) -> None:
    tenant.migrations(SERVES)
    tenant.fleet("up", "--label", "2.0").is_fine()
    before = tenant.database.psql(ROW)
    assert before.startswith("2.0|{1,2}||2|")

    tenant.lone("force", "2").is_fine("version 2")

    assert tenant.database.psql(ROW) == before
    assert (
        tenant.database.psql("SELECT tidegate.ready(1), tidegate.ready(2), tidegate.ready(bundle => '2.0')") == "f|t|t"
    )
    tenant.lone("force", "1").is_fine("version 1")
    assert tenant.database.psql(ROW) == "2.0|{1}|2|2|"


def test_the_fleet_opens_its_gates_again_once_what_a_lone_force_took_away_is_back(tenant: Tenant) -> None:
    (label,) = labels(tenant.database)
    tenant.lone("force", "1").is_fine("version 1")
    tenant.lone("force", "2").is_fine("version 2")
    assert labels(tenant.database) == set()

    tenant.fleet("resume", "--target", f"{tenant.database.name}/public.schema_migrations").is_fine()
    tenant.fleet("up").is_fine()

    assert labels(tenant.database) == {label}
    tenant.lone("wait", "--bundle", label, "--timeout", "0").is_fine()


def test_a_row_that_a_lone_command_finds_to_be_stale_is_stated_anew_in_the_fleet_s_words(
    tenant: Tenant, label: str
) -> None:
    tenant.database.psql("UPDATE schema_migrations SET version = 3")
    tenant.lone("up").is_fine("said in another database")
    assert tenant.database.psql("SELECT version_table, bundle FROM tidegate.readiness") == f"diverged|{label}"
    tenant.database.psql("UPDATE schema_migrations SET version = 2")
    tenant.lone("up").is_fine("said in another database")
    assert tenant.database.psql(HOME_TABLES) == ""
    assert tenant.database.psql(f"SELECT tidegate.ready(bundle => '{label}')") == "t"


def test_in_a_copied_database_the_fleet_s_row_says_nothing(tenant: Tenant) -> None:
    with fresh_database(tenant.database.server) as copy:
        copy.server.psql(f"DROP DATABASE {copy.name}; CREATE DATABASE {copy.name} TEMPLATE {tenant.database.name}")
        assert tenant.lone("wait", "--at-least", "2", "--timeout", "0", DB_URL=copy.dsn).code == 4
        tenant.lone("up", DB_URL=copy.dsn).is_fine("said in another database")
        tenant.lone("wait", "--at-least", "2", "--timeout", "0", DB_URL=copy.dsn).is_fine()
        assert labels(copy) == set()
        tenant.sourced("up", "--label", "own", DB_URL=copy.dsn).is_fine("nothing to do")
        assert labels(copy) == {"own"}


def test_a_fleet_that_takes_a_database_over_leaves_the_gates_of_its_own_labels_open(tenant: Tenant) -> None:
    with fresh_database(tenant.database.server) as late:
        tenant.sourced("up", "--label", "own", DB_URL=late.dsn).is_fine("version 2")
        (tenant.folder / "fleet.toml").write_text(f'[[targets]]\ndatabases = ["{late.name}"]\n')
        tenant.migrations(THREE)
        tenant.fleet("up", "--label", "3.0").is_fine()
        assert labels(late) > {"own", "3.0"}


def test_status_and_up_say_that_a_fleet_s_home_says_what_is_wanted_and_how_to_ask_there(tenant: Tenant) -> None:
    way = f"say --fleet FILE, and for this one --target {tenant.database.name}/public.schema_migrations"
    tenant.lone("status").is_fine("said in another database", way)
    tenant.lone("up").is_fine("said in another database", way)

    (status,) = tenant.lone("status", "--json").document["targets"]
    assert (status["wanted"], status["elsewhere"]) == (None, way)
    up = tenant.lone("up", "--json").document
    assert (up["result"], way in up["why"]) == ("nothing_wanted", True)
    for words in (("plan",), ("goto", "1"), ("down",), ("goto", "1", "--yes"), ("down", "--yes")):
        tenant.lone(*words).is_error(3, "no bundle is published here", "say --source DIR", way)
    assert tenant.database.psql(HOME_TABLES) == ""

    (target,) = tenant.fleet("status", "--json", "--target", way.rpartition(" ")[2]).document["targets"]
    assert (target["wanted"] is not None, target["elsewhere"]) == (True, None)


def test_a_target_whose_home_half_is_here_is_asked_here(tenant: Tenant) -> None:
    tenant.lone("admin", "upgrade").is_fine()
    (status,) = tenant.lone("status", "--json").document["targets"]
    assert (status["wanted"], status["elsewhere"]) == (None, None)
    tenant.lone("up").is_fine("nothing is published on schema_migrations")


STRANGERS = {
    "CREATE TABLE tidegate.bundle (precious int)": "table tidegate.bundle",
    "CREATE VIEW tidegate.target AS SELECT 1 AS precious": "view tidegate.target",
    "CREATE TABLE tidegate.other (a int); CREATE INDEX target_due ON tidegate.other (a)": "index tidegate.target_due",
}


@pytest.mark.parametrize(("stranger", "what"), STRANGERS.items(), ids=STRANGERS.values())
@pytest.mark.parametrize("words", [("up",), ("down", "1", "--yes"), ("force", "1"), ("admin", "upgrade")])
def test_what_has_the_name_of_a_table_of_the_home_half_is_named_and_nothing_is_changed(
    tenant: Tenant, stranger: str, what: str, words: tuple[str, ...]
) -> None:
    tenant.database.psql(stranger)
    before = content(tenant.database)
    tenant.migrations(THREE)

    tenant.sourced(*words).is_error(
        3, f"{what}, which belongs to role {SUPERUSER}", f"ALTER {what[:4].upper()}", "--fleet"
    )

    assert content(tenant.database) == before


def test_what_has_the_name_of_a_table_of_the_home_half_keeps_no_look_and_no_fleet_from_the_truth(
    tenant: Tenant,
) -> None:
    tenant.database.psql("CREATE TABLE tidegate.bundle (precious int); CREATE TABLE tidegate.job (precious int)")
    (status,) = tenant.lone("status", "--json").document["targets"]
    assert (status["version"], status["applied"], status["elsewhere"] is None) == (2, 2, False)
    assert [row["version"] for row in tenant.lone("history", "--json").document] == [2, 1]
    tenant.lone("wait", "--at-least", "2", "--timeout", "0").is_fine()
    tenant.lone("pause").is_error(3, "is a target of a fleet")
    tenant.migrations(THREE)
    assert tenant.fleet("up", "--json").document["migrations"] == 1


def test_a_type_with_the_name_of_a_table_of_the_home_half_is_refused_too(tenant: Tenant) -> None:
    tenant.database.psql("CREATE TYPE tidegate.job AS ENUM ('painter')")
    tenant.migrations(THREE)
    tenant.sourced("up").is_error(3, 'type "job" already exists', "not Tidegate's")
    assert tenant.database.psql(HOME_TABLES) == ""
    assert tenant.database.psql(LEDGER) == "1 2"


@pytest.mark.parametrize("name", ["bundle", "ledger"])
def test_a_first_run_into_a_schema_that_has_one_of_the_names_makes_nothing(
    database: Database, tenant: Tenant, name: str
) -> None:
    with fresh_database(database.server) as fresh:
        fresh.psql(f"CREATE SCHEMA tidegate; CREATE TABLE tidegate.{name} (precious int)")
        before = content(fresh)
        said = tenant.sourced("up", DB_URL=fresh.dsn)
        said.is_error(3, f"table tidegate.{name}, which belongs to role {SUPERUSER}", "RENAME TO")
        assert "--fleet" not in said.err
        assert content(fresh) == before


def test_a_lone_worker_is_told_what_is_in_its_way_and_goes_on_looking(tenant: Tenant, tidegate: StartTidegate) -> None:
    tenant.database.psql("CREATE TABLE tidegate.bundle (precious int)")
    tenant.migrations(THREE)
    ways = ("--source", tenant.folder / "migrations", "--http-port", str(free_port()))
    worker = tidegate("run", *ways, env={"DB_URL": tenant.database.dsn})
    told = worker.wait_for_event("job.failed")
    worker.terminate()
    assert worker.wait() == 0, worker.report()
    assert "table tidegate.bundle" in told["message"]


def test_a_role_that_only_looks_on_is_told_the_truth_and_where_to_publish(tenant: Tenant) -> None:
    role, psql = f"on_{tenant.database.name}", tenant.database.psql
    psql(
        f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'; GRANT USAGE ON SCHEMA tidegate TO {role};"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA tidegate, public TO {role}"
    )
    its, source = {"DB_URL": tenant.database.dsn_as(role)}, str(tenant.folder / "migrations")
    tenant.migrations(THREE)
    try:
        tenant.lone("status", **its).is_fine("said in another database")
        tenant.lone("up", **its).is_fine("said in another database")
        tenant.lone("publish", source, **its).is_error(3, "holds no bundles here", "say --fleet FILE; or let")
        tenant.lone("pause", **its).is_error(3, "is a target of a fleet")
        tenant.sourced("up", **its).is_error(3, f"but this run acts as {role}")
    finally:
        psql(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert psql(HOME_TABLES) == ""
