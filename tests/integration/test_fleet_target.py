"""`--target`: the verbs for one target find the one of the fleet that is meant, and leave the others alone."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.command_line import Said, call
from tests.fixtures.fleets import ONE, TENANTS, names
from tests.fixtures.servers import Database, fresh_database
from worker.cli.arguments import parse

Tidegate = Callable[..., Said]
DOWN = {"0001_a.down.sql": "DROP TABLE a", "0002_b.down.sql": "DELETE FROM a"}


@pytest.fixture
def far(database: Database) -> Iterator[Database]:
    with fresh_database(database.server) as other:
        yield other


@pytest.fixture
def fleet(database: Database, far: Database, tmp_path: Path) -> Tidegate:
    """The program, for a fleet of tenants in the home's database and in another one that a reference names."""
    database.psql("".join(f"CREATE SCHEMA {name};" for name in names(3)))
    far.psql("CREATE SCHEMA tenant_1; CREATE SCHEMA tenant_far")
    source, file = tmp_path / "migrations", tmp_path / "fleet.toml"
    source.mkdir()
    for name, sql in {**ONE, **DOWN}.items():
        (source / name).write_text(sql)
    file.write_text(TENANTS + TENANTS.replace("]]", ']]\nname = "far"\ndatabase = { env = "FAR" }'))

    def run(*words: object, **env: str) -> Said:
        usual = {"DB_URL": database.dsn, "FAR": far.dsn, "DB_SCHEMA_DIR": str(source)}
        return call(*words, "--fleet", file, **{**usual, **env})

    return run


def called(far: Database, schema: str = "tenant_far") -> str:
    return f"far/{far.name}/{schema}.schema_migrations"


def version_in(database: Database, schema: str) -> str:
    return database.psql(f"SELECT max(version) FROM {schema}.schema_migrations")


def test_one_target_is_looked_at_by_each_verb_that_looks(fleet: Tidegate, far: Database) -> None:
    fleet("up").is_fine()
    for name in ("tenant_0.schema_migrations", called(far)):
        assert fleet("version", "--json", "--target", name).document == {"version": 2, "dirty": False}
        assert [row["version"] for row in fleet("history", "--json", "--target", name).document] == [2, 1]
        assert fleet("plan", "--json", "--target", name).document["run"] == []
        (status,) = fleet("status", "--json", "--target", name).document["targets"]
        assert (status["version"], status["wanted"]) == (2, status["readiness"]["bundle"])
        assert [bundle["state"] for bundle in status["panorama"]["bundles"]] == ["succeeded"]
        assert {each["severity"] for each in fleet("doctor", "--json", "--target", name).document} <= {"ok", "warning"}
        fleet("doctor", "--gate", "--target", name).is_fine("may read readiness")


def test_one_target_is_undone_and_the_workers_leave_it_until_it_is_resumed(
    fleet: Tidegate, database: Database, far: Database
) -> None:
    fleet("up").is_fine()
    for place, schema, name in ((database, "tenant_0", "tenant_0.schema_migrations"), (far, "tenant_far", called(far))):
        planned = fleet("plan", "--down", "1", "--json", "--target", name).document["run"]
        assert [(each["version"], each["direction"]) for each in planned] == [(2, "down")]
        fleet("down", "1", "--yes", "--target", name).is_fine("it is at version 1")
        assert version_in(place, schema) == "1"
        assert version_in(database, "tenant_2") == "2"
        assert fleet("up", "--json").document["states"] == {"left_alone": 1, "succeeded": 4}
        fleet("resume", "--target", name).is_fine("1 target resumed")
        assert fleet("up", "--json").document["states"] == {"succeeded": 5}
        assert version_in(place, schema) == "2"


def test_one_target_is_brought_to_a_version_and_forced_to_one(fleet: Tidegate, far: Database) -> None:
    fleet("up").is_fine()
    name = called(far)
    fleet("goto", "1", "--yes", "--target", name).is_fine("it is at version 1")
    fleet("up", "1", "--target", name).is_fine("it is at version 2")
    fleet("force", "1", "--target", name).is_fine("recorded at version 1")
    assert version_in(far, "tenant_far") == "1"
    assert version_in(far, "tenant_1") == "2"
    fleet("admin", "adopt", "--target", name).is_fine("nothing to do")
    fleet("admin", "repair", "--target", name).is_fine("nothing differs")


