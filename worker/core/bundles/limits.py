"""What a bundle may hold at most, and how it and its files may be named."""

from typing import Final

from worker.core.pattern import pattern
from worker.errors import BundleError, RefusedError

MANIFEST_NAME: Final = "bundle.toml"
SEAL_NAME: Final = "bundle.sig"

MAX_FILES: Final = 100_000
"""Files of a bundle, and members of an archive."""

MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""One migration file; Postgres takes a message of up to 1 GiB."""

MAX_MANIFEST_BYTES: Final = 64 * 1024
"""The file `bundle.toml`."""

MAX_SEAL_BYTES: Final = 16 * 1024
"""The file `bundle.sig`."""

MAX_TOTAL_BYTES: Final = 512 * 1024 * 1024
"""All files of a bundle together."""

_MAX_NAME_BYTES: Final = 255
_LABEL = pattern(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")


def check_count(source: str, count: int) -> None:
    """Refuse more than `MAX_FILES` files.

    Raises:
        BundleError: There are more; names the source.
    """
    if count > MAX_FILES:
        raise BundleError(f"{source} holds more than {MAX_FILES} files", hint="keep only migrations in it")


def check_size(name: str, size: int) -> None:
    """Refuse a file of more than `MAX_FILE_BYTES`, or a `bundle.toml` of more than `MAX_MANIFEST_BYTES`.

    Raises:
        BundleError: It is larger; names the file.
        RefusedError: A `bundle.sig` of more than `MAX_SEAL_BYTES`, which is no signature.
    """
    if name == SEAL_NAME and size > MAX_SEAL_BYTES:
        raise RefusedError(
            f"{SEAL_NAME} has more than {MAX_SEAL_BYTES} bytes", hint="sign the bundle again", reason="untrusted"
        )
    most = MAX_MANIFEST_BYTES if name == MANIFEST_NAME else MAX_FILE_BYTES
    if size > most:
        raise BundleError(f"{name!r:.120} has more than {most} bytes", hint="make the file smaller")


def check_total(source: str, size: int) -> None:
    """Refuse files that have more than `MAX_TOTAL_BYTES` together.

    Raises:
        BundleError: They have; names the source.
    """
    if size > MAX_TOTAL_BYTES:
        raise BundleError(f"{source} has more than {MAX_TOTAL_BYTES} bytes of files", hint="split the bundle")


def check_file_name(name: str) -> None:
    """Refuse a file name that could not be stored, printed or unpacked again.

    Raises:
        BundleError: It has a slash, a character that is not printable, or more than 255 bytes.
    """
    if "/" in name or not name.isprintable() or len(name.encode()) > _MAX_NAME_BYTES:
        raise BundleError(
            f"the file name {name!r:.300} is not acceptable",
            hint=f"it takes at most {_MAX_NAME_BYTES} bytes of printable UTF-8 without a slash; rename the file",
        )


def check_label(label: str, what: str) -> None:
    """Refuse what is no label; `what` names the place that it comes from.

    Raises:
        BundleError: It is not 1 to 128 letters, digits, `.`, `_`, `-` or `+` with a letter or digit in front.
    """
    if _LABEL.fullmatch(label) is None:
        raise BundleError(
            f"{what} {label!r:.60} is not acceptable",
            hint="it takes 1 to 128 letters, digits, '.', '_', '-' and '+', and starts with a letter or digit",
        )
