"""TLS as asyncpg takes it: modes and files by URL, since its arguments know no fallback and no file names."""

import ssl
from pathlib import Path
from urllib.parse import quote, urlencode

from worker.core.connecting.dsn import Address, SslMode, Tls
from worker.errors import SettingError

_SYSTEM = "system"


def tls_url(tls: Tls) -> str:
    """Return a URL that holds nothing but the TLS parameters.

    A file that is not named falls back to libpq's `PGSSL…` variables and `~/.postgresql`, as asyncpg looks there.
    """
    parameters = {
        "sslmode": tls.mode.value,
        "sslrootcert": "" if tls.root_certificate == _SYSTEM else tls.root_certificate,
        "sslcert": tls.certificate,
        "sslkey": tls.key,
        "sslpassword": tls.key_password,
        "sslcrl": tls.revocation_list,
        "ssl_min_protocol_version": tls.min_version,
        "ssl_max_protocol_version": tls.max_version,
    }
    return "postgresql://?" + urlencode({key: value for key, value in parameters.items() if value}, quote_via=quote)


def tls_argument(tls: Tls, address: Address) -> ssl.SSLContext | bool | None:
    """Return asyncpg's `ssl`: False for none, a context for the system's authorities, None to go by the URL.

    Raises:
        SettingError: a file that was named cannot be read, or `system` goes with a weaker mode.
    """
    if address.is_socket or tls.mode is SslMode.DISABLE:
        return False
    for name, path in (("sslcert", tls.certificate), ("sslkey", tls.key), ("sslcrl", tls.revocation_list)):
        _check_file(name, path)
    if tls.root_certificate != _SYSTEM:
        _check_file("sslrootcert", tls.root_certificate)
        return None
    if tls.mode is not SslMode.VERIFY_FULL:
        raise SettingError("sslrootcert is 'system', and it takes sslmode verify-full", hint="as libpq demands")
    return ssl.create_default_context()


def _check_file(name: str, path: str) -> None:
    if path and not Path(path).is_file():
        raise SettingError(f"{name} is {path!r}, and there is no such file", hint="check the path and the mount")
