import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from worker.core.version_table import Quoting, VersionTableName, parse_version_table


@pytest.mark.parametrize(
    ("text", "quoting", "schema", "table"),
    [
        ("schema_migrations", Quoting.PLAIN, None, "schema_migrations"),
        ("a.b", Quoting.PLAIN, None, "a.b"),
        ('"a"', Quoting.PLAIN, None, '"a"'),
        ('"a"', Quoting.QUOTED, None, "a"),
        ('"a.b"', Quoting.QUOTED, None, "a.b"),
        ('"a"."b"', Quoting.QUOTED, "a", "b"),
        ('"A b"."c.d"', Quoting.QUOTED, "A b", "c.d"),
    ],
)
def test_a_name_is_read_as_golang_migrate_reads_it(text: str, quoting: Quoting, schema: str | None, table: str) -> None:
    assert parse_version_table(text, quoting) == VersionTableName(schema, table)


@pytest.mark.parametrize("text", ["", "a", "a.b", '"a', '"a"b"', '"a"."b"."c"', '""', '"a".', '"a" "b"'])
def test_a_quoted_name_takes_one_or_two_quoted_parts(text: str) -> None:
    with pytest.raises(ValueError, match="it takes"):
        parse_version_table(text, Quoting.QUOTED)


@pytest.mark.parametrize("text", ["x" * 64, "ä" * 32, "a\x00b", "a\n", " "])
def test_a_name_that_postgres_would_cut_or_refuse_or_that_nobody_meant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="it takes"):
        parse_version_table(text, Quoting.PLAIN)


@given(st.text(min_size=1, max_size=15))
def test_a_plain_name_is_never_taken_apart(text: str) -> None:
    assume(text.strip() and not re.search(r"[\x00-\x1f\x7f]", text))

    assert parse_version_table(text, Quoting.PLAIN) == VersionTableName(None, text)
