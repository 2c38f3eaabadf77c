"""`admin repair`: files that were rewritten after they had been applied are listed, or accepted with who and why."""

from hashlib import sha256
from pathlib import Path

import pytest

from tests.fixtures.command_line import call, content
from tests.fixtures.servers import Database
from tests.fixtures.workers import migrations_in, tables

OTHERWISE = "CREATE TABLE t2 (a int); -- said otherwise\n"
NEW_SUM = sha256(OTHERWISE.encode()).hexdigest()
OLD_SUM = sha256(tables(2)[2].encode()).hexdigest()
SUM = "SELECT checksum, bundle FROM tidegate.ledger WHERE target = 'public.schema_migrations' AND version = 2"


@pytest.fixture
def shipped(database: Database, tmp_path: Path) -> Path:
    """Three migrations, applied; the second file was rewritten since, in a release that has a fourth."""
    source = migrations_in(tmp_path / "app", tables(1, 2, 3))
    call("up", "-s", source, "--label", "1.0", DB_URL=database.dsn).is_fine()
    migrations_in(source, {2: OTHERWISE, **tables(4)})
    return source


def test_the_refusal_of_a_rewritten_file_names_the_way_out(database: Database, shipped: Path) -> None:
    for verb in (("up", "-s", shipped), ("plan", "-s", shipped), ("publish", shipped)):
        call(*verb, DB_URL=database.dsn).is_error(
            3, "0002_m2.up.sql: changed since it was applied", "tidegate admin repair --accept 2 --why TEXT"
        )


def test_without_accept_the_difference_is_listed_and_nothing_changes(database: Database, shipped: Path) -> None:
    before = content(database)

    said = call("admin", "repair", "-s", shipped, DB_URL=database.dsn)
    assert said.code == 3
    assert said.out.splitlines()[-1].split() == ["2", "0002_m2.up.sql", OLD_SUM[:12], NEW_SUM[:12]]
    document = call("admin", "repair", "--json", "-s", shipped, "--label", "2.0", DB_URL=database.dsn).document
    assert document == {
        "target": "public.schema_migrations",
        "bundle": "2.0",
        "accepted": [],
        "differs": [{"version": 2, "file": "0002_m2.up.sql", "recorded": OLD_SUM, "present": NEW_SUM}],
    }

    assert content(database) == before


def test_where_nothing_differs_the_wanted_bundle_says_so(database: Database, shipped: Path) -> None:
    assert shipped.exists()
    before = content(database)
    call("admin", "repair", DB_URL=database.dsn).is_fine("nothing differs", "1.0")
    assert content(database) == before


def test_an_accepted_file_is_recorded_with_who_and_why_and_the_release_goes_on(
    database: Database, shipped: Path
) -> None:
    why = "a comment was added; the schema is the same"
    said = call("admin", "repair", "--accept", 2, "--why", why, "-s", shipped, "--label", "2.0", DB_URL=database.dsn)
    said.is_fine(f"accepted 0002_m2.up.sql as version 2, {NEW_SUM[:12]}", "wanted bundle 1.0 has it as it was")

    assert database.psql(SUM) == f"{NEW_SUM}|2.0"
    (row,) = [r for r in call("history", "--json", DB_URL=database.dsn).document if r["action"] == "repair"]
    assert (row["version"], row["name"], row["bundle"], row["mode"]) == (2, "m2", "2.0", "accepted")
    assert (row["note"], row["role"]) == (why, "postgres")
    assert {r["note"] for r in call("history", "--json", DB_URL=database.dsn).document} == {why, None}
    call("history", DB_URL=database.dsn).is_fine(why)

    call("publish", shipped, "--label", "2.0", DB_URL=database.dsn).is_fine()
    call("up", DB_URL=database.dsn).is_fine("1 migrations run", "version 4")
    call("admin", "repair", DB_URL=database.dsn).is_fine("nothing differs")


def test_the_bundle_with_the_accepted_file_is_the_one_that_lends_it(database: Database, shipped: Path) -> None:
    (shipped / "0002_m2.down.sql").write_text("DROP TABLE t2; -- corrected\n", encoding="utf-8")
    call("admin", "repair", "--accept", 2, "--why", "x", "-s", shipped, "--label", "2.0", DB_URL=database.dsn).is_fine()
    call("publish", shipped, "--label", "2.0", DB_URL=database.dsn).is_fine()
    older = migrations_in(shipped.parent / "older", tables(1))

    plan = call("plan", "--goto", 1, "-s", older, "--json", DB_URL=database.dsn).document

    assert [(step["version"], step["bundle"]) for step in plan["run"]] == [(3, "1.0"), (2, "2.0")]


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (("--accept", "3", "--why", "x"), 3, ("version 3 cannot be accepted", "not known to differ")),
        (("--accept", "2", "3", "--why", "x"), 3, ("version 3 cannot be accepted",)),
        (("--accept", "4", "--why", "x"), 3, ("version 4 cannot be accepted", "not applied")),
        (("--accept", "9", "--why", "x"), 3, ("version 9 cannot be accepted", "does not have it")),
        (("--accept", "2"), 2, ("--why TEXT",)),
        (("--why", "x"), 2, ("--accept VERSION",)),
        (("--accept", "2", "--why", "  "), 2, ("--why got", "1 to 500 printable")),
        (("--accept", "2", "--why", "a\nb"), 2, ("--why got",)),
        (("--accept", "2", "--why", "x" * 501), 2, ("--why got",)),
        (("--accept", "two", "--why", "x"), 2, ("--accept", "'two'", "whole number")),
        (("--accept", "-2", "--why", "x"), 2, ()),
    ],
)
def test_what_cannot_be_accepted_is_refused_once_and_nothing_changes(
    database: Database, shipped: Path, arguments: tuple[str, ...], code: int, parts: tuple[str, ...]
) -> None:
    before = content(database)
    call("admin", "repair", *arguments, "-s", shipped, DB_URL=database.dsn).is_error(code, *parts)
    assert content(database) == before


def test_what_was_adopted_without_a_file_never_differs(database: Database, shipped: Path) -> None:
    database.psql("UPDATE tidegate.ledger SET checksum = NULL WHERE version = 2")
    call("admin", "repair", "-s", shipped, DB_URL=database.dsn).is_fine("nothing differs")


def test_without_any_bundle_one_is_asked_for(database: Database) -> None:
    before = content(database)
    call("admin", "repair", DB_URL=database.dsn).is_error(3, "no bundle is published", "--source")
    assert content(database) == before
