"""A seal: what a team says of a bundle, and its signatures. It lies beside the bundle's files as `bundle.sig`.

What is signed is not in that file: whoever checks a seal makes the message anew, from the claims and from the very
bytes of the files that are at hand. A list of files that is not stored cannot disagree with the files.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from worker.core.bundles.limits import MAX_SEAL_BYTES, SEAL_NAME, check_label
from worker.core.value import dataclass
from worker.errors import BundleError, RefusedError

DOMAIN: Final = b"tidegate bundle signature 1\n"
MAX_SEQUENCE: Final = 2**63 - 1
MAX_SIGNATURES: Final = 8
KEY_ID_DIGITS: Final = 16
SIGNATURE_BYTES: Final = 64

_MAX_TEXT = 200
_HEX = frozenset("0123456789abcdef")
_DIGEST_DIGITS = 64
_FIELDS = ("audience", "line", "label", "sequence", "database", "expires", "digest")
_OPTIONAL = frozenset({"database", "expires"})


@dataclass(frozen=True, slots=True)
class Claims:
    """What is said of a bundle; `database` and `expires` (seconds since 1970, UTC) are None where nothing is said.

    Everything else that a bundle means is in its files: `serves` and `order` in `bundle.toml`, the gate in directives.
    """

    audience: str
    line: str
    label: str
    sequence: int
    database: str | None = None
    expires: int | None = None


@dataclass(frozen=True, slots=True)
class Seal:
    """Claims, the digest of the bundle that they are about, and signatures by the id of the key that made each."""

    claims: Claims
    digest: str
    signatures: tuple[tuple[str, bytes], ...]


def digests_of(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The 32 bytes of each file's SHA-256, by its name."""
    return {name: sha256(content).digest() for name, content in files.items()}


def message_of(claims: Claims, digests: Mapping[str, bytes]) -> bytes:
    """Make the bytes that are signed, of claims and of the files' digests.

    They are `DOMAIN`, and then parts, each led by its length in 8 bytes, most significant first. The parts are, in
    this order: audience, line, label and database in UTF-8, sequence and expires in decimal digits, with no byte for
    what is not said; how many files there are, in decimal digits; and for each file, in ascending order of its name's
    UTF-8 bytes, its name in UTF-8 and the 32 bytes of its SHA-256. So no two different bundles or claims make the
    same message, and no message is one of another format.
    """
    said = (claims.audience, claims.line, claims.label, claims.database or "", claims.sequence, claims.expires)
    parts = [b"" if part is None else str(part).encode() for part in (*said, len(digests))]
    for name, digest in sorted((name.encode(), digest) for name, digest in digests.items()):
        parts += [name, digest]
    return DOMAIN + b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def render_seal(seal: Seal) -> str:
    """Write a seal as it stands in `bundle.sig`: one line an item, in a fixed order, with a line feed behind each."""
    claims = seal.claims
    said = {
        "audience": claims.audience,
        "line": claims.line,
        "label": claims.label,
        "sequence": str(claims.sequence),
        "database": claims.database,
        "expires": None if claims.expires is None else render_time(claims.expires),
        "digest": seal.digest,
    }
    lines = [f"{name} {value}\n" for name, value in said.items() if value is not None]
    return DOMAIN.decode() + "".join(lines) + "".join(f"ed25519 {key} {made.hex()}\n" for key, made in seal.signatures)


def parse_seal(raw: bytes) -> Seal:
    """Read `bundle.sig`; only the one way in which `render_seal` writes it is taken.

    Raises:
        RefusedError: It is larger than `MAX_SEAL_BYTES`, or anything else.
    """
    if len(raw) > MAX_SEAL_BYTES:
        raise _malformed(f"it has more than {MAX_SEAL_BYTES} bytes")
    try:
        seal = _parsed(raw.decode().removesuffix("\n").split("\n"))
    except ValueError as error:
        raise _malformed("it is not UTF-8" if isinstance(error, UnicodeError) else str(error)) from None
    if render_seal(seal).encode() != raw:
        raise _malformed("it is not as tidegate bundle sign writes it")
    return seal


def _parsed(lines: list[str]) -> Seal:
    if f"{lines[0]}\n" != DOMAIN.decode():
        raise ValueError("it does not begin as one, or is of a newer format")
    items = [line.partition(" ") for line in lines[1:]]
    said = {name: value for name, _, value in items if name != "ed25519"}
    signatures = tuple(_signature(value) for name, _, value in items if name == "ed25519")
    if not signatures or len(signatures) > MAX_SIGNATURES or len(dict(signatures)) < len(signatures):
        raise ValueError(f"it takes 1 to {MAX_SIGNATURES} signatures, each with a key of its own")
    for name in _FIELDS:
        if name not in said and name not in _OPTIONAL:
            raise ValueError(f"it has no {name}")
    return Seal(_claims(said), _hex(said["digest"], _DIGEST_DIGITS, "digest"), signatures)


def _claims(said: Mapping[str, str]) -> Claims:
    expires = said.get("expires")
    return checked(
        Claims(
            said["audience"],
            said["line"],
            said["label"],
            _number(said["sequence"]),
            said.get("database"),
            None if expires is None else parse_time(expires),
        )
    )


def checked(claims: Claims) -> Claims:
    """Return the claims, if they can be made.

    Raises:
        ValueError: One of them cannot; says which, and what it takes.
    """
    try:
        check_label(claims.label, "label")
    except BundleError as error:
        raise ValueError(error.message) from None
    for name, value in (("audience", claims.audience), ("line", claims.line), ("database", claims.database)):
        if value is not None and not (value.isprintable() and 0 < len(value) <= _MAX_TEXT):
            raise ValueError(f"{name} got {value!r:.60}; it takes 1 to {_MAX_TEXT} printable characters")
    if not 0 <= claims.sequence <= MAX_SEQUENCE:
        raise ValueError(f"sequence got {claims.sequence}; it takes a whole number from 0 to {MAX_SEQUENCE}")
    return claims


def parse_time(text: str) -> int:
    """Read a time such as 2027-01-31T12:00:00Z, in seconds since 1970.

    Raises:
        ValueError: It is none.
    """
    takes = f"a time got {text!r:.60}; it takes one such as 2027-01-31T12:00:00Z"
    try:
        seconds = int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise ValueError(takes) from None
    if seconds < 0 or render_time(seconds) != text:
        raise ValueError(takes)
    return seconds


def render_time(seconds: int) -> str:
    """Write a time as `parse_time` reads it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_SEQUENCE))):
        raise ValueError(f"sequence got {text!r:.60}; it takes a whole number")
    return int(text)


def _signature(text: str) -> tuple[str, bytes]:
    key, _, made = text.partition(" ")
    return _hex(key, KEY_ID_DIGITS, "key id"), bytes.fromhex(_hex(made, 2 * SIGNATURE_BYTES, "signature"))


def _hex(text: str, digits: int, what: str) -> str:
    if len(text) != digits or not _HEX.issuperset(text):
        raise ValueError(f"a {what} has {digits} lower-case hexadecimal digits")
    return text


def _malformed(why: str) -> RefusedError:
    return RefusedError(
        f"{SEAL_NAME} is malformed: {why}",
        hint="sign the bundle again: tidegate bundle sign; or remove the file where nothing needs to be signed",
        reason="untrusted",
    )
