from pathlib import Path

import pytest

from worker.core.bundles.bundle import OrderPolicy
from worker.core.planning.readiness import AtLeast, OfBundle
from worker.core.version_table import VersionTableName
from worker.errors import SettingError
from worker.settings.reading import read_settings, require_database
from worker.settings.table import SETTINGS
from worker.settings.values import LogFormat, LogLevel, RequiredDirectory, Settings, UnknownVariable


def read(environ: dict[str, str] | None = None, **flags: str | None) -> Settings:
    return read_settings(environ or {}, flags, worker="host-1")


def in_force(settings: Settings) -> dict[str, tuple[str, str]]:
    return {row.name: (row.value, row.origin) for row in settings.in_force}


def test_nothing_set_gives_the_documented_defaults() -> None:
    settings = read()

    assert (settings.http.host, settings.http.port, settings.control.schema) == ("127.0.0.1", 8017, "tidegate")
    assert (settings.limits.advisory_ms, settings.limits.lock_ms, settings.limits.drain_ms) == (600_000, 100, 20_000)
    assert (settings.limits.statement_ms, settings.limits.poll_ms) == (None, 15_000)
    assert (settings.limits.lock_budget_ms, settings.limits.block_budget_ms) == (600_000, 10_000)
    assert (settings.log.level, settings.log.format) == (LogLevel.INFO, LogFormat.AUTO)
    assert settings.target.version_table == VersionTableName(None, "schema_migrations")
    assert settings.target.requirement is None
    assert settings.worker == "host-1"
    assert settings.database is None
    assert settings.auto_migrate is False


def test_a_flag_goes_before_the_environment_and_that_before_the_default() -> None:
    environ = {"TIDEGATE_HTTP_PORT": "81"}

    assert read(environ).http.port == 81
    assert read(environ, http_port="82").http.port == 82
    assert in_force(read(environ))["http_port"] == ("81", "TIDEGATE_HTTP_PORT")
    assert in_force(read(environ, http_port="82"))["http_port"] == ("82", "--http-port")
    assert in_force(read())["http_port"] == ("8017", "default")


def test_an_empty_variable_is_unset() -> None:
    empty = dict.fromkeys([*(setting.variable for setting in SETTINGS), "DB_URL", "DB_HOST", "PGHOST"], "")

    assert read(empty) == read()


@pytest.mark.parametrize(
    ("text", "requirement"),
    [
        ("version:7", AtLeast(7)),
        ("bundle:1.4.0", OfBundle("1.4.0")),
        ("dir:migrations", RequiredDirectory("migrations")),
        ("dir:file://./m", RequiredDirectory("./m")),
    ],
)
def test_a_requirement_is_a_version_a_bundle_or_a_directory(text: str, requirement: object) -> None:
    assert read({"TIDEGATE_REQUIRE": text}).target.requirement == requirement


def test_the_directory_is_the_requirement_where_none_is_set() -> None:
    settings = read({"DB_SCHEMA_DIR": "file:///srv/a%20b"})

    assert settings.target.source == "/srv/a b"
    assert settings.target.requirement == RequiredDirectory("/srv/a b")


@pytest.mark.parametrize(("text", "wait_ms"), [("none", None), ("0", 0), ("5m", 300_000)])
def test_a_wait_may_be_endless_or_one_look(text: str, wait_ms: int | None) -> None:
    assert read(timeout=text).limits.wait_ms == wait_ms


def test_what_is_a_list_or_a_choice_becomes_a_value() -> None:
    settings = read({"TIDEGATE_READERS": "app, report,app", "TIDEGATE_ORDER": "skip", "TIDEGATE_LOCK_TIMEOUT": "none"})

    assert settings.control.readers == ("app", "report")
    assert settings.target.order is OrderPolicy.SKIP
    assert settings.limits.lock_ms is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TIDEGATE_HTTP_PORT", "0"),
        ("TIDEGATE_HTTP_PORT", "65536"),
        ("TIDEGATE_HTTP_PORT", "²"),
        ("TIDEGATE_HTTP_HOST", "a b"),
        ("TIDEGATE_SCHEMA", "Tide"),
        ("TIDEGATE_SCHEMA", "pg_tide"),
        ("TIDEGATE_SCHEMA", "x" * 51),
        ("TIDEGATE_READERS", "a,,b"),
        ("TIDEGATE_DRAIN_TIMEOUT", "0"),
        ("TIDEGATE_DRAIN_TIMEOUT", "20"),
        ("TIDEGATE_ADVISORY_TIMEOUT", "never"),
        ("TIDEGATE_ORDER", "any"),
        ("TIDEGATE_LOG_LEVEL", "INFO"),
        ("TIDEGATE_REQUIRE", "7"),
        ("TIDEGATE_REQUIRE", "version:-1"),
        ("TIDEGATE_REQUIRE", f"version:{2**63}"),
        ("TIDEGATE_LINE", "a\nb"),
        ("DB_AUTO_MIGRATE", "yes"),
        ("DB_MIGRATIONS_OPTIONS", "role=x"),
        ("DB_MIGRATIONS_OPTIONS", "-c"),
        ("DB_MIGRATIONS_OPTIONS", "-c role"),
        ("DB_MIGRATIONS_OPTIONS", "--role"),
        ("DB_MIGRATIONS_OPTIONS", "-c role=a b"),
        ("DB_MIGRATIONS_OPTIONS", "-c%20role%3Dx"),
        ("DB_MIGRATIONS_OPTIONS", "-c role=x\n"),
        ("DB_SCHEMA_DIR", "s3://bucket"),
        ("DB_SCHEMA_DIR", " "),
        ("DB_SCHEMA_DIR", "/migrations\n"),
    ],
)
def test_a_wrong_value_is_named_with_what_it_got_and_what_it_takes(variable: str, value: str) -> None:
    with pytest.raises(SettingError) as caught:
        read({variable: value})

    assert caught.value.message.startswith(f"{variable} got {value!r}"[:60])
    assert "it takes" in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "text",
    ["-c role=x", "-crole=x", "--role=x", "-c role=x -c search_path=a,b", r"-c role=a\ b", "-c a.b=", "-W 3 -c x=1"],
)
def test_options_are_those_that_the_server_takes(text: str) -> None:
    found = read({"DB_URL": "postgres://h/d", "DB_OPTIONS": f" {text} "}).database

    assert found is not None
    assert found.waiting.read().options == text