def test_a_target_that_was_paused_before_its_first_run_is_resumed_and_one_without_its_schema_too(
    fleet: Tidegate, far: Database
) -> None:
    fleet("up", "--target", "tenant_0.schema_migrations").is_fine()
    fleet("pause", "--target", "tenant_far").is_fine("1 target paused")
    fleet("resume", "--target", "tenant_far").is_fine("1 target resumed")
    far.psql("DROP SCHEMA tenant_far")
    fleet("pause", "--target", "tenant_far").is_fine("1 target paused")
    fleet("resume", "--target", "tenant_far").is_fine("1 target resumed")


def test_drift_is_found_in_a_target_whose_catalogue_a_person_took_as_right(fleet: Tidegate, far: Database) -> None:
    fleet("up").is_fine()
    name = called(far)
    assert fleet("status", "--drift", "--json", "--target", name).document["unknown"]
    fleet("admin", "fingerprint", "--target", name).is_fine("right as it is now")
    far.psql("ALTER TABLE tenant_far.a ADD COLUMN by_hand int")
    drift = fleet("status", "--drift", "--json", "--target", name).document
    assert [each["object"] for each in drift["differences"]] == ["tenant_far.a.by_hand"]


def test_a_plan_of_a_target_that_no_run_has_recorded_is_made_from_the_file(fleet: Tidegate, database: Database) -> None:
    planned = fleet("plan", "--json", "--target", "tenant_2").document
    assert [each["version"] for each in planned["run"]] == [1, 2]
    assert database.psql("SELECT count(*) FROM pg_namespace WHERE nspname = 'tidegate'") == "0"


def test_a_schema_is_enough_where_one_target_has_it(fleet: Tidegate, far: Database) -> None:
    fleet("up").is_fine()
    fleet("version", "--target", "tenant_far").is_fine("2")
    fleet("version", "--target", f"far/{far.name}/tenant_1").is_fine("2")
    fleet("pause", "--target", "tenant_far").is_fine("1 target paused")
    assert fleet("up", "--json", "--target", "tenant_0").document["states"] == {"paused": 1, "succeeded": 4}


@pytest.mark.parametrize("verb", ["version", "pause", "retry", "up", "status", "plan"])
def test_a_target_that_is_not_there_or_not_told_apart_is_refused(fleet: Tidegate, far: Database, verb: str) -> None:
    fleet("up").is_fine()
    fleet(verb, "--target", "nobody").is_error(2, "--target nobody: the fleet has no such target")
    fleet(verb, "--target", "tenant_1").is_error(
        2, "--target tenant_1 could be several", "tenant_1.schema_migrations", called(far, "tenant_1")
    )


def test_a_verb_for_one_target_says_that_a_fleet_is_set_and_how_to_go_on(fleet: Tidegate) -> None:
    for verb in ("down", "goto 1", "force 1", "plan", "version", "history", "up 1", "doctor --gate", "admin adopt"):
        fleet(*verb.split()).is_error(2, "is for one target, and a fleet is set", "say which: --target NAME")
    for verb in ("status --drift", "status --watch", "wait --at-least 1"):
        fleet(*verb.split()).is_error(2, "is for one target, and a fleet is set", "--target NAME")
    fleet("publish", ".", "--wait").is_error(2, "--wait is for one target, and a fleet is set", "--target NAME")
    fleet("create", "name").is_error(2, "create takes no --fleet")


def test_the_help_of_each_verb_for_one_target_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    verbs = ("down", "goto", "force", "plan", "status", "history", "version", "doctor", "retry", "up", "wait", "pause")
    for words in [*((verb,) for verb in verbs), *(("admin", what) for what in ("adopt", "repair", "fingerprint"))]:
        with pytest.raises(SystemExit):
            parse([*words, "--help"])
        assert "--target NAME" in capsys.readouterr().out, words


def test_the_exit_code_of_up_is_of_the_targets_that_were_named(fleet: Tidegate, database: Database) -> None:
    database.psql("CREATE TABLE tenant_1.a ()")
    assert fleet("up").code == 1
    fleet("up", "--target", "tenant_2").is_fine()
    assert fleet("up", "--target", "tenant_1.schema_migrations").code == 1


