"""Connecting: the start-up parameters of each kind of session, its check, and its end."""

import getpass
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import TYPE_CHECKING

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from worker.core.connecting.dsn import ConnectionParams, SessionTarget, SslNegotiation
from worker.errors import NoDatabaseError, RefusedError, SettingError, TidegateError
from worker.postgres.connection_errors import POOLER_HINT, map_connect_error, map_error, standby_refused
from worker.postgres.password import read_password
from worker.postgres.session import PINNED_PATH
from worker.postgres.tls import tls_argument, tls_url

if TYPE_CHECKING:
    from asyncpg import Record
    from asyncpg.connection import Connection

LOCK_TIMEOUT_MS = 30_000
"""How long our own statements wait for a lock, on the control tables above all; a migration's say theirs themselves."""

CLOSE_TIMEOUT_S = 2.0
FAREWELL_S = 0.001
"""For a session that holds nothing: the server is told, and that it ends the session is not waited for."""
MIN_SERVER_VERSION = 140_000

# Restored by RESET ALL, since they are start-up parameters. With the keepalives a dead client's lock is free after
# about 10 s, without them after 32 s and more.
_WORKING = {
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "standard_conforming_strings": "on",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "8000",
}
# Some clouds make the first one read-only. With it a statement whose client was killed ends after a quarter second,
# so that another worker has the lock within a second; without it, the lock is held until the statement ends.
_OPTIONAL = {"client_connection_check_interval": "250", "idle_session_timeout": "0"}
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 8000}
# undefined_object, invalid_parameter_value, cant_change_runtime_param, insufficient_privilege
_PARAMETER_REFUSED = frozenset({"42704", "22023", "55P02", "42501"})
_CHECK = f"""
SELECT pg_catalog.pg_backend_pid() AS pid, current_user::pg_catalog.text AS role,
       pg_catalog.pg_is_in_recovery() AS standby,
       pg_catalog.current_setting('server_version_num')::int AS version,
       (SELECT s.source FROM pg_catalog.pg_settings AS s
           WHERE s.name OPERATOR(pg_catalog.=) 'idle_in_transaction_session_timeout') AS source,
       pg_catalog.set_config('search_path', '{PINNED_PATH}', false)
"""  # noqa: S608 - of a constant


class Purpose(Enum):
    """What a session is for; a gate's is minimal, so that it passes through poolers and to standbys."""

    MIGRATE = "migrate"
    CONTROL = "control"
    LISTEN = "listen"
    GATE = "gate"


async def connect(
    params: ConnectionParams,
    purpose: Purpose,
    *,
    application_name: str,
    lock_timeout_ms: int = LOCK_TIMEOUT_MS,
    statement_timeout_ms: int = 0,
) -> "Connection[Record]":
    """Connect to the first address that will do; each has the whole connect timeout.

    Args:
        params: where and as whom; a password in a file is read now.
        purpose: what the session is for.
        application_name: what `pg_stat_activity` shows; one in `params` goes before it.
        lock_timeout_ms: the session's `lock_timeout`, 0 for none; not for a gate.
        statement_timeout_ms: the session's `statement_timeout`, 0 for none; not for a gate.

    Raises:
        NoDatabaseError: no address can be reached, or the login or the database is refused.
        RefusedError: the server is a standby, a pooler, or denies the role in `-c role=…`.
        SettingError: a TLS file or a start-up parameter cannot be used.
    """
    server_settings = _server_settings(params, purpose, application_name, lock_timeout_ms, statement_timeout_ms)
    failures: list[TidegateError] = []
    for address in params.addresses:
        place = params.at(address)
        try:
            conn = await _open(place, purpose, server_settings)
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched) as exc:
            failures.append(map_connect_error(exc, place))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, ValueError) as exc:
            raise map_connect_error(exc, place) from exc
        else:
            _keep_alive(conn)
            return conn
    raise _most_telling(failures)


def _server_settings(
    params: ConnectionParams, purpose: Purpose, application_name: str, lock_timeout_ms: int, statement_timeout_ms: int
) -> dict[str, str]:
    """Return start-up parameters; the server applies `options` before them, so that ours stand."""
    settings = dict(params.server_settings) | {"application_name": params.application_name or application_name}
    if params.options:
        settings["options"] = params.options
    if purpose is Purpose.GATE:
        return settings
    if purpose is not Purpose.MIGRATE:
        settings["search_path"] = PINNED_PATH
    timeouts = {"lock_timeout": str(lock_timeout_ms), "statement_timeout": str(statement_timeout_ms)}
    return settings | _WORKING | _OPTIONAL | timeouts


