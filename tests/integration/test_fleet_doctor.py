"""`tidegate doctor` of a fleet: whatever is wrong is found and said once, and what is sound is counted."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.command_line import Said, call, content
from tests.fixtures.fleets import ONE, TENANTS, names
from tests.fixtures.servers import Database, fresh_database

Doctor = Callable[..., Said]


@pytest.fixture
def far(database: Database) -> Iterator[Database]:
    with fresh_database(database.server) as other:
        yield other


@pytest.fixture
def doctor(database: Database, far: Database, tmp_path: Path) -> Doctor:
    """The doctor of a fleet with this file."""
    database.psql("".join(f"CREATE SCHEMA {name};" for name in names(3)))
    source, file = tmp_path / "migrations", tmp_path / "fleet.toml"
    source.mkdir()
    for name, sql in ONE.items():
        (source / name).write_text(sql)

    def examine(text: str, *words: object, verb: str = "doctor", **env: str) -> Said:
        file.write_text(text)
        usual = {"DB_URL": database.dsn, "FAR": far.dsn}
        return call(verb, *words, "--fleet", file, "--source", source, **{**usual, **env})

    return examine


def errors(said: Said) -> list[dict[str, Any]]:
    return [each for each in said.document["findings"] if each["severity"] == "error"]


def test_a_sound_fleet_has_nothing_wrong_and_nothing_is_changed(doctor: Doctor, database: Database) -> None:
    before = content(database)
    said = doctor(TENANTS, "--json")
    assert (said.code, errors(said)) == (0, []), said
    assert (said.document["targets"], said.document["databases"], said.document["sound"]) == (3, 1, 3)
    doctor(TENANTS).is_fine("3 of 3 targets in 1 database have nothing wrong")
    assert content(database) == before


def test_an_unreachable_database_among_others_is_said_once_and_the_others_are_checked(
    doctor: Doctor, far: Database
) -> None:
    gone = '[[targets]]\nname = "far"\ndatabase = { env = "FAR" }\nschemas = ["a", "b"]\n'
    said = doctor(TENANTS + gone, "--json", FAR=far.dsn.replace(far.name, "not_there"))
    (wrong,) = errors(said)
    assert (said.code, wrong["check"], wrong["targets"]) == (5, "no_such_database", 2)
    assert wrong["where"] == "the database far/not_there"
    assert (said.document["targets"], said.document["sound"]) == (5, 3)


def test_a_target_whose_owner_lacks_rights_is_named_with_the_sql_that_helps(doctor: Doctor, database: Database) -> None:
    role = f"m_{database.name}"
    database.psql(
        f"CREATE ROLE {role} LOGIN PASSWORD 'sesame'; GRANT CREATE ON DATABASE {database.name} TO {role};"
        f"GRANT USAGE, CREATE ON SCHEMA tenant_0, tenant_2 TO {role}"
    )
    said = doctor(TENANTS, "--json", DB_URL=database.dsn_as(role, "sesame"))
    (wrong,) = errors(said)
    assert (said.code, wrong["where"], wrong["targets"]) == (3, "tenant_1.schema_migrations", 1)
    assert "GRANT USAGE, CREATE ON SCHEMA" in wrong["sql"]
    assert said.document["sound"] == 2


def test_a_secret_is_in_no_finding_whether_a_person_or_a_machine_reads_it(doctor: Doctor, database: Database) -> None:
    role, secret = f"m_{database.name}", "tenant_open_sesame"
    database.psql(
        f"CREATE SCHEMA {secret}; CREATE ROLE {role} LOGIN PASSWORD '{secret}';"
        f"GRANT CREATE ON DATABASE {database.name} TO {role}"
    )
    for words in (("--json",), ()):
        said = doctor(TENANTS, *words, DB_URL=database.dsn_as(role, secret))
        assert (said.code, "GRANT USAGE, CREATE ON SCHEMA" in said.out, secret in said.all) == (3, True, False), said


def test_a_home_half_that_may_not_be_made_is_found_before_anything_runs(doctor: Doctor, database: Database) -> None:
    role = f"m_{database.name}"
    database.psql(
        f"CREATE ROLE {role} LOGIN PASSWORD 'sesame'; GRANT ALL ON SCHEMA tenant_0, tenant_1, tenant_2 TO {role}"
    )
    said = doctor(TENANTS, "--json", DB_URL=database.dsn_as(role, "sesame"))
    assert said.code == 3
    assert {each["where"] for each in errors(said)} >= {"the home half"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schemas_query = \"SELECT 'x' WHERE false\"", "yields no schemas"),
        ("schemas_query = \"SELECT 'a' FROM generate_series(1, 2)\"", "yields 'a' twice"),
        ("schemas_query = 'SELECT nonsense'", "nonsense"),
        ("database = { env = 'NOT_SET' }\nschemas = ['a']", "NOT_SET is not set"),
    ],
)
def test_a_group_that_yields_no_targets_is_found_and_the_others_are_checked(
    doctor: Doctor, text: str, message: str
) -> None:
    said = doctor(f'{TENANTS}[[targets]]\ntable = "other"\n{text}\n', "--json")
    (wrong,) = errors(said)
    assert said.code == 2
    assert message in wrong["message"]
    assert said.document["sound"] == 3


def test_targets_that_are_declared_twice_are_found_also_over_another_road(doctor: Doctor, database: Database) -> None:
    said = doctor(TENANTS + '[[targets]]\nschemas = ["tenant_1"]\n', "--json")
    assert said.code == 2
    assert "declares the target tenant_1.schema_migrations twice" in errors(said)[0]["message"]

    road = '[[targets]]\nname = "again"\ndatabase = { env = "FAR" }\nschemas = ["tenant_1"]\n'
    said = doctor(TENANTS + road, "--json", FAR=database.dsn)
    (wrong,) = errors(said)
    names = {wrong["where"], wrong["message"].split()[0]}
    assert (said.code, wrong["check"]) == (2, "duplicate_target")
    assert names == {"tenant_1.schema_migrations", f"again/{database.name}/tenant_1.schema_migrations"}


def test_a_schema_that_is_gone_is_found(doctor: Doctor, database: Database) -> None:
    text = '[[targets]]\nschemas = ["tenant_0", "tenant_1", "tenant_2"]\n'
    doctor(text, verb="up").is_fine()
    database.psql("DROP SCHEMA tenant_1 CASCADE")
    said = doctor(text)
    assert said.code == 3
    assert "tenant_1" in said.out
    assert "2 of 3 targets in 1 database have nothing wrong" in said.out


def test_a_home_that_cannot_be_reached_is_one_finding(doctor: Doctor) -> None:
    said = doctor(
        '[[targets]]\ndatabase = { env = "FAR" }\nschemas = ["public"]\n', "--json", DB_URL="postgres://u@127.0.0.1:1/x"
    )
    assert (said.code, [each["where"] for each in errors(said)]) == (5, ["the home half"])
