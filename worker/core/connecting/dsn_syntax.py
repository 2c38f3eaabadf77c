"""Connection strings taken apart: a URL or a keyword string becomes pairs; what they mean is not asked here.

No error quotes the text that it is about, since a piece of it may be a password.
"""

import re
from urllib.parse import unquote

from worker.core.pattern import pattern
from worker.errors import SettingError

_SCHEME = pattern(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_POSTGRES_SCHEME = pattern(r"postgres(ql)?(\+[a-z0-9_]+)?|pgx[0-9]?")
_BRACKETED = pattern(r"\[([^\]]*)\](?::(.*))?")
_KEYWORD_PAIR = pattern(
    r"\s*([A-Za-z_][A-Za-z0-9_-]*)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*)?)(?=\s|$)",
    re.DOTALL,
)
_ENCODE_HINT = (
    "percent-encode special characters in the password (%40 for @, %2F for /, %3F for ?, %23 for #), "
    "or use DB_HOST and its companions with DB_PASS or DB_PASS_FILE"
)


def split_dsn(text: str, name: str) -> dict[str, str]:
    """Take a URL or a keyword string apart into libpq's keywords; of a repeated key the last counts.

    Args:
        text: the connection string, with or without space around it.
        name: what to call it in an error, for example the variable that held it.

    Raises:
        SettingError: it is neither, or it cannot be taken apart without guessing.
    """
    stripped = text.strip()
    if re.search(r"[\x00-\x1f\x7f]", stripped) is not None:
        raise SettingError(f"{name}: the connection string holds a control character", hint=_ENCODE_HINT)
    scheme = _SCHEME.match(stripped)
    if scheme is None:
        return _split_keywords(stripped, name)
    if _POSTGRES_SCHEME.fullmatch(scheme[1].lower()) is None:
        raise SettingError(
            f"{name}: the URL's scheme is {scheme[1]!r}, and it takes postgres or postgresql",
            hint="for example postgres://user@host:5432/database",
        )
    return _split_url(stripped[scheme.end() :], name)


def _split_url(rest: str, name: str) -> dict[str, str]:
    """Split what follows the scheme; the user information ends at the authority's last @."""
    if "#" in rest:
        raise _ambiguous(name)
    authority, path, query = re.fullmatch(r"([^/?]*)([^?]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]  # matches every text
    if "@" in path:
        raise _ambiguous(name)
    user_information, _, hosts = authority.rpartition("@")
    user, _, password = user_information.partition(":")
    pairs = _split_hosts(hosts, name) | {"user": user, "password": password, "dbname": path[1:]}
    decoded = {key: _decode(value, name) for key, value in pairs.items() if value}
    return decoded | _split_query(query[1:], name)


def _split_hosts(text: str, name: str) -> dict[str, str]:
    """Split `host:port,[::1]:port,…` into a list of hosts and a list of ports of the same length."""
    split = [_split_host(part, name) for part in text.split(",")]
    if len(split) > 1 and not all(host for host, _ in split):
        raise SettingError(f"{name}: the URL's list of hosts has an empty place", hint="separate hosts by one comma")
    ports = ",".join(port for _, port in split)
    return {"host": ",".join(host for host, _ in split), "port": ports if ports.strip(",") else ""}


def _split_host(part: str, name: str) -> tuple[str, str]:
    bracketed = _BRACKETED.fullmatch(part)
    host, port = (
        (bracketed[1], bracketed[2] or "")
        if bracketed is not None
        else part.split(":", 1)
        if ":" in part
        else (part, "")
    )
    if ":" in port:
        raise SettingError(
            f"{name}: a host in the URL has more than one colon",
            hint=f"write an IPv6 address in brackets, for example [::1]:5432; else {_ENCODE_HINT}",
        )
    if port and not (port.isascii() and port.isdigit()):
        raise SettingError(f"{name}: the port in the URL is not a number from 1 to 65535", hint=_ENCODE_HINT)
    return host, port


def _split_query(text: str, name: str) -> dict[str, str]:
    """Split the query as Go and asyncpg do, with + for a space; a raw @ is taken in a user or password only."""
    pairs: dict[str, str] = {}
    for item in filter(None, text.split("&")):
        key, equals, value = item.partition("=")
        if not equals or ("@" in item and key not in {"user", "password"}):
            raise _ambiguous(name)
        pairs[_decode(key, name)] = _decode(value.replace("+", " "), name)
    return pairs


def _split_keywords(text: str, name: str) -> dict[str, str]:
    """Split `key=value key='a value'` by libpq's rules; a backslash takes the next character as it is."""
    pairs: dict[str, str] = {}
    position = 0
    while position < len(text):
        pair = _KEYWORD_PAIR.match(text, position)
        if pair is None:
            raise SettingError(
                f"{name}: the connection string is neither a URL nor a list of key=value pairs",
                hint="write postgres://user@host:5432/database, or host=… user=… dbname=… with quotes around spaces",
            )
        pairs[pair[1]] = re.sub(r"\\(.)", r"\1", pair[2] or pair[3] or "", flags=re.DOTALL)
        position = pair.end()
    if not pairs:
        raise SettingError(f"{name}: the connection string is empty", hint="write postgres://user@host:5432/database")
    return pairs


def _decode(text: str, name: str) -> str:
    """Decode valid %XX; a % that starts no such sequence stays as it is."""
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise SettingError(f"{name}: a %XX sequence in the URL is not UTF-8", hint=_ENCODE_HINT) from None
    if "\x00" in decoded:
        raise SettingError(f"{name}: the URL holds %00, which no connection can carry", hint=_ENCODE_HINT)
    return decoded


def _ambiguous(name: str) -> SettingError:
    return SettingError(
        f"{name}: the URL has a raw '@', '/', '?' or '#' where it could end the password or belong to it",
        hint=_ENCODE_HINT,
    )
