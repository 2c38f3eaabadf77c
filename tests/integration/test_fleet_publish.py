"""`tidegate publish --fleet`: a bundle for the targets of one line, whatever lies in the home's own schema."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.command_line import Said, call, content
from tests.fixtures.fleets import ONE, TENANTS, names
from tests.fixtures.roles import RoleSet
from tests.fixtures.servers import Database

Tidegate = Callable[..., Said]
SHOPS = '[[targets]]\nline = "shop"\nschemas = ["shop"]\n'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    for name, sql in ONE.items():
        (folder / name).write_text(sql)
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "fleet.toml").write_text(TENANTS)
    return tmp_path / "fleet.toml"


@pytest.fixture
def fleet(database: Database, file: Path) -> Tidegate:
    database.psql("".join(f"CREATE SCHEMA {name};" for name in (*names(2), "shop")))

    def run(*words: object) -> Said:
        return call(*words, "--fleet", file, DB_URL=database.dsn)

    return run


def wanted(database: Database) -> str:
    return database.psql("SELECT line, label FROM tidegate.bundle WHERE wanted_seq IS NOT NULL ORDER BY 1")


def test_what_is_published_is_what_all_targets_are_brought_to(
    fleet: Tidegate, source: Path, database: Database
) -> None:
    # In the home's own schema is another application, which a bundle of the fleet need not suit.
    database.psql("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty bool); CREATE TABLE a ();"
                  "INSERT INTO schema_migrations VALUES (77, true)")  # fmt: skip
    said = fleet("publish", source, "--label", "1.0", "--json").document
    assert (said["line"], said["label"], said["changed"]) == ("schema_migrations", "1.0", True)

    up = fleet("up", "--json").document

    assert (up["states"], wanted(database)) == ({"succeeded": 2}, "schema_migrations|1.0")
    fleet("publish", source, "--label", "1.0").is_fine("already published and wanted; nothing to do")


def test_a_publish_may_differ_from_what_a_directory_that_is_only_offered_may(fleet: Tidegate, source: Path) -> None:
    fleet("up", "--source", source, "--label", "1.0").is_fine()
    (source / "0002_b.up.sql").unlink()
    fleet("publish", source, "--label", "0.9").is_fine("published, and wanted now")
    (source / "0001_a.up.sql").write_text("SELECT 1")
    fleet("publish", source, "--label", "0.9").is_error(3, "0.9 was published before with other content")


def test_a_line_is_named_where_the_fleet_follows_several(
    fleet: Tidegate, source: Path, file: Path, database: Database
) -> None:
    file.write_text(TENANTS + SHOPS)
    fleet("publish", source).is_error(2, "the fleet follows several lines: schema_migrations, shop", "--line NAME")
    fleet("publish", source, "--line", "stop").is_error(2, "no target of the fleet follows the line stop")
    assert database.psql("SELECT to_regnamespace('tidegate') IS NULL") == "t"

    fleet("publish", source, "--label", "1.0", "--line", "shop").is_fine("shop: 1.0")
    (source / "bundle.toml").write_text('line = "shop"\n')
    fleet("publish", source, "--label", "1.1").is_fine("shop: 1.1")

    assert set(wanted(database).split()) == {"shop|1.0", "shop|1.1"}


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize("verb", ["publish", "up"])
def test_a_home_is_not_made_for_the_wrong_owner(roles: RoleSet, source: Path, file: Path, verb: str) -> None:
    database, words = roles.database, (source,) if verb == "publish" else ("--source", source)
    database.psql(f'GRANT USAGE, CREATE ON SCHEMA tenant_0, tenant_1 TO "{roles.owner}"')
    before = content(database)

    for login in ("migrator", "publisher"):
        call(verb, *words, "--fleet", file, DB_URL=roles.dsn(login)).is_error(3, "control schema tidegate")
        assert content(database) == before

    call("up", "--source", source, "--label", "1.0", "--fleet", file, **roles.migrating).is_fine()
    roles.set_up()
    call("publish", source, "--label", "1.0", "--fleet", file, DB_URL=roles.dsn("publisher")).is_fine("already")
    call(verb, *words, "--label", "1.0", "--fleet", file, **roles.migrating).is_fine()


def test_a_publisher_of_a_fleet_is_told_who_makes_the_control_schema(roles: RoleSet, source: Path, file: Path) -> None:
    publish = ("publish", source, "--label", "1.0", "--fleet", file)
    call(*publish, DB_URL=roles.dsn("publisher")).is_error(3, "is not to make it", "tidegate admin upgrade")
    call("admin", "upgrade", **roles.migrating).is_fine()
    roles.set_up()
    call(*publish, DB_URL=roles.dsn("publisher")).is_fine("published, and wanted now")


def signing(folder: Path) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """How to sign as somebody new, and how to trust nobody else."""
    key = folder / "ci"
    call("bundle", "keygen", "--out", key).is_fine()
    signed = ("--key", key, "--audience", "shop", "--label", "1.0", "--sequence", "1")
    return signed, ("--trusted-keys", f"{key}.pub", "--audience", "shop", "--line", "schema_migrations")


def test_what_can_be_known_beforehand_is_not_published(
    fleet: Tidegate, source: Path, database: Database, tmp_path: Path
) -> None:
    (source / "0003_c.up.sql").write_text("COPY a FROM stdin;\n")
    fleet("publish", source).is_error(2, "0003_c.up.sql", "COPY")
    (source / "0003_c.up.sql").unlink()
    signed, trusting = signing(tmp_path)
    call("bundle", "sign", source, *signed, "--line", "other").is_fine()

    fleet("publish", source, *trusting).is_error(3, "it is signed for the line other")

    assert database.psql("SELECT to_regnamespace('tidegate') IS NULL") == "t"
    call("bundle", "sign", source, *signed, "--line", "schema_migrations").is_fine()
    fleet("publish", source, *trusting).is_fine("published, and wanted now")


def test_a_signed_directory_is_offered_to_the_line_that_it_was_signed_for(
    fleet: Tidegate, source: Path, file: Path, database: Database, tmp_path: Path
) -> None:
    file.write_text(file.read_text() + SHOPS)
    signed, trusting = signing(tmp_path)
    call("bundle", "sign", source, *signed, "--line", "other").is_fine()
    fleet("up", "--source", source, *trusting).is_error(3, "signed for the line other", "follows schema_migrations")
    assert wanted(database) == ""

    call("bundle", "sign", source, *signed, "--line", "schema_migrations").is_fine()
    fleet("up", "--source", source, *trusting)
    assert wanted(database) == "schema_migrations|1.0"


def test_a_line_that_only_registered_targets_follow_is_published_to(
    fleet: Tidegate, source: Path, file: Path, database: Database
) -> None:
    file.write_text("[[targets]]\nrows = true\n")
    fleet("up").is_fine()
    database.psql("SELECT tidegate.add_target('shop', 'shop')")

    fleet("publish", source, "--label", "1.0").is_fine("shop: 1.0")
    fleet("publish", source, "--line", "stop").is_error(2, "no target of the fleet follows the line stop", "shop")
    assert fleet("up", "--json").document["states"] == {"succeeded": 1}
    assert (wanted(database), database.psql("SELECT count(*) FROM shop.a")) == ("shop|1.0", "1")

    database.psql("SELECT tidegate.add_target('tenant_0')")
    fleet("publish", source, "--label", "1.0").is_error(2, "follows several lines: schema_migrations, shop")
    fleet("publish", source, "--label", "1.0", "--line", "shop").is_fine("already published and wanted")
