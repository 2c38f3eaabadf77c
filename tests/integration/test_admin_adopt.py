"""`admin adopt`: the ledger follows a version table that another program moved, and nothing else is touched."""

from pathlib import Path

import pytest

from tests.fixtures.command_line import call, content
from tests.fixtures.servers import Database
from tests.fixtures.workers import migrations_in, tables

LEDGER = "SELECT version, origin FROM tidegate.ledger WHERE target = 'public.schema_migrations' ORDER BY 1"
HISTORY = (
    "SELECT version, mode FROM tidegate.history WHERE action = 'adopt' AND target = 'public.schema_migrations' "
    "ORDER BY id"
)
PINNED = "SELECT pinned FROM tidegate.fence WHERE target = 'public.schema_migrations'"
TABLE = "SELECT * FROM schema_migrations"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Five migrations."""
    return migrations_in(tmp_path / "five", tables(1, 2, 3, 4, 5))


@pytest.fixture
def three(database: Database, source: Path) -> Path:
    """The same, of which the first three are applied."""
    call("up", 3, "-s", source, "--label", "5.0", DB_URL=database.dsn).is_fine()
    call("resume", DB_URL=database.dsn).is_fine()
    return source


def move(database: Database, version: int | None, *, dirty: bool = False) -> None:
    """Another program moves the version table."""
    values = "" if version is None else f"INSERT INTO schema_migrations VALUES ({version}, {dirty})"
    database.psql(f"TRUNCATE schema_migrations; {values}")


def test_moved_up_records_what_leads_up_to_it_as_adopted(database: Database, three: Path) -> None:
    move(database, 5)

    said = call("admin", "adopt", "-s", three, DB_URL=database.dsn)

    said.is_fine("adopted versions 4, 5 as applied by another program", "at version 5 now; no SQL was run")
    assert database.psql(LEDGER).split() == ["1|applied", "2|applied", "3|applied", "4|adopted", "5|adopted"]
    assert database.psql(HISTORY).split() == ["4|assumed", "5|assumed"]
    assert database.psql("SELECT tidegate.ready(bundle => '5.0'), tidegate.ready(5)") == "t|t"
    assert (database.psql(PINNED), database.psql(TABLE)) == ("", "5|f")


def test_the_wanted_bundle_says_what_leads_up_where_no_directory_is_given(database: Database, three: Path) -> None:
    assert three.exists()
    move(database, 4)

    document = call("admin", "adopt", "--json", DB_URL=database.dsn).document

    assert document == {
        "target": "public.schema_migrations", "version": 4, "adopted": [4], "forgotten": [], "pinned": None,
    }  # fmt: skip


def test_moved_back_forgets_what_is_above_and_pins(database: Database, three: Path) -> None:
    database.psql("DROP TABLE t3; DROP TABLE t2")
    move(database, 1)
    call("up", DB_URL=database.dsn).is_error(3, "moved it back", "tidegate admin adopt")

    said = call("admin", "adopt", DB_URL=database.dsn)

    said.is_fine("forgot versions 2, 3, which the history keeps", "pinned by admin adopt")
    said.is_fine("workers wait until tidegate resume")
    assert database.psql(LEDGER) == "1|applied"
    assert database.psql(HISTORY).split() == ["3|forgotten", "2|forgotten"]
    assert database.psql("SELECT tidegate.ready(1), tidegate.ready(2)") == "t|f"
    assert (database.psql(PINNED), database.psql(TABLE)) == ("admin adopt", "1|f")
    call("status", DB_URL=database.dsn).is_fine("pinned by admin adopt")
    call("up", "-s", three, DB_URL=database.dsn).is_fine("4 migrations run", "version 5")


def test_an_emptied_version_table_empties_the_ledger(database: Database, three: Path) -> None:
    assert three.exists()
    move(database, None)

    document = call("admin", "adopt", "--json", DB_URL=database.dsn).document

    assert (document["version"], document["forgotten"]) == (None, [1, 2, 3])
    assert (document["adopted"], document["pinned"]) == ([], "admin adopt")
    assert database.psql(LEDGER) == ""
    assert database.psql("SELECT tidegate.ready(1)") == "f"


def test_a_database_that_another_program_built_is_adopted_as_it_stands(database: Database, source: Path) -> None:
    database.psql("CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)")
    move(database, 2)

    call("admin", "adopt", "-s", source, DB_URL=database.dsn).is_fine("adopted versions 1, 2")

    assert database.psql(LEDGER).split() == ["1|adopted", "2|adopted"]
    assert database.psql("SELECT tidegate.ready(2)") == "t"
    assert database.psql("SELECT to_regclass('t3') IS NULL") == "t"


def test_nothing_to_do_says_so_and_writes_nothing(database: Database, three: Path) -> None:
    before = content(database)
    call("admin", "adopt", DB_URL=database.dsn).is_fine("nothing to do", "agree on version 3")
    call("admin", "adopt", "-s", three, DB_URL=database.dsn).is_fine("nothing to do")
    assert content(database) == before


def test_nothing_to_do_in_an_empty_database_makes_nothing(database: Database) -> None:
    before = content(database)
    call("admin", "adopt", DB_URL=database.dsn).is_fine("agree on no version")
    assert content(database) == before


JOURNAL = (
    "INSERT INTO tidegate.journal (target, version, direction, segment, digest, state, epoch) "
    "VALUES ('public.schema_migrations', 4, 'up', 0, 'x', 'done', 1)"
)


@pytest.mark.parametrize(
    ("row", "also", "parts"),
    [
        ((4, True), "SELECT", ("dirty at version 4", "golang-migrate failed there", "tidegate force 4")),
        ((2, True), "SELECT", ("dirty at version 2", "tidegate force 2")),
        ((4, True), JOURNAL, ("migration 4 (up) is half done", "tidegate force 4")),
        ((2, False), JOURNAL, ("migration 4 (up) is half done", "another program moved it", "tidegate force 2")),
    ],
)
def test_what_must_be_settled_first_is_refused_and_nothing_changes(
    database: Database, three: Path, row: tuple[int, bool], also: str, parts: tuple[str, ...]
) -> None:
    move(database, row[0], dirty=row[1])
    database.psql(also)
    before = content(database)

    call("admin", "adopt", "-s", three, DB_URL=database.dsn).is_error(3, *parts)

    assert content(database) == before


def test_moved_up_without_a_bundle_asks_for_one(database: Database) -> None:
    database.psql("CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)")
    move(database, 2)
    before = content(database)

    call("admin", "adopt", DB_URL=database.dsn).is_error(3, "no bundle that says what leads up to it", "--source")

    assert content(database) == before


def test_a_bundle_of_another_application_is_refused(database: Database, three: Path, tmp_path: Path) -> None:
    assert three.exists()
    move(database, 5)
    other = migrations_in(tmp_path / "other", tables(101))
    before = content(database)

    call("admin", "adopt", "-s", other, DB_URL=database.dsn).is_error(3, "shares no version")

    assert content(database) == before


def test_adoption_changes_nothing_when_a_part_of_it_fails(database: Database, three: Path) -> None:
    assert three.exists()
    move(database, 1)
    database.psql("ALTER TABLE tidegate.readiness ADD CHECK (epoch < 0) NOT VALID")
    before = [database.psql(sql) for sql in (LEDGER, HISTORY, PINNED, TABLE)]

    call("admin", "adopt", DB_URL=database.dsn).is_error(3, "adopting versions")

    assert [database.psql(sql) for sql in (LEDGER, HISTORY, PINNED, TABLE)] == before
