"""Bundles: an immutable, ordered set of migrations with a label and a digest over its content."""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import field
from enum import Enum
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from worker.core.bundles.limits import (
    MANIFEST_NAME,
    SEAL_NAME,
    check_count,
    check_file_name,
    check_label,
    check_size,
    check_total,
)
from worker.core.bundles.migration import MAX_VERSION, Direction, Migration, Side, parse_file_name, parse_side
from worker.core.bundles.seal import Seal, parse_seal
from worker.core.value import dataclass, replace
from worker.errors import BundleError, RefusedError


class OrderPolicy(Enum):
    """What to do with a version that is lower than one already applied."""

    ERROR = "error"
    APPLY = "apply"
    SKIP = "skip"


_ORDERS = tuple(policy.value for policy in OrderPolicy)
_MAX_TEXT = 128
_MAX_DOTS = 128


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `bundle.toml` says; None means not said. `serves` is the oldest version still served."""

    label: str | None = None
    line: str | None = None
    serves: int | None = None
    order: OrderPolicy | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked bundle; `migrations` is sorted by version, `files` holds the raw bytes by name.

    `seal` is its `bundle.sig`, which is no part of its files or its digest, None where it has none.
    """

    migrations: tuple[Migration, ...]
    files: Mapping[str, bytes] = field(repr=False)
    digest: str
    manifest: Manifest
    label: str
    seal: Seal | None = None

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions, ascending."""
        return tuple(migration.version for migration in self.migrations)

    @property
    def latest(self) -> int:
        """The highest version; a bundle is never empty."""
        return self.migrations[-1].version

    @property
    def checksums(self) -> dict[int, str | None]:
        """The checksum of each version's up file, None where it has none: what `relation` compares."""
        return {migration.version: migration.up.checksum if migration.up else None for migration in self.migrations}

    def get(self, version: int) -> Migration | None:
        """Find a migration by its version."""
        place = bisect_left(self.migrations, version, key=lambda migration: migration.version)
        found = self.migrations[place : place + 1]
        return found[0] if found and found[0].version == version else None


class Relation(Enum):
    """How an offered bundle relates to the wanted one, by its versions and their up checksums."""

    SAME = "same"
    EXTENDS = "extends"
    OLDER = "older"
    DIVERGED = "diverged"


Vet = Callable[[Mapping[str, bytes], bytes | None, str], Seal | None]
"""Reads the `bundle.sig` of raw files, before these are parsed, or raises; the last argument is their source's name."""


def unvetted(files: Mapping[str, bytes], raw: bytes | None, source: str) -> Seal | None:
    """Take any bundle, whoever signed it; but a seal has to be one, and of these files.

    Raises:
        RefusedError: It is not.
    """
    if raw is None:
        return None
    seal, digest = parse_seal(raw), digest_of(files)
    if seal.digest != digest:
        raise RefusedError(
            f"{source}: its files are not those that were signed (digest {digest[:12]}, signed was {seal.digest[:12]})",
            hint=f"restore them, or sign them again; where nothing needs to be signed, remove {SEAL_NAME}",
            reason="untrusted",
        )
    return seal


def unsealed(_files: Mapping[str, bytes], _raw: bytes | None, _source: str) -> Seal | None:
    """Take the files of any bundle and leave its seal: it is to be signed anew."""
    return None


