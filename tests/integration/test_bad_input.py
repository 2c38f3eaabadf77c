"""Bad bundles and databases in a bad state: a clear error, its exit code, and nothing changed."""

from pathlib import Path

import pytest

from tests.fixtures.command_line import call, content, files
from tests.fixtures.servers import Database

UP_FILE = "1_a.up.sql"
ONE = "CREATE TABLE t1 (a int)"
TWO = "CREATE TABLE t2 (a int)"
THREE = "CREATE TABLE t3 (a int)"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (None, "does not exist"),
        ((), "is empty"),
        (("notes.txt",), "holds no migration"),
        (("1_a.up.sql", "001_b.up.sql"), "are both the up file of version 1"),
        (("9223372036854775808_a.up.sql",), "9223372036854775808"),
    ],
    ids=["missing", "empty", "no-migration", "duplicate", "too-high"],
)
def test_a_directory_that_is_no_bundle_changes_nothing(
    database: Database, tmp_path: Path, names: tuple[str, ...] | None, said: str
) -> None:
    folder = tmp_path / "bundle"
    for name in names or ():
        folder.mkdir(exist_ok=True)
        (folder / name).write_text("SELECT 1")
    if names == ():
        folder.mkdir()
    before = content(database)

    for verb in ("up", "plan"):
        call(verb, "--source", folder, DB_URL=database.dsn).is_error(2, said)

    assert content(database) == before


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"SELECT 1;\nSELECT '\xff';", "1_a.up.sql, line 2"),
        (b"SELECT 1;\n\nSELECT '\0';", "1_a.up.sql, line 3: a NUL character"),
        (b"-- tidegate: colour=red\nSELECT 1", "1_a.up.sql, line 1"),
    ],
    ids=["not-utf8", "nul", "directive"],
)
def test_a_file_that_is_no_text_is_named_with_its_line(
    database: Database, tmp_path: Path, raw: bytes, said: str
) -> None:
    before = content(database)

    call("up", "-s", files(tmp_path, _1_a=raw), DB_URL=database.dsn).is_error(2, said)

    assert content(database) == before


def test_a_file_over_the_cap_is_refused_without_reading_it(database: Database, tmp_path: Path) -> None:
    with (tmp_path / UP_FILE).open("wb") as file:
        file.truncate(8 * 1024**3)

    call("up", "-s", tmp_path, DB_URL=database.dsn).is_error(2, UP_FILE, "bytes")


def test_a_syntax_error_is_told_with_line_and_column_and_what_came_before_it_stays(
    database: Database, tmp_path: Path
) -> None:
    folder = files(tmp_path, _1_a=ONE, _2_b=f"{TWO};\n{THREE};\n  CREATE TABEL t4 ();\n")

    call("up", "-s", folder, DB_URL=database.dsn).is_error(1, "2_b.up.sql:3:10", "TABEL")

    assert database.psql("SELECT * FROM schema_migrations") == "1|f"
    assert database.psql("SELECT tablename FROM pg_tables WHERE tablename ~ '^t.$'") == "t1"


def test_a_dirty_version_table_names_the_version_and_the_way_out(database: Database, tmp_path: Path) -> None:
    database.psql(
        "CREATE TABLE schema_migrations (version bigint not null primary key, dirty boolean not null);"
        "INSERT INTO schema_migrations VALUES (1, true)"
    )
    before = content(database)

    for verb in ("up", "plan"):
        call(verb, "-s", files(tmp_path, _1_a=ONE), DB_URL=database.dsn).is_error(3, "version 1", "tidegate force")

    assert content(database) == before


def test_a_changed_file_is_named(database: Database, tmp_path: Path) -> None:
    call("up", "-s", files(tmp_path, _1_a=ONE), DB_URL=database.dsn).is_fine()
    before = content(database)

    call("up", "-s", files(tmp_path, _1_a=TWO), DB_URL=database.dsn).is_error(3, "1_a.up.sql")

    assert content(database) == before


