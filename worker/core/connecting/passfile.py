"""libpq's passfile: `host:port:database:user:password` lines, and which of them a connection takes."""

import re

from worker.core.connecting.dsn import Address
from worker.core.pattern import pattern

_FIELD = r"((?:[^\\:]|\\.)*)"
_LINE = pattern(rf"{_FIELD}:{_FIELD}:{_FIELD}:{_FIELD}:(.*)")


def find_password(text: str, address: Address, database: str, user: str) -> str | None:
    """Return the password of the first line that fits; `*` fits all, and a Unix socket is also `localhost`."""
    hosts = {"*", address.host} | ({"localhost"} if address.is_socket else set())
    wanted = (hosts, {"*", str(address.port)}, {"*", database}, {"*", user})
    for line in text.splitlines():
        found = None if line.startswith("#") else _LINE.fullmatch(line)
        if found is None:
            continue
        *fields, password = (re.sub(r"\\(.)", r"\1", part) for part in found.groups())
        if all(part in taken for part, taken in zip(fields, wanted, strict=True)):
            return password
    return None