def build_bundle(
    files: Mapping[str, bytes], label: str | None = None, source: str = "the bundle", vet: Vet = unvetted
) -> Bundle:
    """Check files and make a bundle of them; the SQL itself is not looked at.

    Args:
        files: Raw bytes by base name. Names that are no migration's, `bundle.toml` or `bundle.sig` are left out.
        label: Goes before the label in `bundle.toml`, and has to be the signed one where there is one; without any it
            is derived from the digest.
        source: What messages call the place that the files come from.
        vet: Is asked first, and reads the seal.

    Raises:
        BundleError: There is no migration, two files hold the same side of a version, or a file, a directive,
            `bundle.toml` or the label is not acceptable.
        RefusedError: `bundle.sig` is malformed, or made for other files or another label.
    """
    if label is not None:
        check_label(label, "the label")
    kept = {name: files[name] for name in sorted(files) if is_bundle_file(name) and name != SEAL_NAME}
    _check_limits(kept, source)
    seal = vet(kept, files.get(SEAL_NAME), source)
    if seal is not None and label not in {None, seal.claims.label}:
        raise RefusedError(
            f"{source} is signed as {seal.claims.label}, and the label {label} was given",
            hint="leave the label out, or sign it again with that label",
            reason="untrusted",
        )
    digest = digest_of(kept)
    migrations = _migrations(kept, source)
    manifest = parse_manifest(kept[MANIFEST_NAME]) if MANIFEST_NAME in kept else Manifest()
    _check_serves(manifest, migrations[-1].version)
    if seal is not None:
        manifest = replace(manifest, line=seal.claims.line)
    return Bundle(
        migrations=migrations,
        files=MappingProxyType(kept),
        digest=digest,
        manifest=manifest,
        label=label or (seal and seal.claims.label) or manifest.label or derived_label(digest),
        seal=seal,
    )


def is_bundle_file(name: str) -> bool:
    """Tell whether a base name belongs into a bundle.

    Raises:
        BundleError: It is a migration's name with a version that is too high.
    """
    return name in {MANIFEST_NAME, SEAL_NAME} or parse_file_name(name) is not None


def digest_of(files: Mapping[str, bytes]) -> str:
    """Compute a bundle's digest, 64 lower-case hexadecimal digits.

    It is SHA-256 over, for each file in ascending order of its name's UTF-8 bytes: the length of the name in bytes,
    the name in UTF-8, the length of the content in bytes, the content. Each length is 8 bytes, most significant
    first. Since every part is led by its length, no two different sets of files feed the same bytes.
    """
    running = sha256()
    for name, content in sorted((name.encode(), content) for name, content in files.items()):
        for part in (name, content):
            running.update(len(part).to_bytes(8, "big"))
            running.update(part)
    return running.hexdigest()


def derived_label(digest: str) -> str:
    """Name a bundle that nobody named: `dir-` and 12 digits of its digest."""
    return f"dir-{digest[:12]}"


def _check_limits(files: Mapping[str, bytes], source: str) -> None:
    check_count(source, len(files))
    for name, content in files.items():
        check_file_name(name)
        check_size(name, len(content))
    check_total(source, sum(map(len, files.values())))


def _check_serves(manifest: Manifest, latest: int) -> None:
    if manifest.serves is not None and manifest.serves > latest:
        raise BundleError(
            f"{MANIFEST_NAME}: serves is {manifest.serves}, above the bundle's highest version {latest}",
            hint="name the oldest version whose application this bundle still serves",
        )


def _migrations(files: Mapping[str, bytes], source: str) -> tuple[Migration, ...]:
    sides: dict[tuple[int, Direction], tuple[str, Side]] = {}
    for file, raw in files.items():
        if (parsed := parse_file_name(file)) is None:
            continue
        place = (parsed.version, parsed.direction)
        if place in sides:
            raise _duplicate(place, sides[place][1].file, file)
        sides[place] = (parsed.name, parse_side(file, raw))
    if not sides:
        raise BundleError(
            f"{source} holds no migration", hint="migrations are named like 000001_create_users.up.sql, in one folder"
        )
    return tuple(_join(version, sides) for version in sorted({version for version, _ in sides}))


def _duplicate(place: tuple[int, Direction], first: str, second: str) -> BundleError:
    version, direction = place
    return BundleError(
        f"{first} and {second} are both the {direction.value} file of version {version}",
        hint="rename or remove one; the ending is free, so a backup copy beside the file counts too",
    )


def _join(version: int, sides: Mapping[tuple[int, Direction], tuple[str, Side]]) -> Migration:
    up = sides.get((version, Direction.UP))
    down = sides.get((version, Direction.DOWN))
    name = up[0] if up else down[0] if down else ""
    return Migration(version, name, up and up[1], down and down[1])


