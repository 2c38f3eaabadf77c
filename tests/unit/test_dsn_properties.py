from hypothesis import example, given
from hypothesis import strategies as st

from worker.core.connecting.dsn import Dsn, LiteralPassword, decode_password, parse_dsn
from worker.errors import SettingError

MARK = "hushhush"
HOSTILE = st.text("@:/?#%&=+ []'\\,.-4", max_size=8)
RAW_PASSWORD = st.builds("{}{}{}".format, HOSTILE, st.just(MARK), HOSTILE)


def outcome(text: str) -> Dsn | SettingError:
    try:
        return parse_dsn(text)
    except SettingError as error:
        return error


@given(st.one_of(st.text(), st.text().map("postgres://".__add__), st.text("=' \\ab\n", max_size=20)))
def test_any_text_is_read_or_refused_with_words(text: str) -> None:
    read = outcome(text)

    if isinstance(read, SettingError):
        assert read.message
        assert "\n" not in read.message
    else:
        assert read.params.addresses


@given(RAW_PASSWORD)
@example(f"5/{MARK}")
@example(f"5?{MARK}=")
@example(f"5?sslmode={MARK}&")
def test_a_raw_password_is_taken_whole_or_refused_and_never_shown(raw: str) -> None:
    read = outcome(f"postgres://u:{raw}@h/d")

    if isinstance(read, SettingError):
        assert MARK not in repr(read) + read.message + read.hint
    else:
        assert read.params.password == LiteralPassword(decode_password(raw))
        assert MARK not in repr(read) + read.params.place()


@given(RAW_PASSWORD)
def test_a_quoted_password_of_a_keyword_string_is_taken_whole(raw: str) -> None:
    quoted = raw.replace("\\", "\\\\").replace("'", "\\'")

    dsn = parse_dsn(f"host=h password='{quoted}' user=u")

    assert dsn.params.password == LiteralPassword(raw)
    assert MARK not in repr(dsn)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_password_file_loses_nothing_to_decoding(text: str) -> None:
    assert decode_password(text.replace("%", "%25")) == text or "\x00" in text