def test_a_wrong_flag_is_named_as_the_flag() -> None:
    with pytest.raises(SettingError, match="--http-port got 'x'"):
        read(http_port="x")


@pytest.mark.parametrize("variable", ["TIDEGATE_HTTP_PORT", "DB_PORT"])
def test_a_service_link_is_named_as_such(variable: str) -> None:
    database = {"DB_HOST": "h", "DB_NAME": "d", "DB_USER": "u"}

    with pytest.raises(SettingError, match=f"{variable} got 'tcp://10.0.0.1:5432', which is a Kubernetes service") as c:
        read({**database, variable: "tcp://10.0.0.1:5432"})

    assert "enableServiceLinks: false" in c.value.hint


def test_an_unknown_variable_is_listed_with_its_nearest() -> None:
    settings = read({"TIDEGATE_DRAIN_TIMEOT": "20s", "TIDEGATE_ZZZZZZZ": "1", "OTHER": "1"})

    assert settings.unknown == (
        UnknownVariable("TIDEGATE_DRAIN_TIMEOT", "TIDEGATE_DRAIN_TIMEOUT"),
        UnknownVariable("TIDEGATE_ZZZZZZZ", None),
    )


def test_what_kubernetes_adds_for_a_service_is_not_unknown() -> None:
    added = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_8017_TCP", "PORT_8017_TCP_ADDR"]

    assert read({f"TIDEGATE_{name}": "tcp://10.0.0.1:8017" for name in added}).unknown == ()


def test_no_database_is_an_error_only_for_who_needs_one() -> None:
    with pytest.raises(SettingError, match="no database is set"):
        require_database(read())


@pytest.mark.parametrize(
    ("environ", "flags", "name"),
    [
        ({}, {}, VersionTableName(None, "schema_migrations")),
        ({"DB_MIGRATIONS_TABLE": "a.b"}, {}, VersionTableName(None, "a.b")),
        ({"DB_MIGRATIONS_TABLE": '"a"."b"', "DB_MIGRATIONS_TABLE_QUOTED": "T"}, {}, VersionTableName("a", "b")),
        ({"DB_MIGRATIONS_TABLE_QUOTED": "true"}, {}, VersionTableName(None, "schema_migrations")),
        ({"DB_URL": "postgres://h/d", "DB_MIGRATIONS_TABLE": "a"}, {}, VersionTableName(None, "a")),
        (
            {"DB_URL": "postgres://h/d?x-migrations-table=u", "DB_MIGRATIONS_TABLE": "a"},
            {},
            VersionTableName(None, "u"),
        ),
        (
            {"DB_URL": "postgres://h/d?x-migrations-table=%22s%22.%22t%22&x-migrations-table-quoted=1"},
            {},
            VersionTableName("s", "t"),
        ),
        (
            {"DB_URL": "postgres://h/d?x-migrations-table=u"},
            {"migrations_table": "f"},
            VersionTableName(None, "f"),
        ),
    ],
)
def test_the_version_table_is_honoured_wherever_it_is_named(
    environ: dict[str, str], flags: dict[str, str], name: VersionTableName
) -> None:
    assert read(environ, **flags).target.version_table == name


def test_a_wrong_version_table_in_a_url_is_named_by_its_parameter() -> None:
    with pytest.raises(SettingError, match="DB_URL x-migrations-table got 'a'"):
        read({"DB_URL": "postgres://h/d?x-migrations-table=a&x-migrations-table-quoted=true"})


def test_names_variables_and_flags_of_the_table_are_unique() -> None:
    names = [setting.name for setting in SETTINGS]
    variables = [setting.variable for setting in SETTINGS]
    flags = [flag for setting in SETTINGS for flag in setting.flags]

    assert len(set(names)) == len(names)
    assert len(set(variables)) == len(variables)
    assert len(set(flags)) == len(flags)


def test_a_password_file_may_be_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("hush\n")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    environ = {"DB_HOST": "h", "DB_NAME": "d", "DB_USER": "u", "DB_PASS_FILE": str(tmp_path / "link")}

    assert in_force(read(environ))["password"] == (f"file {tmp_path / 'link'}", "DB_*")