async def _open(place: ConnectionParams, purpose: Purpose, settings: dict[str, str]) -> "Connection[Record]":
    """Connect; where the server refuses an optional parameter, connect again without it."""
    try:
        return await _dial(place, purpose, settings)
    except asyncpg.PostgresError as exc:
        refused = {name for name in _OPTIONAL if name in settings and name in str(exc)}
        if exc.sqlstate not in _PARAMETER_REFUSED or not refused:
            raise
    return await _open(place, purpose, {name: settings[name] for name in settings.keys() - refused})


async def _dial(place: ConnectionParams, purpose: Purpose, settings: Mapping[str, str]) -> "Connection[Record]":
    """Make one attempt. Everything is passed, since asyncpg would else ask the PG* environment."""
    user = place.user or _login()
    database = place.database or user
    address = place.addresses[0]
    target = place.session_target if purpose is Purpose.GATE else SessionTarget.READ_WRITE
    return await asyncpg.connect(
        tls_url(place.tls),
        host=address.host,
        port=address.port,
        user=user,
        password=_password(place, user, database),
        database=database,
        ssl=tls_argument(place.tls, address),
        direct_tls=place.tls.negotiation is SslNegotiation.DIRECT,
        timeout=place.connect_timeout_ms / 1000,
        # DDL invalidates plans. A cache that takes nothing of any length has a statement parsed once rather than
        # twice; a gate's may come through a pooler, which can send both halves of it to two servers.
        statement_cache_size=int(purpose is Purpose.MIGRATE),
        max_cacheable_statement_size=1,
        command_timeout=None,
        server_settings=dict(settings),
        target_session_attrs=SessionAttribute(target.value),
    )


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise SettingError("no database role is set, and this user has no name", hint="name it, e.g. DB_USER") from None


def _password(place: ConnectionParams, user: str, database: str) -> str:
    """Read the password; a file that is gone by now may come back, and is worth another attempt."""
    try:
        return read_password(place, user, database)
    except SettingError as exc:
        raise NoDatabaseError(f"{place.place()}: {exc.message}", hint=exc.hint) from None


def _keep_alive(conn: "Connection[Record]") -> None:
    """Let the client notice a dead peer too: asyncpg sets nothing on its socket, and gives no other way to it."""
    sock = conn._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # noqa: SLF001 - see above
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _most_telling(failures: list[TidegateError]) -> TidegateError:
    """Choose an address that may come back over one that is a standby: the primary may be the one that is away."""
    unreachable = [failure for failure in failures if isinstance(failure, NoDatabaseError)]
    return (unreachable or failures)[-1]


async def check_session(conn: "Connection[Record]", where: ConnectionParams) -> str:
    """Refuse a server, or what stands before it, on which a migration would not be safe; one query.

    Returns the role that statements run as. From here on the session's names are looked up in `PINNED_PATH`.

    Not for a gate's session.

    Raises:
        RefusedError: it is a pooler, a standby, or older than PostgreSQL 14.
        NoDatabaseError: the connection was lost.
    """
    try:
        row = await conn.fetchrow(_CHECK)
    except asyncpg.InvalidSQLStatementNameError:
        raise _pooler_refused(where) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as exc:
        raise map_error(exc, where) or map_connect_error(exc, where) from exc
    if row is None or row["pid"] != conn.get_server_pid() or row["source"] != "client":
        raise _pooler_refused(where)
    if row["standby"]:
        raise standby_refused(where)
    if row["version"] < MIN_SERVER_VERSION:
        raise RefusedError(
            f"{where.place()}: the server is PostgreSQL {row['version'] // 10_000}, older than 14",
            hint="upgrade the server",
            reason="server_version",
        )
    role: str = row["role"]
    return role


def _pooler_refused(where: ConnectionParams) -> RefusedError:
    """Tell a pooler by the server process, which is not the one of the login, or by start-up parameters it dropped."""
    return RefusedError(
        f"{where.place()}: a pooler stands before the server, and session locks are not safe through it",
        hint=POOLER_HINT,
        reason="pooler",
    )


@asynccontextmanager
async def closing(conn: "Connection[Record]", limit: float = CLOSE_TIMEOUT_S) -> "AsyncIterator[Connection[Record]]":
    """Close the connection at the end of the block, whatever ended it; it is cut after `limit` seconds."""
    try:
        yield conn
    except BaseException:
        await close(conn)
        raise
    # Nothing runs on it any more, so that there is nothing to shield: cancelled, it is cut, and that ends it as well.
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await conn.close(timeout=limit)


async def close(conn: "Connection[Record]") -> None:
    """Close within `CLOSE_TIMEOUT_S`, also when cancelled; what takes longer is terminated. Raises nothing."""
    import anyio  # noqa: PLC0415  slow to load, and only where something went wrong

    with (
        anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True),
        suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError),
    ):
        await conn.close()
    if not conn.is_closed():
        conn.terminate()
