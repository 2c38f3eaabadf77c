"""A target: the schema and version table that a bundle is applied to, inside one database."""

from worker.core.pattern import pattern
from worker.core.value import dataclass

_PLAIN = pattern(r"[a-z_][a-z0-9_$]*")


def quote_identifier(name: str) -> str:
    """Quote an identifier for SQL; always quoted, so that no keyword and no case fold can change it."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Quote a string for SQL, whatever standard_conforming_strings says."""
    quoted = text.replace("'", "''")
    return " E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in text else f"'{quoted}'"


def _shown(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else quote_identifier(name)


@dataclass(frozen=True, slots=True)
class Target:
    """The version table's resolved schema and name; the database is the one that holds it."""

    schema: str
    table: str

    @property
    def name(self) -> str:
        """The target's key in the control tables and its name in logs: quoted only where it must be."""
        return f"{_shown(self.schema)}.{_shown(self.table)}"

    @property
    def relation(self) -> str:
        """The version table as SQL, always quoted."""
        return f"{quote_identifier(self.schema)}.{quote_identifier(self.table)}"
