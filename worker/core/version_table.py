"""The version table's name as golang-migrate reads it: one identifier, or one or two quoted parts."""

from enum import Enum

from worker.core.pattern import pattern
from worker.core.value import dataclass

MAX_IDENTIFIER_BYTES = 63
"""Postgres cuts longer identifiers short, NAMEDATALEN - 1."""

_CONTROL = pattern(r"[\x00-\x1f\x7f]")
_QUOTED = pattern(r'"([^"]+)"(?:\."([^"]+)")?')


class Quoting(Enum):
    """Whether the text is the name itself, or quoted parts (`x-migrations-table-quoted`)."""

    PLAIN = "plain"
    QUOTED = "quoted"


@dataclass(frozen=True, slots=True)
class VersionTableName:
    """The name as it was set; without a schema the connection's current one is meant."""

    schema: str | None
    table: str


def parse_version_table(text: str, quoting: Quoting) -> VersionTableName:
    """Read a version table's name; a dot divides schema and table between quoted parts only.

    Raises:
        ValueError: The text is no such name. The words go behind the name of what was set.
    """
    schema, table = _parts(text, quoting)
    for part in filter(None, (schema, table)):
        if not part.strip() or _CONTROL.search(part) is not None:
            raise ValueError(f"got {text!r:.80}; it takes a name that is not blank and has no control character")
        if len(part.encode(errors="surrogatepass")) > MAX_IDENTIFIER_BYTES:
            raise ValueError(f"got {text!r:.80}; it takes names of at most {MAX_IDENTIFIER_BYTES} bytes")
    return VersionTableName(schema, table)


def _parts(text: str, quoting: Quoting) -> tuple[str | None, str]:
    if quoting is Quoting.PLAIN:
        if not text:
            raise ValueError("got ''; it takes a table's name")
        return None, text
    found = _QUOTED.fullmatch(text)
    if found is None:
        raise ValueError(f'got {text!r:.80}; it takes "table" or "schema"."table", with the quotes')
    return (found[1], found[2]) if found[2] is not None else (None, found[1])
