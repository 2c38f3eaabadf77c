"""What a failed attempt to connect means, in one line that names host, port, database and user, and no password."""

import errno
import socket
import ssl

import asyncpg

from worker.core.connecting.dsn import ConnectionParams, PassFile, role_option
from worker.core.target import quote_identifier
from worker.errors import NoDatabaseError, RefusedError, SettingError, TidegateError

POOLER_HINT = "give the address of the server itself, not of the pooler; a gate may go through it without options"
_REACH_HINT = "check host and port, and that the server runs and accepts connections from here"
_SQLSTATES = {
    "28000": ("the server refuses the login", "check pg_hba.conf, the role, and sslmode"),
    "3D000": ("the database does not exist", "create it, or correct the database's name"),
    "53300": ("the server has no connection left", "raise max_connections, or close other connections"),
    "57P01": ("the server is shutting down", "wait until it is back"),
    "57P02": ("the server crashed and recovers", "wait until it is back"),
    "57P03": ("the server does not accept connections yet", "wait until it has started"),
}
_FOR_A_PERSON = {"28000": "login", "3D000": "no_such_database"}
_LOST = frozenset({"57P01", "57P02", "57P03"})


def map_connect_error(exc: BaseException, where: ConnectionParams) -> TidegateError:
    """Say what an exception means that asyncpg raised while connecting.

    Args:
        exc: what was raised.
        where: the parameters, with the one address that was tried.
    """
    match exc:
        case asyncpg.PostgresError():
            return _server_said(exc, where)
        case asyncpg.TargetServerAttributeNotMatched():
            return standby_refused(where)
        case asyncpg.ClientConfigurationError():
            return SettingError(f"{where.place()}: {_one_line(exc)}", hint="check the TLS settings")
        case UnicodeError():
            return SettingError(f"{where.place()}: the host name is not valid", hint="check the host")
        case OSError():
            words, hint = _reach(exc)
            return NoDatabaseError(f"{where.place()}: {words}", hint=hint)
        case _:
            return NoDatabaseError(f"{where.place()}: cannot connect: {_one_line(exc)}", hint=_REACH_HINT)


def map_error(exc: BaseException, where: ConnectionParams) -> TidegateError | None:
    """Say whether an exception of a session that was open means that the connection is lost; None if it does not."""
    closed = isinstance(exc, asyncpg.InterfaceError) and "closed" in str(exc)
    dropped = isinstance(exc, asyncpg.PostgresError) and exc.sqlstate in _LOST
    if closed or dropped or isinstance(exc, OSError | asyncpg.ConnectionDoesNotExistError):
        return NoDatabaseError(f"{where.place()}: the connection was lost", hint="look at the server's log")
    return None


def standby_refused(where: ConnectionParams) -> RefusedError:
    """A server in recovery grants locks and takes no writes."""
    return RefusedError(
        f"{where.place()}: the server is a standby, or read-only", hint="give the primary's address", reason="standby"
    )


def _server_said(exc: asyncpg.PostgresError, where: ConnectionParams) -> TidegateError:
    state = exc.sqlstate or ""
    if state == "28P01":
        return NoDatabaseError(
            f"{where.place()}: the password is wrong or missing", hint=_password_hint(where), reason="login"
        )
    if state == "42501":
        return _privilege(exc, where)
    if state == "08P01" and "startup parameter" in str(exc):
        words = "a pooler stands before the server, and refuses what a session for migrating needs"
        return RefusedError(f"{where.place()}: {words}: {_one_line(exc)}", hint=POOLER_HINT, reason="pooler")
    if state == "22023" and (role := role_option(where.options)) is not None and f'"{role}"' in str(exc):
        return SettingError(
            f"{where.place()}: {_one_line(exc)}, but the options say -c role={role}",
            hint="correct the name, or create the role: tidegate admin grants prints the set-up of all roles",
        )
    if state.startswith("22") or state == "42704":
        hint = "correct the options or server settings of the connection"
        return SettingError(f"{where.place()}: the server refuses a start-up parameter: {_one_line(exc)}", hint=hint)
    words, hint = _SQLSTATES.get(state, ("the server refuses the connection", _REACH_HINT))
    reason = _FOR_A_PERSON.get(state)
    return NoDatabaseError(f"{where.place()}: {words}: {_one_line(exc)}", hint=hint, reason=reason)


def _privilege(exc: asyncpg.PostgresError, where: ConnectionParams) -> RefusedError:
    """Name the missing grant; only the one for CONNECT on the database comes with a detail."""
    role = role_option(where.options)
    login = quote_identifier(where.user or "")
    if role is not None and not exc.detail:
        plain = f"GRANT {quote_identifier(role)} TO {login}"
        grant = f"{plain}; or from PostgreSQL 16 on: {plain} WITH SET TRUE;"
    else:
        grant = f"GRANT CONNECT ON DATABASE {quote_identifier(where.database or where.user or '')} TO {login};"
    return RefusedError(f"{where.place()}: {_one_line(exc)}", hint=f"as a superuser: {grant}", reason="privilege")


def _password_hint(where: ConnectionParams) -> str:
    if isinstance(where.password, PassFile):
        return "set DB_PASS or DB_PASS_FILE, put it into the URL, or check the passfile"
    return "check user and password; a role that does not exist gets the same answer"


def _reach(exc: OSError) -> tuple[str, str]:
    """Say in words what the network did. A name with several addresses gives one error with several numbers in it."""
    match exc:
        case TimeoutError():
            return "no answer within the connect timeout", _REACH_HINT
        case socket.gaierror():
            return f"the host name cannot be resolved: {exc.strerror}", "check the host's name and the resolver"
        case ssl.SSLError():
            return _tls_words(exc)
        case _ if "rejected SSL upgrade" in str(exc):
            return "the server does not offer TLS", "set sslmode=disable or prefer, or DB_SSL_DISABLE=true"
        case _ if exc.errno == errno.ECONNREFUSED or f"[Errno {errno.ECONNREFUSED}]" in str(exc):
            return "the connection was refused", _REACH_HINT
        case _:
            return f"cannot be reached: {exc.strerror or _one_line(exc)}", _REACH_HINT


def _tls_words(exc: ssl.SSLError) -> tuple[str, str]:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {exc.verify_message}", "check sslrootcert and the host's name"
    return f"TLS failed: {exc.reason or 'the handshake broke off'}", "check sslmode and the certificates"


def _one_line(exc: BaseException) -> str:
    return " ".join(str(exc).split())
