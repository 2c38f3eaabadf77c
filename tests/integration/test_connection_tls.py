"""TLS in every mode, on a server that offers it with a certificate of its own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.cluster import Server, running_server
from tests.fixtures.installations import FIRST
from worker.core.connecting.dsn import parse_dsn
from worker.errors import NoDatabaseError, SettingError
from worker.postgres.connection import Purpose, closing, connect


def make_certificate(folder: Path, name: str) -> None:
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def tls_server(server: Server) -> Iterator[Server]:
    """A server with TLS; the wheel's is built without it, so this shows on PostgreSQL 15."""
    if not server.psql("SHOW ssl_library").strip() or shutil.which("openssl") is None:
        missing = "this PostgreSQL was built without TLS, or there is no openssl to make certificates with"
        if os.environ.get("CI") == "true" and server.version == FIRST[0]:
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    with running_server(server.version, server.binaries) as copy:
        data = copy.home / "data"
        owner = data.stat()
        make_certificate(data, "server")
        for name in ("server.key", "server.crt"):
            os.chown(data / name, owner.st_uid, owner.st_gid)
            (data / name).chmod(0o600)
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.write("\nssl = on\n")
        copy.restart()
        yield copy


@pytest.mark.parametrize(
    ("mode", "encrypted"),
    [
        ("disable", False),
        ("allow", False),
        ("prefer", True),
        ("require", True),
        ("verify-ca", True),
        ("verify-full", True),
    ],
)
async def test_every_mode_does_what_libpq_says(tls_server: Server, mode: str, encrypted: bool) -> None:  # noqa: FBT001 - a column
    root = {"sslrootcert": str(tls_server.home / "data" / "server.crt")} if mode.startswith("verify") else {}
    params = parse_dsn(tls_server.dsn(sslmode=mode, **root)).params

    async with closing(await connect(params, Purpose.MIGRATE, application_name="x")) as conn:
        assert await conn.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is encrypted


async def test_a_certificate_of_somebody_else_is_not_trusted(tls_server: Server, tmp_path: Path) -> None:
    make_certificate(tmp_path, "other")
    dsn = tls_server.dsn(sslmode="verify-ca", sslrootcert=str(tmp_path / "other.crt"))

    with pytest.raises(NoDatabaseError, match="certificate is not trusted"):
        await connect(parse_dsn(dsn).params, Purpose.MIGRATE, application_name="x")


async def test_the_systems_authorities_are_asked_for_and_need_the_strictest_mode(tls_server: Server) -> None:
    strict = parse_dsn(tls_server.dsn(sslmode="verify-full", sslrootcert="system")).params
    weak = parse_dsn(tls_server.dsn(sslmode="verify-ca", sslrootcert="system")).params

    with pytest.raises(NoDatabaseError, match="certificate is not trusted"):
        await connect(strict, Purpose.MIGRATE, application_name="x")
    with pytest.raises(SettingError, match="verify-full"):
        await connect(weak, Purpose.MIGRATE, application_name="x")
