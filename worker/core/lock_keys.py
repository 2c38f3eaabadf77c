"""Advisory lock keys, derived from the target and nothing else.

Tidegate's own key of a target is the first eight bytes, as a signed big-endian integer, of
SHA-256("tidegate" NUL "target" NUL schema NUL table); that of a control schema is the same over
"tidegate" NUL "control" NUL schema. Advisory locks are a database's own, so its name is not part of the key.
"""

from hashlib import sha256
from zlib import crc32

from worker.core.target import Target

# golang-migrate's salt: https://github.com/golang-migrate/migrate, database/util.go
_GOLANG_SALT = 1486364155


def _own(*parts: str) -> int:
    digest = sha256("\0".join(("tidegate", *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def target_key(target: Target) -> int:
    """Tidegate's key of a target."""
    return _own("target", target.schema, target.table)


def control_key(schema: str) -> int:
    """Tidegate's key for creating and upgrading a control schema."""
    return _own("control", schema)


def golang_key(target: Target, database: str) -> int:
    """golang-migrate's key; `database` is with a leading slash where that program was opened by URL."""
    text = f"{target.schema}\x00{target.table}\x00{database}"
    return crc32(text.encode()) * _GOLANG_SALT % 2**32


def golang_keys(target: Target, database: str) -> tuple[int, int]:
    """Both of golang-migrate's keys, the one of its URL form first."""
    return golang_key(target, "/" + database), golang_key(target, database)