def parse_manifest(raw: bytes) -> Manifest:
    """Read `bundle.toml`: `label`, `line`, `serves` (a version) and `order` (error, apply or skip), all optional.

    Raises:
        BundleError: It is not TOML, has an unknown key, or a value that the key does not take.
    """
    given = _toml(raw)
    manifest = Manifest(
        label=_text(given.pop("label", None), "label"),
        line=_text(given.pop("line", None), "line"),
        serves=_version(given.pop("serves", None), "serves"),
        order=_order(given.pop("order", None), "order"),
    )
    if given:
        raise BundleError(
            f"{MANIFEST_NAME}: unknown key {next(iter(given))!r:.60}", hint="known are label, line, serves and order"
        )
    if manifest.label is not None:
        check_label(manifest.label, f"{MANIFEST_NAME}: label")
    return manifest


def _toml(raw: bytes) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415  most bundles have no such file

    try:
        text = raw.decode("utf-8").removeprefix("\ufeff")
        _check_dots(text)
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{MANIFEST_NAME}: {error}", hint="correct the file; it is TOML in UTF-8") from error


def _check_dots(text: str) -> None:
    """Refuse a dotted key of thousands of parts: tomllib takes gigabytes for one, and no key of ours has a dot."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > _MAX_DOTS and not line.lstrip().startswith("#"):
            raise ValueError(f"line {number} has more than {_MAX_DOTS} dots")


def _text(value: Any, key: str) -> str | None:
    if value is None or (isinstance(value, str) and value.isprintable() and 0 < len(value) <= _MAX_TEXT):
        return value
    raise _wrong(key, value, f"a string of 1 to {_MAX_TEXT} printable characters")


def _version(value: Any, key: str) -> int | None:
    if value is None or (type(value) is int and 0 <= value <= MAX_VERSION):
        return value
    raise _wrong(key, value, f"a version, a whole number from 0 to {MAX_VERSION}")


def _order(value: Any, key: str) -> OrderPolicy | None:
    if value is None:
        return None
    if value not in _ORDERS:
        raise _wrong(key, value, f"one of {', '.join(_ORDERS)}")
    return OrderPolicy(value)


def _wrong(key: str, value: Any, takes: str) -> BundleError:
    shown = repr(value) if isinstance(value, str | bool | float) else f"a value of type {type(value).__name__}"
    return BundleError(f"{MANIFEST_NAME}: {key} got {shown:.60}; it takes {takes}", hint="correct the value")


def relation(offered: Mapping[int, str | None], wanted: Mapping[int, str | None]) -> Relation:
    """Tell how an offered bundle relates to the wanted one; both map versions to the checksums of their up files.

    Only what would run upwards counts, so a corrected down file or another `bundle.toml` is the same.
    """
    missing, added = wanted.items() - offered.items(), offered.items() - wanted.items()
    if missing and added:
        return Relation.DIVERGED
    if missing:
        return Relation.OLDER
    return Relation.EXTENDS if added else Relation.SAME


class Change(Enum):
    """How a version of an offered bundle differs from the wanted one."""

    ADDED = "added"
    MISSING = "missing"
    REWRITTEN = "rewritten"


@dataclass(frozen=True, slots=True)
class Difference:
    """A version in which two bundles differ."""

    version: int
    change: Change

    def __str__(self) -> str:
        return f"version {self.version} is {self.change.value}"


def differences(offered: Mapping[int, str | None], wanted: Mapping[int, str | None]) -> tuple[Difference, ...]:
    """List the versions in which an offered bundle differs from the wanted one, ascending."""
    versions = {version for version, _ in offered.items() ^ wanted.items()}
    return tuple(Difference(version, _change(version, offered, wanted)) for version in sorted(versions))


def _change(version: int, offered: Mapping[int, str | None], wanted: Mapping[int, str | None]) -> Change:
    if version not in wanted:
        return Change.ADDED
    return Change.REWRITTEN if version in offered else Change.MISSING
