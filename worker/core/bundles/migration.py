"""Migrations: the file-name grammar, the directives in leading comments, and the values they become."""

import re
from collections.abc import Iterator
from dataclasses import field
from enum import Enum
from functools import lru_cache
from hashlib import sha256

from worker.core.bundles.limits import MAX_FILES
from worker.core.duration import parse_duration
from worker.core.pattern import pattern
from worker.core.value import dataclass, replace
from worker.errors import BundleError

MAX_VERSION = 2**63 - 1


class Direction(Enum):
    """Which side of a migration a file holds."""

    UP = "up"
    DOWN = "down"


class Transaction(Enum):
    """Whether a migration's statements may share a transaction (`transaction=off`)."""

    ON = "on"
    OFF = "off"


class Gate(Enum):
    """Whether readiness requires the migration (`gate=off`)."""

    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class FileName:
    """A file name that the grammar accepts, taken apart."""

    version: int
    name: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class Directives:
    """What the leading `-- tidegate:` comments ask for, in milliseconds; None means not said, 0 no limit."""

    transaction: Transaction = Transaction.ON
    gate: Gate = Gate.ON
    lock_timeout_ms: int | None = None
    statement_timeout_ms: int | None = None
    block_budget_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One file of a migration: its text without a byte order mark, and the lower-case hex SHA-256 of its raw bytes."""

    file: str
    sql: str = field(repr=False)
    checksum: str
    directives: Directives


@dataclass(frozen=True, slots=True)
class Migration:
    """One version; a side that has no file is recorded as applied without running anything."""

    version: int
    name: str
    up: Side | None
    down: Side | None


_MAX_VERSION_DIGITS = len(str(MAX_VERSION))


@lru_cache(maxsize=2 * MAX_FILES)
def parse_file_name(raw: str) -> FileName | None:
    r"""Take a base name apart by golang-migrate's grammar, `^([0-9]+)_(.*)\.(down|up)\.(.*)$`.

    Returns:
        None for a name that the grammar does not match, which golang-migrate skips.

    Raises:
        BundleError: The version is above 2^63-1, on which golang-migrate loops for ever.
    """
    number, _, rest = raw.partition("_")
    # The grammar's first (.*) takes as much as it can, and none of them a line end.
    up, down = rest.rfind(".up."), rest.rfind(".down.")
    end = max(up, down)
    if end < 0 or not (number.isascii() and number.isdigit()) or "\n" in raw:
        return None
    digits = number.lstrip("0") or "0"
    if len(digits) > _MAX_VERSION_DIGITS or int(digits) > MAX_VERSION:
        raise BundleError(
            f"{raw!r:.120} has the version {digits:.40}, which is too high",
            hint=f"a version goes up to {MAX_VERSION}, the most that the version table holds; rename the file",
        )
    return FileName(int(digits), rest[:end], Direction.UP if up > down else Direction.DOWN)


def parse_side(file: str, raw: bytes) -> Side:
    """Turn one file's bytes into a side of a migration; the SQL itself is not looked at.

    Raises:
        BundleError: The text is not UTF-8, has a NUL character, or a directive that cannot be followed.
    """
    sql = _decode(file, raw)
    return Side(file, sql, sha256(raw).hexdigest(), parse_directives(sql, file))


def _decode(file: str, raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"{file}, line {line}: not UTF-8 at byte {error.start} (0x{raw[error.start]:02x})"
        raise BundleError(message, hint="save the file as UTF-8") from error
    if (nul := text.find("\0")) >= 0:
        raise BundleError(
            f"{file}, line {text.count(chr(10), 0, nul) + 1}: a NUL character, which Postgres takes in no text",
            hint="remove it, or save the file as UTF-8 if it is UTF-16",
        )
    return text.removeprefix("\ufeff")


_NOTHING_SAID = Directives()
_BEFORE_A_TOKEN = ("\ufeff", " ", "\t", "\n", "\r", "\f", "\v", "--", "/*")
_LEADING = pattern(r"[\ufeff \t\n\r\f\v]+|--(?P<line>[^\r\n]*)|(?P<block>/\*)")
_BLOCK_EDGE = pattern(r"/\*|\*/")
_DIRECTIVE = pattern(r"[ \t]*tidegate:(?P<settings>.*)", re.IGNORECASE)


def parse_directives(sql: str, file: str) -> Directives:
    """Read `-- tidegate: key=value …` from the `--` comments before the first token.

    The keys are `transaction` and `gate` (on, off), `lock_timeout`, `statement_timeout` and `block_budget` (durations,
    or none).

    Raises:
        BundleError: An unknown or repeated key, or a value that it does not take; names the file and the line.
    """
    if not sql.startswith(_BEFORE_A_TOKEN):
        return _NOTHING_SAID
    directives = _NOTHING_SAID
    seen: set[str] = set()
    for offset, comment in _leading_comments(sql):
        if (found := _DIRECTIVE.fullmatch(comment)) is None:
            continue
        where = f"{file}, line {sql.count(chr(10), 0, offset) + 1}"
        for key, value in _settings(found["settings"], where):
            if key in seen:
                raise BundleError(f"{where}: {key} is set twice", hint="keep one of the two")
            seen.add(key)
            directives = _set(directives, key, value, where)
    return directives


def _leading_comments(sql: str) -> Iterator[tuple[int, str]]:
    """Yield the offset and the text of each `--` comment before the first token."""
    position = 0
    while (found := _LEADING.match(sql, position)) is not None:
        if found["line"] is not None:
            yield found.start(), found["line"]
        position = _block_end(sql, found.start()) if found["block"] else found.end()


def _block_end(sql: str, start: int) -> int:
    """Find where the block comment at `start` ends; in Postgres they nest."""
    depth = 0
    for edge in _BLOCK_EDGE.finditer(sql, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)


def _settings(text: str, where: str) -> Iterator[tuple[str, str]]:
    words = text.split()
    if not words:
        raise BundleError(f"{where}: a directive without a setting", hint=_KNOWN)
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise BundleError(f"{where}: a directive takes key=value, got {word!r:.60}", hint=_KNOWN)
        yield key, value


def _set(directives: Directives, key: str, value: str, where: str) -> Directives:
    try:
        match key:
            case "transaction":
                return replace(directives, transaction=Transaction(_switch(value)))
            case "gate":
                return replace(directives, gate=Gate(_switch(value)))
            case "lock_timeout":
                return replace(directives, lock_timeout_ms=_limit(value))
            case "statement_timeout":
                return replace(directives, statement_timeout_ms=_limit(value))
            case "block_budget":
                return replace(directives, block_budget_ms=_limit(value))
            case _:
                raise BundleError(f"{where}: unknown directive {key!r:.60}", hint=_KNOWN)
    except ValueError as error:
        raise BundleError(f"{where}: {key} {error}", hint="correct the value, or remove the directive") from error


def _limit(value: str) -> int:
    return 0 if value == "none" else parse_duration(value)


def _switch(value: str) -> str:
    if value not in {"on", "off"}:
        raise ValueError(f"got {value!r:.60}; it takes on or off")
    return value


_KNOWN = (
    "known are transaction, gate, lock_timeout, statement_timeout and block_budget, "
    "as in -- tidegate: transaction=off lock_timeout=2s"
)