@pytest.mark.parametrize(("order", "tables"), [("error", "t2"), ("apply", "t1\nt2"), ("skip", "t2")])
def test_a_late_lower_version_meets_the_order_policy(
    database: Database, tmp_path: Path, order: str, tables: str
) -> None:
    call("up", "-s", files(tmp_path, _2_b=TWO), DB_URL=database.dsn).is_fine()
    before = content(database)

    said = call("up", "-s", files(tmp_path, _1_a=ONE), "--order", order, DB_URL=database.dsn)

    if order == "error":
        said.is_error(3, "version 1", "TIDEGATE_ORDER")
        assert content(database) == before
    else:
        said.is_fine("version 2")
    assert database.psql("SELECT tablename FROM pg_tables WHERE tablename ~ '^t.$' ORDER BY 1") == tables


@pytest.mark.parametrize("verb", [("up", "-s"), ("publish",)], ids=["up", "publish"])
def test_a_label_is_published_once(database: Database, tmp_path: Path, verb: tuple[str, ...]) -> None:
    call("publish", files(tmp_path, _1_a=ONE), "--label", "1.0.0", DB_URL=database.dsn).is_fine("1.0.0")
    before = content(database)

    folder = files(tmp_path, _2_b=TWO)
    call(*verb, folder, "--label", "1.0.0", DB_URL=database.dsn).is_error(3, "the label 1.0.0")

    assert content(database) == before


def test_an_unrelated_bundle_is_refused(database: Database, tmp_path: Path) -> None:
    call("up", "-s", files(tmp_path / "one", _1_a=ONE), DB_URL=database.dsn).is_fine()
    before = content(database)

    call("up", "-s", files(tmp_path / "two", _7_b=TWO), DB_URL=database.dsn).is_error(3, "shares no version")

    assert content(database) == before


def test_an_empty_table_beside_another_one_of_golang_migrates_names_both(database: Database, tmp_path: Path) -> None:
    database.psql(
        "CREATE TABLE api_migrations (version bigint not null primary key, dirty boolean not null);"
        "INSERT INTO api_migrations VALUES (7, false)"
    )
    folder, before = files(tmp_path, _1_a=ONE), content(database)

    call("up", "-s", folder, DB_URL=database.dsn).is_error(3, "schema_migrations", "api_migrations")

    assert content(database) == before
    call("up", "-s", folder, DB_URL=database.dsn, TIDEGATE_NEW_TABLE="true").is_fine("version 1")


@pytest.mark.parametrize(
    ("code", "sql", "said"),
    [
        (2, f"{THREE};\n\\echo hello\n", ("3_c.up.sql", "line 2", "psql")),
        (2, f"{THREE};\nCOPY t3 FROM stdin;\n1\n\\.\n", ("3_c.up.sql", "line 2", "COPY")),
        (3, f"{THREE};\nROLLBACK;\n", ("3_c.up.sql", "line 2", "ROLLBACK")),
        (3, f"{THREE};\nBEGIN;\nINSERT INTO t3 VALUES (1);\n", ("3_c.up.sql", "line 2", "BEGIN")),
        (2, "SELECT 'no end", ("3_c.up.sql", "line 1")),
    ],
    ids=["backslash", "copy", "rollback", "open-transaction", "open-quote"],
)
def test_a_script_that_cannot_be_run_is_found_before_anything_runs(
    database: Database, tmp_path: Path, code: int, sql: str, said: tuple[str, ...]
) -> None:
    folder, before = files(tmp_path, _1_a=ONE, _2_b=TWO, _3_c=sql), content(database)

    call("up", "-s", folder, DB_URL=database.dsn).is_error(code, *said)
    call("plan", "-s", folder, DB_URL=database.dsn).is_error(code, *said)
    call("bundle", "verify", folder).is_error(code, *said)

    assert content(database) == before


def test_the_restrict_lines_of_a_dump_are_skipped(database: Database, tmp_path: Path) -> None:
    folder = files(tmp_path, _1_a=f"\\restrict abc\n{ONE};\n\\unrestrict abc\n")

    call("up", "-s", folder, DB_URL=database.dsn).is_fine("version 1")


def test_a_role_without_privileges_is_told_the_grant(database: Database, tmp_path: Path) -> None:
    role = f"poor_{database.name}"
    database.psql(f"CREATE ROLE {role} LOGIN PASSWORD 'suite-only'; REVOKE CREATE ON SCHEMA public FROM public")
    before = content(database)
    try:
        said = call("up", "-s", files(tmp_path, _1_a=ONE), DB_URL=database.dsn_as(role))
        assert content(database) == before
    finally:
        database.psql(f"DROP ROLE {role}")

    said.is_error(3, "GRANT CREATE ON", role)
