"""Passwords and other secrets from files, read at the moment that a connection needs them."""

import stat
from pathlib import Path
from typing import assert_never

from worker.core.connecting.dsn import ConnectionParams, LiteralPassword, PassFile, PasswordFile, without_final_newline
from worker.core.connecting.passfile import find_password
from worker.errors import SettingError


def read_password(params: ConnectionParams, user: str, database: str) -> str:
    """Return the password for the first of the addresses, "" where there is none.

    Raises:
        SettingError: a file that was named cannot be read, or libpq would not trust it.
    """
    match params.password:
        case LiteralPassword(value):
            return value
        case PasswordFile(path):
            return read_secret_file(path, "the password file")
        case PassFile():
            return _from_passfile(params, user, database)
        case _:
            assert_never(params.password)


def password_file(params: ConnectionParams) -> Path | None:
    """The file that the password is read from, None where it is in none."""
    match params.password:
        case PasswordFile(path):
            return Path(path)
        case PassFile(path):
            return _home_passfile() if path is None else Path(path)
        case _:
            return None


def read_secret_file(path: str, name: str) -> str:
    """Return a file's text as it is, without one final line end.

    Args:
        path: where it is.
        name: what to call it in an error, for example the variable that named it.

    Raises:
        SettingError: it cannot be read or is not UTF-8.
    """
    try:
        return without_final_newline(Path(path).read_bytes().decode())
    except UnicodeDecodeError:
        raise SettingError(f"{name}: {path} is not UTF-8 text", hint="write the file as UTF-8") from None
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not a path"
        raise SettingError(
            f"{name}: {path!r} cannot be read: {reason}", hint="check the path, the mount and the file's permissions"
        ) from None


def _from_passfile(params: ConnectionParams, user: str, database: str) -> str:
    """Look the password up; no file, or no line for this connection, means no password."""
    file = password_file(params)
    if file is None or not file.is_file():
        return ""
    password = find_password(read_secret_file(str(file), "the passfile"), params.addresses[0], database, user)
    if password is not None and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingError(f"the passfile {file} can be read by others", hint=f"chmod 600 {file}, as libpq demands")
    return password or ""


def _home_passfile() -> Path | None:
    try:
        return Path.home() / ".pgpass"
    except RuntimeError:
        return None
