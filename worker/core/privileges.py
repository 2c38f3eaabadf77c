"""From a server's "permission denied" to the grant that is missing."""

import re

from worker.core.target import quote_identifier

_DENIED = re.compile(r"permission denied for (table|relation|view|sequence|schema|database|function|type) (.+)")
_OWNER = re.compile(r"must be (?:the )?owner of (\w+(?: \w+)?) (.+)")
_RIGHTS = {
    "table": "SELECT, INSERT, UPDATE, DELETE ON TABLE",
    "relation": "SELECT, INSERT, UPDATE, DELETE ON TABLE",
    "view": "SELECT ON TABLE",
    "sequence": "USAGE, SELECT ON SEQUENCE",
    "schema": "USAGE, CREATE ON SCHEMA",
    "database": "CREATE ON DATABASE",
    "function": "EXECUTE ON FUNCTION",
    "type": "USAGE ON TYPE",
}


def missing_grant(message: str, role: str) -> str | None:
    """The SQL that gives `role` what a server's English message says it lacks, or None where it does not say.

    A server names an object without its schema; the statement has to be completed by whoever runs it.
    """
    to = quote_identifier(role)
    if denied := _DENIED.search(message):
        return f"GRANT {_RIGHTS[denied[1]]} {quote_identifier(denied[2])} TO {to};"
    if owned := _OWNER.search(message):
        return f"ALTER {owned[1].upper()} {quote_identifier(owned[2])} OWNER TO {to};"
    return None
