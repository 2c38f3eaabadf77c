from typing import Any

import pytest

from worker.core.connecting.dsn import (
    Address,
    LiteralPassword,
    PassFile,
    SessionTarget,
    SslMode,
    decode_password,
    parse_dsn,
    role_option,
    without_final_newline,
)
from worker.errors import SettingError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://u:p@h/d", {"user": "u", "addresses": (Address("h", 5432),), "database": "d"}),
        ("postgresql://u:p@h:5433/d", {"addresses": (Address("h", 5433),)}),
        ("postgresql+asyncpg://u@h/d", {"user": "u"}),
        ("pgx://u@h/d", {"user": "u"}),
        ("pgx5://u@h/d", {"user": "u"}),
        ("postgres://a%20b@h/x%2Fy", {"user": "a b", "database": "x/y"}),
        ("postgres://u@[::1]:5433/d", {"addresses": (Address("::1", 5433),)}),
        ("postgres://u@a:1,b,[fe80::1]/d", {"addresses": (Address("a", 1), Address("b"), Address("fe80::1"))}),
        ("postgres:///d?host=/run/pg&port=5433", {"addresses": (Address("/run/pg", 5433),)}),
        ("postgres://u@%2Frun%2Fpg/d", {"addresses": (Address("/run/pg"),)}),
        ("postgres:///d?host=a,b&port=1", {"addresses": (Address("a", 1), Address("b", 1))}),
        ("postgres://h/d?user=u@tenant", {"user": "u@tenant"}),
        ("postgres://h/d?sslmode=verify-full", {}),
        ("postgres://h/d?options=-c%20role%3Dx", {"options": "-c role=x"}),
        ("postgres://h/d?options=-c+role=x", {"options": "-c role=x"}),
        ("postgres://h/d?connect_timeout=3", {"connect_timeout_ms": 3000}),
        ("postgres://h/d?connect_timeout=0", {"connect_timeout_ms": 10_000}),
        ("postgres://h/d?target_session_attrs=primary", {"session_target": SessionTarget.PRIMARY}),
        ("postgres://h/d?fallback_application_name=a", {"application_name": "a"}),
        (
            "postgres://h/d?search_path=x&statement_timeout=5s",
            {"server_settings": (("search_path", "x"), ("statement_timeout", "5s"))},
        ),
        ("host=h user=u dbname=d port=5433", {"addresses": (Address("h", 5433),), "user": "u", "database": "d"}),
        ("host = h user='a b'", {"user": "a b"}),
        (r"host=h user=a\ b", {"user": "a b"}),
    ],
)
def test_a_connection_string_means_what_libpq_says(text: str, expected: dict[str, Any]) -> None:
    params = parse_dsn(text).params

    assert {name: getattr(params, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("raw", "password"),
    [
        ("p", "p"),
        ("p%40", "p@"),
        ("p@w", "p@w"),
        ("a:b", "a:b"),
        ("100%", "100%"),
        ("%zz%41", "%zzA"),
        ("a+b", "a+b"),
        ("[x]", "[x]"),
        ("%C3%A4", "ä"),
    ],
)
def test_a_password_may_hold_what_is_unambiguous(raw: str, password: str) -> None:
    assert parse_dsn(f"postgres://u:{raw}@h/d").params.password == LiteralPassword(password)


@pytest.mark.parametrize(
    "raw", ["hush/x", "hush?x", "hush#x", "5/hush", "5?hush", "5#hush", "hush/@x", "a@hush/x", "%FFhush"]
)
def test_a_password_that_would_need_a_guess_is_refused_and_not_shown(raw: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse_dsn(f"postgres://u:{raw}@h/d", "DB_URL")

    assert "hush" not in caught.value.message + caught.value.hint
    assert caught.value.message.startswith("DB_URL: ")
    assert "DB_PASS_FILE" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("mysql://h/d", "scheme is 'mysql'"),
        ("nonsense", "neither a URL nor"),
        ("host=h stray user=u", "neither a URL nor"),
        ("host=h user='open", "neither a URL nor"),
        ("postgres://h:x/d", "port"),
        ("postgres://h:70000/d", "port"),
        ("postgres://h:0/d", "port"),
        ("postgres://::1/d", "more than one colon"),
        ("postgres://a,,b/d", "empty place"),
        ("postgres:///d?host=a,b&port=1,2,3", "2 hosts have 3 ports"),
        ("postgres://h/d?sslmode=on", "sslmode is 'on'"),
        ("postgres://h/d?connect_timeout=soon", "connect_timeout is 'soon'"),
        ("postgres://h/d?target_session_attrs=any1", "target_session_attrs"),
        ("postgres://h/d?service=x", "service file"),
        ("postgres://h/d?a-b=c", "parameter's name"),
        ("postgres://h/d?x", "raw"),
        ("postgres://h/d\nx", "control character"),
        ("postgres://h/%00", "%00"),
        ("host=\ud800", "UTF-8"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        parse_dsn(text)


@pytest.mark.parametrize(
    "key",
    [
        "keepalives",
        "keepalives_idle",
        "channel_binding",
        "gssencmode",
        "load_balance_hosts",
        "tcp_user_timeout",
        "binary_parameters",
        "pool_max_conns",
        "pgbouncer",
        "x-statement-timeout",
        "x-multi-statement",
    ],
)
def test_what_only_a_client_understands_never_reaches_the_server(key: str) -> None:
    assert parse_dsn(f"postgres://h/d?{key}=1").params.server_settings == ()


def test_golang_migrates_parameters_are_returned_separately() -> None:
    dsn = parse_dsn("postgres://h/d?x-migrations-table=t&x-migrations-table-quoted=0&x-lock-strategy=table")

    assert dsn.x_parameters == {
        "x-migrations-table": "t",
        "x-migrations-table-quoted": "0",
        "x-lock-strategy": "table",
    }


def test_tls_prefers_unless_told_otherwise() -> None:
    assert parse_dsn("postgres://h/d").params.tls.mode is SslMode.PREFER
    assert parse_dsn("postgres://h/d?sslmode=verify-ca").params.tls.mode is SslMode.VERIFY_CA


def test_without_a_host_the_usual_sockets_come_before_localhost() -> None:
    addresses = parse_dsn("postgres:///d").params.addresses

    assert addresses[-1] == Address("localhost")
    assert all(address.is_socket for address in addresses[:-1])


def test_without_a_password_the_passfile_is_asked() -> None:
    assert parse_dsn("postgres://u@h/d").params.password == PassFile()
    assert parse_dsn("postgres://u@h/d?passfile=/x").params.password == PassFile("/x")


def test_a_place_names_user_hosts_and_database() -> None:
    assert parse_dsn("postgres://u:p@a,[::1]:7/d").params.place() == "u@a:5432,[::1]:7/d"
    assert parse_dsn("host=h").params.place() == "h:5432"


@pytest.mark.parametrize(
    ("text", "password"),
    [("plain", "plain"), ("%40", "@"), ("%", "%"), ("%zz", "%zz"), ("%FF", "%FF"), ("%00", "%00"), ("a+b", "a+b")],
)
def test_a_db_pass_is_decoded_where_that_is_valid(text: str, password: str) -> None:
    assert decode_password(text) == password


@pytest.mark.parametrize(
    ("text", "left"), [("x", "x"), ("x\n", "x"), ("x\r\n", "x"), ("x\n\n", "x\n"), (" x \n", " x "), ("x\r", "x\r")]
)
def test_one_final_line_end_of_a_secret_file_is_dropped(text: str, left: str) -> None:
    assert without_final_newline(text) == left


@pytest.mark.parametrize(
    ("options", "role"),
    [
        ("", None),
        ("-c role=owner", "owner"),
        ("-crole=owner", "owner"),
        ("--role=owner", "owner"),
        (r"-c role=my\ owner", "my owner"),
        ("-c role=a -c search_path=x -c role=b", "b"),
        ("-c norole=a", None),
    ],
)
def test_the_role_of_the_options_is_found(options: str, role: str | None) -> None:
    assert role_option(options) == role
