"""Reads one flat directory of migration files."""

import os
from operator import attrgetter
from pathlib import Path
from urllib.parse import unquote_to_bytes

from worker.core.bundles.bundle import Bundle, Vet, build_bundle, is_bundle_file, unvetted
from worker.core.bundles.limits import MAX_FILE_BYTES, check_count, check_size, check_total
from worker.errors import BundleError

_CHUNK = 64 * 1024


def local_path(text: str) -> Path:
    """Turn a path, or golang-migrate's `file://path` with its percent escapes, into a path.

    Raises:
        BundleError: There is no path in it, or it names another scheme.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _checked(text, text)
    if scheme.lower() != "file":
        raise BundleError(f"the scheme {scheme!r:.60} is not supported", hint="give a path, or file:// and a path")
    return _checked(os.fsdecode(unquote_to_bytes(os.fsencode(rest))), text)


def _checked(path: str, text: str) -> Path:
    if not path or "\0" in path:
        raise BundleError(f"{text!r:.60} is no path", hint="name the folder that holds the migrations")
    return Path(path)


def read_directory(path: Path, label: str | None = None, vet: Vet = unvetted) -> Bundle:
    """Read the migrations, the `bundle.toml` and the `bundle.sig` of one directory, without its subdirectories.

    Raises:
        BundleError: It is missing, no directory, unreadable or empty, or what it holds makes no bundle.
        RefusedError: Its signature is not what `vet` takes, or not of these files.
    """
    source = f"the directory {str(path)!r}"
    try:
        entries = _entries(path)
    except FileNotFoundError as error:
        raise BundleError(f"{source} does not exist", hint="check the path, and that its volume is mounted") from error
    except NotADirectoryError as error:
        hint = "name the folder that holds the migrations, or, to publish, an archive such as .tar.gz or .zip"
        raise BundleError(f"{str(path)!r} is not a directory", hint=hint) from error
    except OSError as error:
        hint = "check its permissions, and the user that this runs as"
        raise BundleError(f"{source} cannot be read: {error.strerror}", hint=hint) from error
    if not entries:
        raise BundleError(f"{source} is empty", hint="check the path, and that its volume has content")
    return build_bundle(_read_all(entries, source), label, source, vet)


def _entries(path: Path) -> "list[os.DirEntry[str]]":
    root = Path(os.path.realpath(path, strict=True))
    # Kubernetes mounts a ConfigMap as links into `..data`, which it swaps for another folder in one step. Resolved
    # once, every file comes from the same one; through the links, half of the files could come from the next.
    if (data := root / "..data").is_dir():
        root = data.resolve()
    with os.scandir(root) as entries:
        return sorted(entries, key=attrgetter("name"))


def _read_all(entries: "list[os.DirEntry[str]]", source: str) -> dict[str, bytes]:
    chosen = [entry for entry in entries if is_bundle_file(entry.name)]
    check_count(source, len(chosen))
    files: dict[str, bytes] = {}
    total = 0
    for entry in chosen:
        if (content := _read(entry)) is not None:
            files[entry.name] = content
            total += len(content)
            check_total(source, total)
    return files


def _read(entry: "os.DirEntry[str]") -> bytes | None:
    """Read a regular file, or a link to one; None for a directory."""
    try:
        # Looked at first, since opening a pipe would wait for its writer; most directories say so without being asked.
        if not entry.is_file():
            if entry.is_dir():
                return None
            entry.stat()  # raises for a link that leads nowhere
            raise BundleError(f"{entry.name!r} is not a regular file", hint="remove it from the directory")
        content = _content(entry.path)
    except OSError as error:
        hint = "check the file's permissions, and where it links to"
        raise BundleError(f"{entry.name!r} cannot be read: {error.strerror}", hint=hint) from error
    check_size(entry.name, len(content))
    return content


def _content(path: str) -> bytes:
    """Read up to one byte more than a file may have, without the layers of an open file: there may be thousands."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(descriptor, _CHUNK)
        if len(content) == _CHUNK:
            # There is more of it, which is read anew in one piece.
            size = os.lseek(descriptor, 0, os.SEEK_END)
            os.lseek(descriptor, 0, os.SEEK_SET)
            content = os.read(descriptor, min(size, MAX_FILE_BYTES) + 1)
        while len(content) <= MAX_FILE_BYTES and (more := os.read(descriptor, _CHUNK)):
            content += more
    finally:
        os.close(descriptor)
    return content
