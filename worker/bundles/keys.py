"""Ed25519 keys in files, as PEM: made, read, signed with and checked with; the library is loaded when it is needed."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from worker.core.bundles.bundle import Bundle
from worker.core.bundles.seal import MAX_SIGNATURES, Claims, Seal, digests_of, message_of
from worker.core.bundles.trust import TrustedKey, key_id
from worker.errors import SettingError, UsageError

if TYPE_CHECKING:
    from types import ModuleType

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_MAX_KEY_BYTES = 16 * 1024
_PUBLIC = ".pub"


def _ed25519() -> "ModuleType":
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415  an extra, and slow to load
    except ImportError as error:
        raise UsageError(
            "signatures need the Python package cryptography, which is not installed",
            hint="install tidegate with its extra: pip install 'tidegate[sign]'",
        ) from error
    return ed25519


def generate(out: Path, *, force: bool = False) -> str:
    """Write a new private key, readable by its owner alone, and the public one beside it; returns the key's id.

    Raises:
        UsageError: One of the files is there already and `force` was not said, or cannot be written.
    """
    private = _ed25519().Ed25519PrivateKey.generate()
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415  the same

    public = private.public_key()
    secret = private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    shown = public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    beside = public_path(out)
    taken = [path for path in (out, beside) if os.path.lexists(path)]
    if taken and not force:
        raise UsageError(
            f"{str(taken[0])!r} is there already", hint="choose another name, or say --force: the key in it is lost"
        )
    try:
        _write(out, secret, 0o600)
        _write(beside, shown, 0o644)
    except OSError as error:
        message = f"{str(out)!r} cannot be written: {error.strerror}"
        raise UsageError(message, hint="check the path and its rights") from error
    return key_id(public.public_bytes_raw())


def public_path(private: Path) -> Path:
    """Where the public key of a private one lies."""
    return private.with_name(private.name + _PUBLIC)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file that has its mode from the start, and replace another one in one step."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_private(path: Path) -> "Ed25519PrivateKey":
    """Read a private key.

    Raises:
        UsageError: There is none in the file, or it has a password.
    """
    ed25519 = _ed25519()
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415  the same

    hint = "name the private key that tidegate bundle keygen made"
    try:
        key = load_pem_private_key(_content(path), password=None)
    except OSError as error:
        raise UsageError(f"the key {str(path)!r} cannot be read: {error.strerror}", hint=hint) from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"{str(path)!r} holds no private key without a password", hint=hint) from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UsageError(f"{str(path)!r} holds a private key of another kind than Ed25519", hint=hint)
    return cast("Ed25519PrivateKey", key)


def read_trusted(paths: Iterable[str]) -> tuple[TrustedKey, ...]:
    """Read public keys from files, and from every `.pub` file of directories; a key's name is that of its file.

    Raises:
        SettingError: A path cannot be read, a file holds no public key, or there is none at all.
    """
    files = [file for path in paths for file in _files(Path(path))]
    keys = {key.raw: key for key in map(_read_public, files)}
    if not keys:
        raise SettingError(
            f"TIDEGATE_TRUSTED_KEYS: there is no {_PUBLIC} file in {', '.join(paths)}",
            hint="put the public keys of tidegate bundle keygen there",
        )
    return tuple(keys.values())


def _files(path: Path) -> list[Path]:
    try:
        is_directory = path.is_dir()
        return sorted(one for one in path.iterdir() if one.name.endswith(_PUBLIC)) if is_directory else [path]
    except OSError as error:
        raise _unreadable(path, error) from error


def _read_public(path: Path) -> TrustedKey:
    ed25519 = _ed25519()
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  the same
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415  the same

    try:
        key = load_pem_public_key(_content(path))
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise SettingError(
            f"TIDEGATE_TRUSTED_KEYS: {str(path)!r} holds no public Ed25519 key",
            hint=f"name the {_PUBLIC} file that tidegate bundle keygen made",
        )
    return TrustedKey(path.name.removesuffix(_PUBLIC), key.public_bytes_raw())


def _unreadable(path: Path, error: OSError) -> SettingError:
    return SettingError(
        f"TIDEGATE_TRUSTED_KEYS: {str(path)!r} cannot be read: {error.strerror}", hint="check the path and its rights"
    )


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_KEY_BYTES)


def seal_with(keys: Iterable["Ed25519PrivateKey"], claims: Claims, bundle: Bundle) -> Seal:
    """Sign a bundle with one key, or with several, so that it is taken with any of them.

    Raises:
        UsageError: There are more keys than a seal takes, or one twice.
    """
    message = message_of(claims, digests_of(bundle.files))
    made = tuple((key_id(key.public_key().public_bytes_raw()), key.sign(message)) for key in keys)
    if len(made) > MAX_SIGNATURES or len(dict(made)) < len(made):
        raise UsageError(f"--key takes up to {MAX_SIGNATURES} keys, each once", hint="leave some out")
    return Seal(claims, bundle.digest, made)


def is_signed(key: TrustedKey, signature: bytes, message: bytes) -> bool:
    """Tell whether a signature is the key's, over this message."""
    ed25519 = _ed25519()
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  the same

    try:
        ed25519.Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, message)
    except InvalidSignature:
        return False
    return True
