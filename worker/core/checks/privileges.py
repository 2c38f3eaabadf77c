"""From a server's "permission denied" to the grant that is missing."""

from worker.core.pattern import pattern
from worker.core.target import quote_identifier

_RIGHTS = {
    "table": "SELECT, INSERT, UPDATE, DELETE ON TABLE",
    "view": "SELECT ON TABLE",
    "sequence": "USAGE, SELECT ON SEQUENCE",
    "schema": "USAGE, CREATE ON SCHEMA",
    "database": "CREATE ON DATABASE",
    "function": "EXECUTE ON FUNCTION",
    "procedure": "EXECUTE ON PROCEDURE",
    "type": "USAGE ON TYPE",
    "language": "USAGE ON LANGUAGE",
}
# An index goes with its table, an extension has no ALTER ... OWNER, and an aggregate's needs its argument types.
_OWNED = (
    "table",
    "view",
    "materialized view",
    "sequence",
    "schema",
    "database",
    "function",
    "procedure",
    "type",
    "publication",
)
_DENIED = pattern(rf"permission denied for ({'|'.join(_RIGHTS)}) (.+)")
# To refresh a materialized view takes ownership up to PostgreSQL 16, and MAINTAIN, which 16 does not know, from 17 on.
_OWNER = pattern(rf"(?:must be owner of|permission denied for(?= materialized)) ({'|'.join(_OWNED)}) (.+)")


def missing_grant(message: str, role: str) -> str | None:
    """The SQL that gives `role` what a server's English message says it lacks, or None where it does not say.

    A server names most objects without their schema; the statement has to be completed by whoever runs it.
    """
    to = quote_identifier(role)
    if denied := _DENIED.fullmatch(message):
        kind, name = denied[1], denied[2]
        return f"GRANT {_RIGHTS[kind]} {name if kind == 'type' else quote_identifier(name)} TO {to};"
    if owned := _OWNER.fullmatch(message):
        return f"ALTER {owned[1].upper()} {_owned(owned[1], owned[2])} OWNER TO {to};"
    return None


def grant_of_forgetting(control: str, role: str) -> str:
    """The SQL that lets a role remove old events of jobs."""
    return f"GRANT DELETE ON {quote_identifier(control)}.job_event TO {quote_identifier(role)};"


def _owned(kind: str, name: str) -> str:
    """The object as SQL: the server quotes a type itself, and names a function as the statement did, unquoted."""
    match kind:
        case "type":
            return name
        case "function" | "procedure":
            return ".".join(map(quote_identifier, name.split(".")))
        case _:
            return quote_identifier(name)