def test_a_named_target_that_is_left_as_it_is_has_up_say_why_and_exit_3(
    fleet: Tidegate, database: Database, tmp_path: Path
) -> None:
    (tmp_path / "fleet.toml").write_text(TENANTS + "[limits]\nerror_budget = 1\n")
    fleet("up", "--target", "tenant_1").is_fine()
    (tmp_path / "migrations" / "0003_c.up.sql").write_text("CREATE TABLE c ()")
    database.psql("CREATE TABLE tenant_0.c ()")
    assert fleet("up", "--target", "tenant_0").code == 1

    why = "the line schema_migrations is halted: 1 ended badly, and 1 may"
    for name in ("tenant_1", "tenant_2"):
        said = fleet("up", "--target", name)
        assert (said.code, f"{name}.schema_migrations: {why}" in said.out) == (3, True), said
    (left,) = fleet("up", "--json", "--target", "tenant_1").document["left"]
    assert (left["target"], left["state"], left["message"]) == ("tenant_1.schema_migrations", "due", why)

    fleet("resume").is_fine("3 targets resumed")
    fleet("up", "--target", "tenant_1").is_fine()
    for name, code in (("tenant_1", 0), ("tenant_2", 3)):
        fleet("pause", "--target", name).is_fine()
        said = fleet("up", "--target", name)
        assert (said.code, f"tidegate resume --target {name}.schema_migrations" in said.out) == (code, code == 3), said
    assert "paused by " in said.out


def test_up_ends_the_pin_of_a_target_that_it_names_and_of_no_other(fleet: Tidegate, database: Database) -> None:
    fleet("up").is_fine()
    for name in ("tenant_0", "tenant_2"):
        fleet("down", "1", "--yes", "--target", name).is_fine()
    fleet("up", "--target", "tenant_0").is_fine()
    assert [version_in(database, name) for name in ("tenant_0", "tenant_2")] == ["2", "1"]
    fleet("down", "1", "--yes", "--target", "tenant_0").is_fine()
    fleet("pause", "--target", "tenant_0").is_fine()
    assert fleet("up", "--target", "tenant_0").code == 3
    assert version_in(database, "tenant_0") == "1"


def test_a_gate_waits_for_one_target_with_a_role_that_reads_readiness_alone(fleet: Tidegate, far: Database) -> None:
    reader = f"gate_of_{far.name}"
    far.psql("DROP SCHEMA tenant_1; CREATE TABLE tenant_far.a ()")
    assert fleet("up").code == 1
    far.psql(
        f"CREATE ROLE {reader} LOGIN PASSWORD 'sesame'; GRANT USAGE ON SCHEMA tidegate TO {reader};"
        f"GRANT SELECT ON tidegate.readiness TO {reader}"
    )
    env, name = {"FAR": far.dsn_as(reader, "sesame"), "DB_URL": "postgres://nobody@127.0.0.1:1/home"}, called(far)
    said = fleet("wait", "--at-least", "2", "--target", name, "--timeout", "0", **env)
    assert (said.code, "version 2 is not applied" in said.err) == (4, True), said
    far.psql("DROP TABLE tenant_far.a")
    fleet("retry").is_fine("1 target to be tried again")
    fleet("up").is_fine()
    fleet("wait", "--at-least", "2", "--target", name, "--timeout", "0", **env).is_fine()
    fleet("wait", "--at-least", "2", "--target", "tenant_0.schema_migrations", "--timeout", "0").is_fine()
    fleet("wait", "--at-least", "2", "--target", "x").is_error(2, "no group of the fleet can have such a target")


def test_one_line_is_paused_resumed_and_tried_again_alone(fleet: Tidegate, database: Database, tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    database.psql("CREATE SCHEMA audit")
    file.write_text(TENANTS + '[[targets]]\nline = "audit"\ntable = "audits"\nschemas = ["audit"]\n')
    fleet("up").is_fine()

    fleet("pause", "--line", "audit").is_fine("1 target paused")
    assert states(fleet) == {"audit": {"paused": 1}, "schema_migrations": {"succeeded": 3}}
    fleet("resume", "--line", "audit").is_fine("1 target resumed")
    assert states(fleet) == {"audit": {"succeeded": 1}, "schema_migrations": {"succeeded": 3}}
    fleet("retry", "--line", "audit").is_fine("0 targets to be tried again")
    fleet("pause", "--line", "none").is_error(2, "no target of the fleet follows the line none", "audit")


def states(fleet: Tidegate) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for each in json.loads(fleet("status", "--json").out)["lines"]:
        found.setdefault(each["line"], {})[each["state"]] = each["targets"]
    return found
