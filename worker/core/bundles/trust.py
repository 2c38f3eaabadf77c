"""Whether a seal says enough: who has to have signed, for what, and how old a bundle may be."""

from collections.abc import Iterable
from enum import Enum
from hashlib import sha256

from worker.core.bundles.seal import KEY_ID_DIGITS, Claims, Seal, render_time
from worker.core.value import dataclass


class Policy(Enum):
    """What becomes of a bundle that the team did not sign: refused, run with a warning, or run."""

    REQUIRE = "require"
    WARN = "warn"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key, 32 bytes, that the configuration names."""

    name: str
    raw: bytes

    @property
    def id(self) -> str:
        """The key's id in a seal: the first 16 hexadecimal digits of the SHA-256 of its 32 bytes."""
        return key_id(self.raw)


def key_id(raw: bytes) -> str:
    """The id of a public key of 32 bytes."""
    return sha256(raw).hexdigest()[:KEY_ID_DIGITS]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bundle is to be used: the line that the target follows, and its database."""

    line: str
    database: str


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a bundle is not trusted, and what to do about it."""

    message: str
    hint: str


UNSIGNED = Objection("it is not signed", "sign it: tidegate bundle sign DIR --key FILE, or bundle pack --sign FILE")
FORGED = Objection(
    "its signature is not that of its files and claims",
    "somebody changed them: publish the signed bundle again, and find out who can write to the control schema",
)


def signers(seal: Seal, keys: Iterable[TrustedKey]) -> list[tuple[TrustedKey, bytes]]:
    """The trusted keys that are said to have signed, each with its signature."""
    made = dict(seal.signatures)
    return [(key, made[key.id]) for key in keys if key.id in made]


def unknown(seal: Seal, keys: Iterable[TrustedKey]) -> Objection:
    """No trusted key has signed."""
    by = ", ".join(key for key, _ in seal.signatures)
    trusted = ", ".join(f"{key.name} ({key.id})" for key in keys)
    return Objection(
        f"it is signed with the key {by}, and trusted are {trusted}",
        "sign it with a trusted key, or add the key's .pub file to TIDEGATE_TRUSTED_KEYS",
    )


def misdirected(claims: Claims, audience: str) -> Objection | None:
    """Object to a bundle of another application."""
    if claims.audience == audience:
        return None
    return Objection(
        f"it is signed for the audience {claims.audience}, and this one is {audience}",
        "publish the bundle of this application, or correct TIDEGATE_AUDIENCE",
    )


def led_astray(claims: Claims, line: str) -> Objection | None:
    """Object to a bundle of another line."""
    if claims.line == line:
        return None
    return Objection(
        f"it is signed for the line {claims.line}, and the target follows {line}",
        "publish it to the line that it was signed for, or sign it for this one",
    )


def misplaced(claims: Claims, place: Place) -> Objection | None:
    """Object to a bundle of another line or for another database."""
    astray = led_astray(claims, place.line)
    if astray is not None:
        return astray
    if claims.database not in {None, place.database}:
        return Objection(
            f"it is signed for the database {claims.database}, and this one is {place.database}",
            "sign it for this database, or without one",
        )
    return None


def replayed(claims: Claims, floor: int) -> Objection | None:
    """Object to SQL of a bundle that is older than what is known."""
    if claims.sequence >= floor:
        return None
    return Objection(
        f"its sequence number {claims.sequence} is below {floor}, and it would run SQL: it may have been replayed",
        "if it is wanted, sign it again, which gives it a higher number, publish it, and say tidegate retry",
    )


def expired(claims: Claims, now: float) -> Objection | None:
    """Object to publishing a bundle for the first time after its time."""
    if claims.expires is None or now <= claims.expires:
        return None
    return Objection(f"it was to be published until {render_time(claims.expires)}", "sign it again")
