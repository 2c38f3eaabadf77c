"""Named queries, kept in .sql files beside this module, for one control schema's name.

A query begins with `-- name: …`; the comment lines behind it describe it. As in psql, :"schema" stands for the
control schema's name as an identifier and :'schema' as a string.

Arrays of numbers travel as text[], and an array of contents as one value: for a type that asyncpg does not know it
would look through the catalogue, in four round trips on each new connection.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

from worker.core.pattern import pattern
from worker.core.target import quote_identifier, quote_literal

_VALUE = pattern(r"\$([0-9]+)")
_NAME = pattern(r"^-- name: (\w+)\n(?:--.*\n)*", re.MULTILINE)


Value = str | bytes | float | datetime | Sequence[str] | None
"""What a query of ours is given."""


def with_schema(sql: str, schema: str) -> str:
    """Put the control schema's name in for :"schema" and :'schema'."""
    return sql.replace(':"schema"', quote_identifier(schema)).replace(":'schema'", quote_literal(schema))


@cache
def queries(file: str, schema: str) -> dict[str, str]:
    """The queries of `file` (for example "target"), by name, without their descriptions."""
    text = Path(__file__).with_name(f"{file}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(with_schema(text, schema))
    return dict(zip(parts[::2], parts[1::2], strict=True))


def with_values(sql: str, *values: Value) -> str:
    """Put values in for $1, $2, …: so a statement that returns nothing needs one round trip, and can go with others.

    And one that the server keeps is planned once: with parameters it would be planned anew for each of the first five.
    """
    return _VALUE.sub(lambda found: _literal(values[int(found[1]) - 1]), sql.rstrip().removesuffix(";"))


def beside(*queries: str) -> str:
    """One query, and so one snapshot, of several that take no values, give a row each, and share no column's name."""
    parts = [f"({sql.rstrip().removesuffix(';')}) AS q{place}" for place, sql in enumerate(queries)]
    return f"SELECT * FROM {' CROSS JOIN '.join(parts)}"  # noqa: S608  queries of ours


def _literal(value: Value) -> str:
    match value:
        case None:
            return "NULL"
        case str():
            return quote_literal(value)
        case bytes():
            return f"'\\x{value.hex()}'::bytea"
        case int() | float():
            return f"({value})"
        case datetime():
            return quote_literal(value.isoformat())
        case _:
            return f"ARRAY[{', '.join(map(quote_literal, value))}]::text[]"
