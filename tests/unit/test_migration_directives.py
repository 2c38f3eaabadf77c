"""The directives in a migration's leading comments, and the text around them."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.bundles.migration import Directives, Gate, Transaction, parse_directives, parse_side
from worker.errors import BundleError

OFF = Directives(transaction=Transaction.OFF)


def test_all_directives_are_read() -> None:
    sql = "-- tidegate: transaction=off gate=off lock_timeout=2s statement_timeout=5m block_budget=1s\nSELECT 1;"
    assert parse_directives(sql, "f") == Directives(Transaction.OFF, Gate.OFF, 2_000, 300_000, 1_000)


@pytest.mark.parametrize("word", ["none", "0"])
def test_a_limit_can_be_taken_away(word: str) -> None:
    sql = f"-- tidegate: lock_timeout={word} statement_timeout={word} block_budget={word}"
    assert parse_directives(sql, "f") == Directives(lock_timeout_ms=0, statement_timeout_ms=0, block_budget_ms=0)


@pytest.mark.parametrize(
    "sql",
    [
        "-- tidegate: transaction=off",
        "--tidegate:transaction=off",
        "--\tTidegate:\ttransaction=off \t",
        "\ufeff-- tidegate: transaction=off\r\nSELECT 1;\r\n",
        "\r\n\r\n  \t\f-- tidegate: transaction=off\r\n",
        "-- what this does\n\n-- and why\n-- tidegate: transaction=off\nSELECT 1;",
        "/* a licence /* with a nested */ comment\n*/ -- tidegate: transaction=off\nSELECT 1;",
        "-- old line ends\r-- tidegate: transaction=off\rSELECT 1;",
        "-- tidegate: transaction=off\n-- tidegate: gate=on\nSELECT 1;",
    ],
)
def test_a_directive_is_found_before_the_first_token(sql: str) -> None:
    assert parse_directives(sql, "f") == OFF


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "SELECT 1;\n-- tidegate: transaction=off",
        "SELECT 1; -- tidegate: transaction=off",
        ";-- tidegate: transaction=off",
        "\\restrict x\n-- tidegate: transaction=off",
        "/* -- tidegate: transaction=off */ SELECT 1;",
        "/* never closed\n-- tidegate: transaction=off",
        "/* outer /* inner */\n-- tidegate: transaction=off\n*/",
        "-- about tidegate: transaction=off",
        "- - tidegate: transaction=off",
    ],
)
def test_a_directive_elsewhere_is_only_text(sql: str) -> None:
    assert parse_directives(sql, "f") == Directives()


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("-- tidegate: transacton=off", "a.up.sql, line 1: unknown directive 'transacton'"),
        ("-- tidegate: Transaction=off", "a.up.sql, line 1: unknown directive 'Transaction'"),
        ("\r\n\r\n-- tidegate: transaction=no", "a.up.sql, line 3: transaction got 'no'; it takes on or off"),
        ("-- tidegate: gate=", "a.up.sql, line 1: gate got ''; it takes on or off"),
        ("--\n-- tidegate: transaction=off, gate=off", "a.up.sql, line 2: transaction got 'off,'; it takes on or off"),
        ("-- tidegate: gate=off gate=off", "a.up.sql, line 1: gate is set twice"),
        ("-- tidegate: gate=off\n-- tidegate: gate=on", "a.up.sql, line 2: gate is set twice"),
        ("/*\n*/\n-- tidegate:", "a.up.sql, line 3: a directive without a setting"),
        ("-- tidegate: transaction", "a.up.sql, line 1: a directive takes key=value, got 'transaction'"),
        ("-- tidegate: lock_timeout = 2s", "a.up.sql, line 1: a directive takes key=value, got 'lock_timeout'"),
    ],
)
def test_a_wrong_directive_is_refused_with_its_file_and_line(sql: str, message: str) -> None:
    with pytest.raises(BundleError) as caught:
        parse_directives(sql, "a.up.sql")
    assert caught.value.message == message
    assert caught.value.hint


@pytest.mark.parametrize("value", ["2", "2 s", "-1s", "1.5s", "2S", "never", "9999999999999h"])
def test_a_wrong_timeout_says_what_it_got_and_what_it_takes(value: str) -> None:
    with pytest.raises(BundleError, match=r"^f, line 1: (lock|statement)_timeout got .*; it takes ") as caught:
        parse_directives(f"-- tidegate: lock_timeout={value}", "f")
    assert value.split(" ", maxsplit=1)[0] in caught.value.message


@given(st.text(alphabet="-/*\n\r \ufeff;atidegate:=off transaction", max_size=60))
def test_any_text_gives_directives_or_a_bundle_error(sql: str) -> None:
    assert outcome(sql).startswith(("Directives(", "f, line "))


def outcome(sql: str) -> str:
    try:
        return repr(parse_directives(sql, "f"))
    except BundleError as error:
        return error.message


@given(
    st.lists(st.sampled_from(["", "-- a note", "  ", "/* block\n*/", "--"]), max_size=8),
    st.sampled_from(["\n", "\r\n"]),
)
def test_the_line_of_an_error_counts_what_stands_above(above: list[str], end: str) -> None:
    sql = end.join([*above, "-- tidegate: wrong=1"])
    with pytest.raises(BundleError, match=rf"^f, line {sql.count(chr(10)) + 1}: "):
        parse_directives(sql, "f")


def test_a_megabyte_of_comments_is_read_in_one_pass() -> None:
    assert parse_directives("-- x\n" * 200_000 + "-- tidegate: transaction=off", "f") == OFF


def test_a_side_holds_the_text_and_the_checksum_of_the_raw_bytes() -> None:
    raw = b"\xef\xbb\xbf-- tidegate: gate=off\r\nSELECT 'gr\xc3\xbc\xc3\x9fe';\r\n"
    side = parse_side("1_a.up.sql", raw)
    assert side.sql == "-- tidegate: gate=off\r\nSELECT 'grüße';\r\n"
    assert side.checksum == sha256(raw).hexdigest()
    assert side.directives == Directives(gate=Gate.OFF)


def test_a_file_that_is_not_utf_8_is_refused_with_its_line_and_byte() -> None:
    with pytest.raises(BundleError, match=r"^1_a\.up\.sql, line 2: not UTF-8 at byte 13 \(0xfc\)"):
        parse_side("1_a.up.sql", b"\xef\xbb\xbfSELECT\n'gr\xfc\xdfe'")


def test_a_nul_character_is_refused_with_its_line() -> None:
    with pytest.raises(BundleError, match=r"^1_a\.up\.sql, line 3: a NUL character"):
        parse_side("1_a.up.sql", b"SELECT\n\n'\0'")
