"""Keys, signatures and trust, by the commands that people and CI type."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.command_line import Said, call, content
from tests.fixtures.servers import Database
from tests.fixtures.workers import migrations_in, tables

AUDIENCE = {"TIDEGATE_AUDIENCE": "shop"}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    out = tmp_path / "keys" / "ci"
    out.parent.mkdir()
    call("bundle", "keygen", "--out", out).is_fine("the private key", "ci.pub")
    return out


@pytest.fixture
def trusting(database: Database, key: Path) -> dict[str, str]:
    return {"DB_URL": database.dsn, "TIDEGATE_TRUSTED_KEYS": f"{key}.pub", **AUDIENCE}


def signed(key: Path, folder: Path, label: str, sequence: int, *more: str) -> Path:
    options = ("--key", key, "--label", label, "--sequence", sequence, *more)
    call("bundle", "sign", folder, *options, **AUDIENCE).is_fine(label, f"sequence {sequence}")
    return folder


def other_key(key: Path, name: str = "next") -> Path:
    out = key.with_name(name)
    call("bundle", "keygen", "--out", out).is_fine()
    return out


def test_a_private_key_is_its_owners_alone_and_is_never_overwritten_unasked(tmp_path: Path) -> None:
    out = tmp_path / "ci"
    call("bundle", "keygen", "--out", out).is_fine()
    first = out.read_bytes()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert b"PRIVATE" not in out.with_name("ci.pub").read_bytes()

    call("bundle", "keygen", "--out", out).is_error(2, "is there already", "--force")
    out.unlink()
    call("bundle", "keygen", "--out", out).is_error(2, "ci.pub", "is there already")
    call("bundle", "keygen", "--out", out, "--force").is_fine()

    assert out.read_bytes() != first
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ci", "ci.pub"]
    call("bundle", "keygen", "--out", tmp_path / "gone" / "ci").is_error(2, "cannot be written")


def test_signing_takes_a_key_an_audience_and_claims_that_can_be_read_back(key: Path, tmp_path: Path) -> None:
    folder = migrations_in(tmp_path / "m", tables(1))
    sign = ("bundle", "sign", folder)

    call(*sign, "--key", key).is_error(2, "--audience")
    call(*sign, **AUDIENCE).is_error(2, "--key")
    call(*sign, "--key", tmp_path / "gone", **AUDIENCE).is_error(2, "cannot be read")
    call(*sign, "--key", f"{key}.pub", **AUDIENCE).is_error(2, "holds no private key")
    call(*sign, "--key", key, "--key", key, **AUDIENCE).is_error(2, "each once")
    call(*sign, "--key", key, "--sequence", "-1", **AUDIENCE).is_error(2, "--sequence")
    call(*sign, "--key", key, "--expires", "soon", **AUDIENCE).is_error(2, "2027-01-31T12:00:00Z")
    call(*sign, "--key", key, "--only-database", "", **AUDIENCE).is_error(2, "database")
    call("bundle", "sign", tmp_path / "gone", "--key", key, **AUDIENCE).is_error(2, "does not exist")
    assert not (folder / "bundle.sig").exists()


def test_the_same_claims_make_the_same_signature_and_the_same_archive(key: Path, tmp_path: Path) -> None:
    folder = migrations_in(tmp_path / "m", tables(1))
    first, second = tmp_path / "1.tar.gz", tmp_path / "2.tar.gz"
    pack = ("bundle", "pack", folder, "--sign", key, "--sequence", 3, "--label", "1.0", "--out")
    call(*pack, first, **AUDIENCE).is_fine("1.0")
    signed(key, folder, "1.0", 3)
    call("bundle", "pack", folder, "--out", second).is_fine("1.0")

    assert first.read_bytes() == second.read_bytes()
    verify = call("bundle", "verify", first, "--trusted-keys", f"{key}.pub", **AUDIENCE)
    verify.is_fine("signed by ci", "sequence 3", "audience shop", "line schema_migrations")


def test_verify_says_who_signed_and_refuses_what_is_wrong(key: Path, tmp_path: Path) -> None:
    folder, trusted = migrations_in(tmp_path / "m", tables(1)), {"TIDEGATE_TRUSTED_KEYS": f"{key}.pub", **AUDIENCE}
    call("bundle", "verify", folder).is_fine("not signed")
    call("bundle", "verify", folder, **trusted).is_error(3, "it is not signed")
    signed(key, folder, "1.0", 3)
    call("bundle", "verify", folder, **trusted).is_fine("signed by ci")
    call("bundle", "verify", folder, **trusted, TIDEGATE_TRUST="warn").is_fine("signed by ci")
    call("bundle", "verify", folder).is_fine("which nothing here vouches for")
    call("bundle", "verify", folder, TIDEGATE_TRUSTED_KEYS=f"{key}.pub").is_error(2, "TIDEGATE_AUDIENCE")
    call("bundle", "verify", folder, "--label", "2.0", **trusted).is_error(3, "signed as 1.0")

    (folder / "0002_x.up.sql").write_text("SELECT 1")
    call("bundle", "verify", folder).is_error(3, "not those that were signed")
    call("bundle", "pack", folder, "--out", tmp_path / "x.tar.gz").is_error(3, "not those that were signed")
    (folder / "bundle.sig").write_text("x" * 20_000)
    call("bundle", "verify", folder).is_error(3, "bundle.sig has more than")
    (folder / "bundle.sig").write_bytes(b"\xff")
    call("bundle", "verify", folder).is_error(3, "bundle.sig is malformed")
    signed(key, folder, "1.0", 3)
    call("bundle", "verify", folder, **trusted).is_fine("signed by ci")


@pytest.mark.parametrize("verb", ["up", "publish", "plan", "force"])
def test_an_unsigned_directory_is_refused_and_changes_nothing(
    verb: str, trusting: dict[str, str], database: Database, tmp_path: Path
) -> None:
    folder = migrations_in(tmp_path / "m", tables(1))
    before = content(database)
    more = [folder] if verb == "publish" else ["--source", folder, *([1] if verb == "force" else [])]

    call(verb, *more, **trusting).is_error(3, "is not trusted: it is not signed")

    assert content(database) == before


def test_settings_that_trust_nobody_are_refused_at_once(database: Database, key: Path, tmp_path: Path) -> None:
    url = {"DB_URL": database.dsn}
    keys = {"TIDEGATE_TRUSTED_KEYS": str(tmp_path / "gone"), **AUDIENCE}
    call("up", TIDEGATE_TRUST="require", **url, **AUDIENCE).is_error(2, "TIDEGATE_TRUST", "TIDEGATE_TRUSTED_KEYS")
    call("up", **url, TIDEGATE_TRUSTED_KEYS=f"{key}.pub").is_error(2, "TIDEGATE_AUDIENCE is not set")
    call("up", **url, **AUDIENCE, TIDEGATE_TRUST="maybe").is_error(2, "require, warn, off")
    for verb in (["up"], ["run"], ["publish", tmp_path]):
        call(*verb, **url, **keys).is_error(2, "TIDEGATE_TRUSTED_KEYS", "cannot be read")
    call("status", **url, **keys).is_fine("wanted")
    call("up", **url, **AUDIENCE, TIDEGATE_MIN_SEQUENCE="x").is_error(2, "TIDEGATE_MIN_SEQUENCE")


def test_a_signed_build_is_published_applied_undone_and_withdrawn(
    key: Path, trusting: dict[str, str], database: Database, tmp_path: Path
) -> None:
    one = signed(key, migrations_in(tmp_path / "1", tables(1)), "1.0", 1)
    two, archive = migrations_in(tmp_path / "2", tables(1, 2)), tmp_path / "2.tar.gz"
    call("up", "--source", one, **trusting).is_fine("1 migrations run")
    pack = ("bundle", "pack", two, "--sign", key, "--label", "2.0", "--sequence", 2, "--out", archive)
    call(*pack, **AUDIENCE).is_fine()
    call("publish", archive, **trusting).is_fine("2.0", "wanted now")
    call("up", **trusting).is_fine("1 migrations run; it is at version 2")
    call("bundle", "verify", "--database", database.dsn, **trusting).is_fine("1.0", "2.0", "ci", "trusted")

    call("plan", "--goto", 1, "--source", one, **trusting).is_fine("2.0")
    call("goto", 1, "--yes", "--source", one, **trusting).is_fine("it is at version 1, and pinned")
    call("bundle", "withdraw", "2.0", **trusting).is_fine("1.0 is wanted now")
    call("resume", **trusting).is_fine()
    call("up", **trusting).is_fine("nothing to do; it is at version 1")
    call("down", 1, "--yes", **trusting).is_fine("it is at no version")
    assert database.psql("SELECT to_regclass('t1') IS NULL AND to_regclass('t2') IS NULL") == "t"


def test_one_build_is_promoted_through_databases_and_restores(
    key: Path, trusting: dict[str, str], database: Database, tmp_path: Path
) -> None:
    folder = signed(key, migrations_in(tmp_path / "m", tables(1)), "1.0", 1)
    call("up", "--source", folder, **trusting).is_fine("1 migrations run")
    copy = f"{database.name}_copy"
    database.server.psql(f"CREATE DATABASE {copy} TEMPLATE {database.name}")
    try:
        restored = {**trusting, "DB_URL": database.server.dsn(copy)}
        call("up", **restored).is_fine("nothing to do")
        call("bundle", "verify", **restored).is_fine("1.0", "trusted")
        signed(key, folder, "1.0", 1, "--only-database", database.name)
        call("publish", folder, **restored).is_error(3, f"signed for the database {database.name}")
    finally:
        database.server.psql(f"DROP DATABASE {copy} WITH (FORCE)")


def test_an_expired_build_is_not_published_and_one_that_was_is_still_applied(
    key: Path, trusting: dict[str, str], tmp_path: Path
) -> None:
    folder = signed(key, migrations_in(tmp_path / "m", tables(1)), "1.0", 1, "--expires", "2001-01-01T00:00:00Z")
    call("publish", folder, **trusting).is_error(3, "until 2001-01-01T00:00:00Z")
    call("publish", folder, **trusting, TIDEGATE_TRUST="off").is_fine("wanted now")

    call("up", **trusting).is_fine("1 migrations run")


def test_keys_are_rotated_and_an_old_one_is_revoked(
    key: Path, trusting: dict[str, str], database: Database, tmp_path: Path
) -> None:
    folder = signed(key, migrations_in(tmp_path / "m", tables(1)), "1.0", 1)
    call("publish", folder, **trusting).is_fine()
    following = other_key(key)
    revoked = {**trusting, "TIDEGATE_TRUSTED_KEYS": f"{following}.pub"}
    call("up", **revoked).is_error(3, "trusted are next")
    call("bundle", "verify", **revoked).is_error(3, "1 of 1 published bundles")

    # While both are trusted, the same content is published with the new key's signature.
    both = {**trusting, "TIDEGATE_TRUSTED_KEYS": f"{key}.pub, {following}.pub"}
    signed(following, folder, "1.0", 1)
    call("publish", folder, **both).is_fine("1.0")

    call("bundle", "verify", **both).is_fine("next")
    call("up", **revoked).is_fine("1 migrations run")
    assert database.psql("SELECT count(*) FROM tidegate.bundle") == "1"
    directory = {**trusting, "TIDEGATE_TRUSTED_KEYS": str(key.parent)}
    call("bundle", "verify", **directory).is_fine("trusted")


def test_an_image_with_a_newer_signature_needs_no_publishing(
    key: Path, trusting: dict[str, str], tmp_path: Path
) -> None:
    folder = signed(key, migrations_in(tmp_path / "m", tables(1)), "1.0", 1)
    call("publish", folder, **trusting).is_fine()
    following = other_key(key)
    signed(following, folder, "1.0", 1)

    call("up", "--source", folder, **{**trusting, "TIDEGATE_TRUSTED_KEYS": f"{following}.pub"}).is_fine("1 migrations")


def test_what_the_trust_is_worth_is_said_in_warn_and_off(trusting: dict[str, str], tmp_path: Path) -> None:
    folder = migrations_in(tmp_path / "m", tables(1))
    warned = call("up", "--source", folder, **trusting, TIDEGATE_TRUST="warn", TIDEGATE_LOG_FORMAT="json")
    warned.is_fine("1 migrations run")
    assert '"event": "bundle.doubted"' in warned.err.replace('":"', '": "')

    quiet = call("up", "--source", folder, **trusting, TIDEGATE_TRUST="off")
    quiet.is_fine("nothing to do")
    assert "doubted" not in quiet.err


def test_a_line_that_the_bundle_names_is_signed_and_has_to_be_known(
    key: Path, trusting: dict[str, str], tmp_path: Path
) -> None:
    folder = migrations_in(tmp_path / "m", tables(1))
    (folder / "bundle.toml").write_text('line = "orders"\n')
    signed(key, folder, "1.0", 1)
    call("up", "--source", folder, **trusting).is_fine("1 migrations run")

    call("down", 1, "--yes", **trusting).is_error(3, "the line orders is not trusted", "TIDEGATE_LINE=orders")
    call("down", 1, "--yes", **trusting, TIDEGATE_LINE="orders").is_fine("no version")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)

    call("bundle", "keygen", "--out", tmp_path / "ci").is_error(2, "cryptography", "tidegate[sign]")


@pytest.mark.parametrize("verb", [["admin", "config"], ["--help"], ["bundle", "--help"], ["status"]])
def test_what_checks_no_signature_does_not_load_the_library(
    verb: list[str], key: Path, trusting: dict[str, str]
) -> None:
    code = (
        f"import sys; from worker.cli import main\ntry: main({verb!r})\nfinally: print('cryptography' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=trusting)
    assert said.stdout.splitlines()[-1] == "False", Said(0, said.stdout, said.stderr)
    assert key.exists()
