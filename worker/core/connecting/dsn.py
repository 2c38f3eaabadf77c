"""Connection parameters: what a connection string means, as one frozen value that never shows a password."""

import re
from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from typing import TypeVar
from urllib.parse import unquote

from worker.core.connecting.dsn_syntax import split_dsn
from worker.core.pattern import pattern
from worker.core.value import dataclass, replace
from worker.errors import SettingError

DEFAULT_PORT = 5432
DEFAULT_HOSTS = "/var/run/postgresql,/tmp,localhost"
DEFAULT_CONNECT_TIMEOUT_MS = 10_000
_MAX_PORT = 65_535

# asyncpg sends what it does not know as a server setting, and the server refuses the connection. These are read here,
# or are the clients' own: libpq's, lib/pq's, pgx's, SQLAlchemy's and Prisma's.
_NOT_FOR_THE_SERVER = pattern(
    r"""
    host | hostaddr | port | user | password | passfile | dbname | database | options | application_name
    | connect_timeout | fallback_application_name | target_session_attrs | ssl\w* | keepalives\w* | tcp_user_timeout
    | channel_binding | gss\w* | krbsrvname | load_balance_hosts | (min|max)_protocol_version | replication
    | require_auth | requirepeer
    | requiressl | client_encoding | servicefile | scram_\w+ | oauth_\w+ | binary_parameters
    | disable_prepared_binary_result | pool_\w+ | (statement|description|prepared_statement)_cache_\w+
    | default_query_exec_mode | async_fallback | connection_limit | pgbouncer | schema | socket_timeout | x-.*
    """,
    re.VERBOSE | re.IGNORECASE,
)
# Most strings hold no others, and need not be matched with all of those.
_USUAL = frozenset({"host", "port", "user", "password", "dbname", "sslmode"})
_SERVER_SETTING = pattern(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
# An undecodable byte of the environment reaches Python as a lone surrogate.
_NO_TEXT = pattern("[\x00\ud800-\udfff]")
_SECONDS = pattern(r"-?[0-9]{1,6}")
_ROLE_OPTION = pattern(r"(?:^|\s)(?:-c\s*|--)role=((?:\\.|[^\s\\])+)")
_Choice = TypeVar("_Choice", bound=Enum)


class SslMode(Enum):
    """libpq's modes of TLS."""

    DISABLE = "disable"
    ALLOW = "allow"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


class SslNegotiation(Enum):
    """How TLS starts: asked for in Postgres's own protocol, or at once (PostgreSQL 17)."""

    POSTGRES = "postgres"
    DIRECT = "direct"


class SessionTarget(Enum):
    """libpq's `target_session_attrs`: which server of several will do."""

    ANY = "any"
    PRIMARY = "primary"
    STANDBY = "standby"
    PREFER_STANDBY = "prefer-standby"
    READ_WRITE = "read-write"
    READ_ONLY = "read-only"


@dataclass(frozen=True, slots=True)
class LiteralPassword:
    """A password that was given as it is."""

    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PasswordFile:
    """A file that holds nothing but the password; read at every connect."""

    path: str


@dataclass(frozen=True, slots=True)
class PassFile:
    """A file in libpq's passfile format; None is the one in the home directory."""

    path: str | None = None


Password = LiteralPassword | PasswordFile | PassFile


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: a host name or address, or the directory of a Unix socket, and a port."""

    host: str
    port: int = DEFAULT_PORT

    @property
    def is_socket(self) -> bool:
        """Whether the host is a directory that holds a Unix socket."""
        return self.host.startswith("/")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host and not self.is_socket else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """How a connection is encrypted; paths are of PEM files, "" means not given."""

    mode: SslMode = SslMode.PREFER
    negotiation: SslNegotiation = SslNegotiation.POSTGRES
    root_certificate: str = ""
    certificate: str = ""
    key: str = ""
    key_password: str = field(default="", repr=False)
    revocation_list: str = ""
    min_version: str = ""
    max_version: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionParams:
    """Everything that a connection needs.

    Without a user it is the operating system's, without a database the one named like the user.
    """

    addresses: tuple[Address, ...]
    user: str | None = None
    password: Password = PassFile()
    database: str | None = None
    tls: Tls = Tls()
    options: str = ""
    application_name: str | None = None
    server_settings: tuple[tuple[str, str], ...] = ()
    session_target: SessionTarget = SessionTarget.ANY
    connect_timeout_ms: int = DEFAULT_CONNECT_TIMEOUT_MS

    def at(self, address: Address) -> "ConnectionParams":
        """Return the same parameters for one of the addresses alone."""
        return replace(self, addresses=(address,))

    def place(self) -> str:
        """Return `user@host:port/database`, as errors and listings show it."""
        user = f"{self.user}@" if self.user else ""
        database = self.database or self.user
        return user + ",".join(map(str, self.addresses)) + (f"/{database}" if database else "")


@dataclass(frozen=True, slots=True)
class Dsn:
    """A connection string's meaning; `x_parameters` holds golang-migrate's `x-…`, lower-case and with the prefix."""

    params: ConnectionParams
    x_parameters: Mapping[str, str]


def parse_dsn(text: str, name: str = "the connection string") -> Dsn:
    """Read a Postgres URL or a keyword string.

    Args:
        text: `postgres://…`, also with a driver's name in the scheme, or `host=… user=…`.
        name: what to call it in an error, for example the variable that held it.

    Raises:
        SettingError: it cannot be read, or asks for something that is not supported.
    """
    return read_keywords(split_dsn(text, name), name)


def read_keywords(pairs: Mapping[str, str], name: str) -> Dsn:
    """Give libpq's keywords their meaning; empty values count as absent, other clients' own keys are dropped.

    Raises:
        SettingError: a value is not one that its keyword takes.
    """
    given = {key: value for key, value in pairs.items() if value}
    if any(_NO_TEXT.search(value) is not None for value in given.values()):
        raise SettingError(f"{name}: a value is not UTF-8 text, or holds a zero character", hint="encode it as UTF-8")
    if "service" in given:
        raise SettingError(
            f"{name}: a connection service file is not supported", hint="give host, user and dbname instead"
        )
    params = ConnectionParams(
        addresses=_addresses(given, name),
        user=given.get("user"),
        password=_password(given),
        database=given.get("dbname") or given.get("database"),
        tls=_tls(given, name),
        options=given.get("options", ""),
        application_name=given.get("application_name") or given.get("fallback_application_name"),
        server_settings=_server_settings(given, name),
        session_target=_one_of(SessionTarget, given, "target_session_attrs", SessionTarget.ANY, name),
        connect_timeout_ms=_connect_timeout_ms(given, name),
    )
    return Dsn(params, {key.lower(): value for key, value in given.items() if key.lower().startswith("x-")})


def decode_password(text: str) -> str:
    """Decode the valid %XX of a `DB_PASS`, which golang-migrate's users had to encode; all else stays as it is."""
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text
    return text if "\x00" in decoded else decoded


def without_final_newline(text: str) -> str:
    """Return a secret file's text without the one line end that editors add."""
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def role_option(options: str) -> str | None:
    """Return the role that `-c role=…` in libpq's options asks for; of several the last counts."""
    roles = _ROLE_OPTION.findall(options)
    return re.sub(r"\\(.)", r"\1", roles[-1]) if roles else None


def _addresses(given: Mapping[str, str], name: str) -> tuple[Address, ...]:
    """Pair hosts with ports; one port serves all hosts, and an empty one is the default."""
    default_hosts = DEFAULT_HOSTS if "host" not in given and "hostaddr" not in given else ""
    hosts = (given.get("host") or given.get("hostaddr") or default_hosts).split(",")
    ports = given.get("port", "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        raise SettingError(
            f"{name}: {len(hosts)} hosts have {len(ports)} ports", hint="give one port, or one for each host"
        )
    return tuple(_address(host, port, name) for host, port in zip(hosts, ports, strict=True))


def _address(host: str, port: str, name: str) -> Address:
    bare = host.strip().removeprefix("[").removesuffix("]")
    if not bare or "://" in bare or "@" in bare:
        raise SettingError(
            f"{name}: a host is empty or is a URL", hint="give a host name, an address or a socket directory"
        )
    number = parse_port(port or str(DEFAULT_PORT))
    if number is None:
        raise SettingError(f"{name}: a port is not a number from 1 to {_MAX_PORT}", hint="Postgres's own is 5432")
    return Address(bare, number)


def parse_port(text: str) -> int | None:
    """Return a TCP port from 1 to 65535, or None where the text is not one."""
    short = text.strip()
    if not (short.isascii() and short.isdigit() and len(short) <= len(str(_MAX_PORT))):
        return None
    return int(short) if 1 <= int(short) <= _MAX_PORT else None


def _password(given: Mapping[str, str]) -> Password:
    if "password" in given:
        return LiteralPassword(given["password"])
    return PassFile(given.get("passfile"))


def _tls(given: Mapping[str, str], name: str) -> Tls:
    return Tls(
        mode=_one_of(SslMode, given, "sslmode", SslMode.PREFER, name),
        negotiation=_one_of(SslNegotiation, given, "sslnegotiation", SslNegotiation.POSTGRES, name),
        root_certificate=given.get("sslrootcert", ""),
        certificate=given.get("sslcert", ""),
        key=given.get("sslkey", ""),
        key_password=given.get("sslpassword", ""),
        revocation_list=given.get("sslcrl", ""),
        min_version=given.get("ssl_min_protocol_version", ""),
        max_version=given.get("ssl_max_protocol_version", ""),
    )


def _server_settings(given: Mapping[str, str], name: str) -> tuple[tuple[str, str], ...]:
    """Return what is left for the server, as lib/pq and asyncpg do with keys that are none of theirs."""
    others = given.keys() - _USUAL
    left = {key: given[key] for key in others if _NOT_FOR_THE_SERVER.fullmatch(key) is None}
    for key in left:
        if _SERVER_SETTING.fullmatch(key) is None:
            raise SettingError(
                f"{name}: a parameter's name is not one of Postgres's", hint="letters, digits and _ only"
            )
    return tuple(sorted(left.items()))


def _connect_timeout_ms(given: Mapping[str, str], name: str) -> int:
    """Read libpq's whole seconds; its 0 and below mean for ever, and here the default."""
    if "connect_timeout" not in given:
        return DEFAULT_CONNECT_TIMEOUT_MS
    text = given["connect_timeout"].strip()
    if _SECONDS.fullmatch(text) is None:
        raise SettingError(f"{name}: connect_timeout is {text!r}, and it takes whole seconds", hint="for example 10")
    return int(text) * 1000 if int(text) > 0 else DEFAULT_CONNECT_TIMEOUT_MS


def _one_of(kind: type[_Choice], given: Mapping[str, str], key: str, default: _Choice, name: str) -> _Choice:
    text = given.get(key)
    if text is None:
        return default
    try:
        return kind(text)
    except ValueError:
        takes = ", ".join(member.value for member in kind)
        raise SettingError(
            f"{name}: {key} is {text!r}, and it takes one of {takes}", hint="see libpq's manual"
        ) from None
