"""Creates the two empty files of a new migration, as golang-migrate's `create` does."""

import re
from pathlib import Path

from worker.core.bundles.migration import MAX_VERSION, parse_file_name
from worker.errors import BundleError

DEFAULT_DIGITS = 6
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


def create(directory: Path, name: str, version: int | None = None) -> tuple[Path, Path]:
    """Create the up and the down file of a new migration, and never overwrite one.

    Args:
        directory: Where; it is created if it is missing.
        name: Letters, digits, `_` and `-`.
        version: A timestamp such as 20260131120000; without it the version after the highest one there, with as many
            digits as that one is written with.

    Returns:
        The paths of the up file and of the down file.

    Raises:
        BundleError: The name is not acceptable, the version is not above the highest one there, or a file cannot
            be written.
    """
    if _NAME.fullmatch(name) is None:
        raise BundleError(
            f"the name {name!r:.60} is not acceptable", hint="it takes 1 to 100 letters, digits, '_' and '-'"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        stem = f"{_next([entry.name for entry in directory.iterdir()], version)}_{name}"
        return _create_both(directory / f"{stem}.up.sql", directory / f"{stem}.down.sql")
    except OSError as error:
        message = f"cannot create a migration in {str(directory)!r}: {error.strerror}"
        raise BundleError(message, hint="check the path and its permissions") from error


def _next(names: list[str], version: int | None) -> str:
    found = {parsed.version: name for name in names if (parsed := parse_file_name(name)) is not None}
    highest = max(found, default=0)
    digits = len(found[highest].partition("_")[0]) if found else DEFAULT_DIGITS
    chosen = highest + 1 if version is None else version
    if found and chosen <= highest:
        raise BundleError(f"version {chosen} is not above {highest}, the highest one there", hint="choose a higher one")
    if not 0 <= chosen <= MAX_VERSION:
        raise BundleError(f"version {chosen} is not from 0 to {MAX_VERSION}", hint="choose another one")
    return f"{chosen:0{digits if version is None else 1}d}"


def _create_both(up: Path, down: Path) -> tuple[Path, Path]:
    up.touch(exist_ok=False)
    try:
        down.touch(exist_ok=False)
    except OSError:
        up.unlink()
        raise
    return up, down
