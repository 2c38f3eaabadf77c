"""Connection families: which variables say where the database is. The first that is set counts, and none is mixed."""

from collections.abc import Mapping

from worker.core.connecting.dsn import Dsn, PasswordFile, decode_password, parse_dsn, read_keywords
from worker.core.value import dataclass, replace
from worker.errors import SettingError
from worker.postgres.password import read_secret_file
from worker.settings.parsers import go_bool, hosts, identifier, parsed, port
from worker.settings.source import UrlFile

_PARTS = ("DB_HOST", "DB_NAME", "DB_USER")
_CHECKED = (*_PARTS, "DB_PORT", "DB_PASS")
_LIBPQ_SELECTING = ("PGHOST", "PGHOSTADDR", "PGDATABASE", "PGUSER", "PGSERVICE")
_LIBPQ = {
    "PGHOST": "host",
    "PGHOSTADDR": "hostaddr",
    "PGPORT": "port",
    "PGDATABASE": "dbname",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGPASSFILE": "passfile",
    "PGSERVICE": "service",
    "PGOPTIONS": "options",
    "PGAPPNAME": "application_name",
    "PGCONNECT_TIMEOUT": "connect_timeout",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
    "PGSSLMODE": "sslmode",
    "PGSSLNEGOTIATION": "sslnegotiation",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGSSLCRL": "sslcrl",
    "PGSSLMINPROTOCOLVERSION": "ssl_min_protocol_version",
    "PGSSLMAXPROTOCOLVERSION": "ssl_max_protocol_version",
}


@dataclass(frozen=True, slots=True)
class Found:
    """The family that is set: its name, what it said at the start, and where to read it again."""

    name: str
    dsn: Dsn
    origin: Dsn | UrlFile


def find_database(environ: Mapping[str, str], flag: str | None) -> Found | None:
    """Return the first connection family that is set.

    Args:
        environ: the environment; an empty variable counts as unset.
        flag: what `--database` got.

    Raises:
        SettingError: the family is incomplete, or a value of it cannot be used.
    """
    if flag:
        return _fixed("--database", parse_dsn(flag, "--database"))
    if environ.get("DB_URL") or environ.get("DB_URL_FILE"):
        return _from_url(environ, "DB_URL")
    if any(environ.get(name) for name in _PARTS):
        return _fixed("DB_*", _from_parts(environ))
    if environ.get("DATABASE_URL") or environ.get("DATABASE_URL_FILE"):
        return _from_url(environ, "DATABASE_URL")
    if any(environ.get(name) for name in _LIBPQ_SELECTING):
        return _fixed("PG*", _from_libpq(environ))
    return None


def _fixed(name: str, dsn: Dsn) -> Found:
    return Found(name, dsn, dsn)


def _from_url(environ: Mapping[str, str], name: str) -> Found:
    path = _file_of(environ, name)
    if path is None:
        return _fixed(name, parse_dsn(environ[name], name))
    file = UrlFile(f"{name}_FILE", path)
    return Found(file.name, file.read(), file)


def _file_of(environ: Mapping[str, str], name: str) -> str | None:
    """Return the path in `NAME_FILE`; beside `NAME` itself nobody can say which was meant."""
    path = environ.get(f"{name}_FILE")
    if path and environ.get(name):
        raise SettingError(f"{name} and {name}_FILE are both set", hint="set one of them")
    return path or None


def _from_parts(environ: Mapping[str, str]) -> Dsn:
    """Read Neosync's `DB_*`: TLS is required unless `DB_SSL_DISABLE` says otherwise."""
    missing = [name for name in _PARTS if not environ.get(name)]
    if missing:
        given = ", ".join(name for name in _PARTS if environ.get(name))
        raise SettingError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set, beside {given}",
            hint="set DB_HOST, DB_NAME and DB_USER together, or DB_URL",
        )
    _check_ends(environ)
    disabled = parsed(
        "DB_SSL_DISABLE", environ.get("DB_SSL_DISABLE") or "false", go_bool, hint="true: no TLS; false: TLS is required"
    )
    pairs = {
        "host": parsed("DB_HOST", environ["DB_HOST"], hosts, hint="a port goes into DB_PORT, a whole URL into DB_URL"),
        "port": str(parsed("DB_PORT", environ.get("DB_PORT") or "5432", port, hint="Postgres's own is 5432")),
        "dbname": parsed("DB_NAME", environ["DB_NAME"], identifier, hint="the database's name"),
        "user": parsed("DB_USER", environ["DB_USER"], identifier, hint="the role's name"),
        "password": decode_password(environ.get("DB_PASS", "")),
        "sslmode": "disable" if disabled else "require",
    }
    return _with_password_file(environ, "DB_PASS", read_keywords(pairs, "the DB_* variables"))


def _check_ends(environ: Mapping[str, str]) -> None:
    """Refuse the line break that `echo` puts behind a Secret's value; no URL could ever hold it unescaped."""
    for each in _CHECKED:
        if environ.get(each, "").endswith(("\n", "\r")):
            raise SettingError(
                f"{each} got a line break at its end; it takes the value alone",
                hint="a Secret made with echo has one: make it with printf; in DB_PASS, %0A is one that belongs to it",
            )


def _from_libpq(environ: Mapping[str, str]) -> Dsn:
    pairs = {keyword: environ.get(name, "") for name, keyword in _LIBPQ.items()}
    return _with_password_file(environ, "PGPASSWORD", read_keywords(pairs, "the PG* variables"))


def _with_password_file(environ: Mapping[str, str], name: str, dsn: Dsn) -> Dsn:
    """Put `NAME_FILE` in the password's place; it is read here only to tell a wrong path from a lost database."""
    path = _file_of(environ, name)
    if path is None:
        return dsn
    read_secret_file(path, f"{name}_FILE")
    return replace(dsn, params=replace(dsn.params, password=PasswordFile(path)))
