from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.connecting.dsn import LiteralPassword, PassFile, PasswordFile, SslMode
from worker.errors import SettingError
from worker.settings.reading import read_settings, require_database
from worker.settings.source import Database
from worker.settings.table import SETTINGS
from worker.settings.values import Settings

PARTS = {"DB_HOST": "parts", "DB_NAME": "d", "DB_USER": "u"}
URL = "postgres://u:hush@url/d"
MARK = "hushhush"


def database(environ: dict[str, str], **flags: str) -> Database:
    return require_database(read_settings(environ, flags, worker="w"))


def host(environ: dict[str, str], **flags: str) -> str:
    return database(environ, **flags).migrating.read().addresses[0].host


def test_the_first_family_that_is_set_counts() -> None:
    environ = {"DB_URL": URL, **PARTS, "DATABASE_URL": "postgres://second/d", "PGHOST": "libpq"}
    order = [("DB_URL", "url"), ("DB_HOST", "parts"), ("DATABASE_URL", "second"), ("PGHOST", "libpq")]

    assert host(environ, database="postgres://flag/d") == "flag"
    for variable, expected in order:
        assert host(environ) == expected
        for name in PARTS if variable == "DB_HOST" else [variable]:
            del environ[name]


def test_families_are_never_mixed() -> None:
    environ = {"DB_URL": "postgres://u@url/d", "DB_PASS": "other", "PGPASSWORD": "other", "PGSSLMODE": "require"}

    params = database(environ).migrating.read()

    assert params.password == PassFile()
    assert params.tls.mode is SslMode.PREFER


def test_what_is_missing_of_the_parts_is_named_at_once() -> None:
    with pytest.raises(SettingError, match="DB_NAME and DB_USER are not set, beside DB_HOST"):
        database({"DB_HOST": "h", "DATABASE_URL": URL})


def test_a_port_or_a_password_alone_selects_no_family() -> None:
    assert database({"DB_PORT": "tcp://10.0.0.1:5432", "DB_PASS": "x", "DATABASE_URL": URL}).origin == "DATABASE_URL"


@pytest.mark.parametrize(
    ("text", "mode"),
    [("1", "disable"), ("TRUE", "disable"), ("t", "disable"), ("0", "require"), ("False", "require"), ("", "require")],
)
def test_the_parts_require_tls_unless_it_is_disabled(text: str, mode: str) -> None:
    assert database({**PARTS, "DB_SSL_DISABLE": text}).migrating.read().tls.mode.value == mode


@pytest.mark.parametrize("text", ["yes", "TrUe", "2", "on"])
def test_only_gos_booleans_disable_tls(text: str) -> None:
    with pytest.raises(SettingError, match="DB_SSL_DISABLE got"):
        database({**PARTS, "DB_SSL_DISABLE": text})


def test_a_password_is_decoded_from_the_variable_and_taken_raw_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("a%40b\n")

    assert database({**PARTS, "DB_PASS": "a%40b%"}).migrating.read().password == LiteralPassword("a@b%")
    assert database({**PARTS, "DB_PASS_FILE": str(file)}).migrating.read().password == PasswordFile(str(file))


def test_a_url_file_is_read_again_at_every_connect(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgres://u:one@h/d\n")
    source = database({"DB_URL_FILE": str(file)}).migrating

    file.write_text("postgres://u:two@h/d\n")

    assert source.read().password == LiteralPassword("two")


def test_a_url_file_that_goes_bad_is_named_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(URL)
    source = database({"DATABASE_URL_FILE": str(file)}).waiting
    file.write_text("postgres://u:hush/@h/d")

    with pytest.raises(SettingError, match="DATABASE_URL_FILE: ") as caught:
        source.read()

    assert "hush" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("name", ["DB_URL", "DATABASE_URL", "DB_PASS", "PGPASSWORD"])
def test_a_value_and_its_file_cannot_both_be_set(name: str, tmp_path: Path) -> None:
    family = {"DB_PASS": PARTS, "PGPASSWORD": {"PGHOST": "h"}}.get(name, {})

    with pytest.raises(SettingError, match=f"{name} and {name}_FILE are both set"):
        database({**family, name: URL, f"{name}_FILE": str(tmp_path / "x")})


@pytest.mark.parametrize("name", ["DB_PASS_FILE", "PGPASSWORD_FILE", "DB_URL_FILE"])
def test_a_file_that_is_not_there_is_a_wrong_setting(name: str, tmp_path: Path) -> None:
    family = {"DB_PASS_FILE": PARTS, "PGPASSWORD_FILE": {"PGHOST": "h"}}.get(name, {})

    with pytest.raises(SettingError, match=f"{name}: .*cannot be read: No such file"):
        database({**family, name: str(tmp_path / "gone")})


def test_libpqs_variables_are_understood() -> None:
    environ = {
        "PGHOST": "a,b",
        "PGPORT": "1,2",
        "PGDATABASE": "d",
        "PGUSER": "u",
        "PGPASSFILE": "/x",
        "PGOPTIONS": "-c search_path=s",
        "PGSSLMODE": "disable",
        "PGCONNECT_TIMEOUT": "3",
    }

    params = database(environ).migrating.read()

    assert params.place() == "u@a:1,b:2/d"
    assert (params.password, params.options, params.connect_timeout_ms) == (PassFile("/x"), "-c search_path=s", 3000)
    assert params.tls.mode is SslMode.DISABLE


def test_a_service_is_refused_with_words() -> None:
    with pytest.raises(SettingError, match="service file is not supported"):
        database({"PGSERVICE": "x"})


def test_options_of_migrating_and_of_waiting_are_kept_apart() -> None:
    environ = {
        "DB_URL": "postgres://h/d?options=-c%20search_path=s",
        "DB_MIGRATIONS_OPTIONS": "-c role=owner",
        "DB_OPTIONS": "-c role=reader",
    }

    found = database(environ)

    assert found.migrating.read().options == "-c search_path=s -c role=owner"
    assert found.waiting.read().options == "-c search_path=s -c role=reader"


def test_a_connect_timeout_that_was_set_goes_before_the_urls() -> None:
    environ = {"DB_URL": "postgres://h/d?connect_timeout=3"}

    assert database(environ).waiting.read().connect_timeout_ms == 3000
    assert database(environ, connect_timeout="7s").waiting.read().connect_timeout_ms == 7000


@pytest.mark.parametrize("value", ["postgres://u:hush@h", "u:hush@h", "tcp://u:hush@h"])
def test_a_url_in_place_of_a_host_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(SettingError, match="DB_HOST got a URL") as caught:
        database({**PARTS, "DB_HOST": value})

    assert "hush" not in caught.value.message


@pytest.mark.parametrize("value", ["h", "10.0.0.1", "::1", "[fe80::1%eth0]", "/var/run/a b", "a, b.c-d", "db_1"])
def test_a_host_is_a_name_an_address_a_directory_or_several(value: str) -> None:
    assert host({**PARTS, "DB_HOST": value}) == value.split(",", maxsplit=1)[0].strip("[]")


@pytest.mark.parametrize("name", ["DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASS"])
def test_the_line_break_of_echo_is_named_and_the_value_is_not_shown(name: str) -> None:
    with pytest.raises(SettingError, match=f"{name} got a line break at its end; it takes the value alone") as caught:
        database({**PARTS, name: "hush\n"})

    assert "hush" not in caught.value.message
    assert "printf" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("a%40b", "a@b"),
        ("100%", "100%"),
        ("100%zz", "100%zz"),
        ("a%0A", "a\n"),
        ("%ff", "%ff"),
        (" ", " "),
    ],
)
def test_only_a_valid_escape_of_a_password_is_decoded(text: str, password: str) -> None:
    assert database({**PARTS, "DB_PASS": text}).migrating.read().password == LiteralPassword(password)


def outcome(environ: dict[str, str]) -> Settings | SettingError:
    try:
        return read_settings(environ, {}, worker="w")
    except SettingError as error:
        return error


NAMES = [
    *(setting.variable for setting in SETTINGS),
    *("DB_URL", "DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASS", "DB_SSL_DISABLE", "DATABASE_URL"),
    *("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGSSLMODE", "PGPASSFILE", "PGSERVICE", "PGOPTIONS", "TIDEGATE_X"),
]


@given(st.dictionaries(st.sampled_from(NAMES), st.text(), max_size=8))
def test_any_environment_is_settings_or_a_setting_error(environ: dict[str, str]) -> None:
    assert isinstance(outcome(environ), Settings | SettingError)


@given(
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["h", "1", "true", "x y", "5s"]), max_size=8),
    st.text("@:/?#%&= ", max_size=4),
    st.sampled_from(["DB_PASS", "PGPASSWORD", "DB_URL", "DATABASE_URL"]),
)
def test_no_outcome_shows_a_secret(environ: dict[str, str], noise: str, name: str) -> None:
    secret = f"{noise}{MARK}{noise}"
    value = f"postgres://u:{secret}@h/d" if name.endswith("URL") else secret

    read = outcome({**PARTS, **environ, name: value})

    assert MARK not in repr(read)
    if isinstance(read, SettingError):
        assert MARK not in read.message + read.hint
