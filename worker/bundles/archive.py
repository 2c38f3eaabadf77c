"""Reads a bundle out of an archive without unpacking it, and packs a bundle into one."""

import gzip
import io
import tarfile
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from worker.bundles.directory import read_directory
from worker.bundles.members import CORRUPT, MAX_ARCHIVE_BYTES, Kind, Member, gzip_members, tar_members, zip_members
from worker.core.bundles.bundle import Bundle, Vet, build_bundle, is_bundle_file, unvetted
from worker.core.bundles.limits import SEAL_NAME, check_count, check_size, check_total
from worker.core.bundles.seal import render_seal
from worker.errors import BundleError

_CHUNK = 1024 * 1024

_READERS: Mapping[str, Callable[[io.RawIOBase], Generator[Member]]] = {
    ".tar.gz": gzip_members,
    ".tgz": gzip_members,
    ".tar": tar_members,
    ".zip": zip_members,
}

# What macOS puts beside the folder that one compresses in its file manager.
_MACOS_FOLDER = "__MACOSX"
_DEEPEST = 2


def read_source(path: Path, label: str | None = None, vet: Vet = unvetted) -> Bundle:
    """Read a bundle from an archive if `path` has the ending of one, and else from a directory.

    Raises:
        BundleError: As `read_archive` and `read_directory` do.
    """
    return read_directory(path, label, vet) if _reader(path) is None else read_archive(path, label, vet)


def read_archive(path: Path, label: str | None = None, vet: Vet = unvetted) -> Bundle:
    """Read the migrations, `bundle.toml` and `bundle.sig` of a `.tar.gz`, `.tgz`, `.tar` or `.zip` archive, in memory.

    They lie at the top, or in the one folder that holds all files; other folders are left out, as a directory's are.

    Raises:
        BundleError: It cannot be read, is of another format or corrupt, has a member that is refused or more than
            is allowed, or what it holds makes no bundle.
        RefusedError: Its signature is not what `vet` takes, or not of these files.
    """
    source = f"the archive {str(path)!r}"
    members = _reader(path)
    if members is None:
        raise BundleError(f"{source} is of an unknown format", hint=f"known endings are {', '.join(_READERS)}")
    try:
        with _open(path, source) as raw, closing(members(raw)) as stream:
            found = _read_all(stream, source)
    except CORRUPT as error:
        raise BundleError(f"{source} is cut short or malformed: {error}", hint="pack or copy it again") from error
    return build_bundle(_flatten(found), label, source, vet)


def _reader(path: Path) -> Callable[[io.RawIOBase], Generator[Member]] | None:
    return next((reader for ending, reader in _READERS.items() if path.name.lower().endswith(ending)), None)


def _open(path: Path, source: str) -> io.FileIO:
    try:
        if path.stat().st_size > MAX_ARCHIVE_BYTES:
            raise BundleError(f"{source} has more than {MAX_ARCHIVE_BYTES} bytes", hint="split the bundle")
        return io.FileIO(path)
    except OSError as error:
        raise BundleError(f"{source} cannot be read: {error.strerror}", hint="check the path and its rights") from error


def _read_all(members: Iterable[Member], source: str) -> dict[tuple[str, ...], bytes | None]:
    """Read what can be part of the bundle, by the parts of its path; None stands for other files."""
    found: dict[tuple[str, ...], bytes | None] = {}
    total = 0
    for count, member in enumerate(members, start=1):
        check_count(source, count)
        place = _place(member)
        if member.kind is Kind.DIRECTORY:
            continue
        if place in found:
            raise BundleError(f"{source} holds {member.name!r:.120} twice", hint="pack it again")
        found[place] = _read(member, place)
        total += len(found[place] or b"")
        check_total(source, total)
    return found


def _place(member: Member) -> tuple[str, ...]:
    parts = tuple(part for part in member.name.split("/") if part not in {"", "."})
    if member.kind is Kind.OTHER:
        raise BundleError(f"{member.name!r:.120} is a link or a special file", hint="pack regular files only")
    if member.name.startswith("/") or ".." in parts or "\\" in member.name:
        raise BundleError(f"{member.name!r:.120} leads out of the archive", hint="pack plain relative names, with /")
    if not parts and member.kind is Kind.FILE:
        raise ValueError("a file has no name")
    return parts


def _read(member: Member, place: tuple[str, ...]) -> bytes | None:
    """Read a file that can be part of the bundle; others are opened only, by which a zip checks their names."""
    content = bytearray()
    with member.open() as stream:
        if len(place) > _DEEPEST or not is_bundle_file(place[-1]):
            return None
        check_size(place[-1], member.size)
        while chunk := stream.read(_CHUNK):
            content += chunk
            check_size(place[-1], len(content))
    return bytes(content)


def _flatten(found: Mapping[tuple[str, ...], bytes | None]) -> dict[str, bytes]:
    """Keep what lies at the top, or in the one folder that holds everything but macOS's own."""
    ours = {place: content for place, content in found.items() if place[0] != _MACOS_FOLDER}
    shared = len({place[0] for place in ours}) == 1 and all(len(place) > 1 for place in ours)
    depth = 2 if shared else 1
    return {place[-1]: content for place, content in ours.items() if len(place) == depth and content is not None}


def pack(bundle: Bundle, out: Path) -> None:
    """Write a bundle as a `.tar.gz` that depends on its files alone, and replace `out` in one step.

    Owners, times and the archive's own name are left out, so the same bundle gives the same bytes.

    Raises:
        BundleError: `out` has another ending, or cannot be written.
    """
    if _reader(out) is not gzip_members:
        raise BundleError(f"{str(out)!r} is no name for a packed bundle", hint="end it in .tar.gz")
    try:
        _replace(bundle, out)
    except OSError as error:
        message = f"{str(out)!r} cannot be written: {error.strerror}"
        raise BundleError(message, hint="check the path and its rights") from error


def _replace(bundle: Bundle, out: Path) -> None:
    partial = out.with_name(f".{out.name}.partial")
    with partial.open("wb") as file:
        try:
            _write(bundle, file)
            file.flush()
            partial.replace(out)
        except BaseException:
            partial.unlink()
            raise


def _members(bundle: Bundle) -> list[tuple[str, bytes]]:
    seal = {} if bundle.seal is None else {SEAL_NAME: render_seal(bundle.seal).encode()}
    return sorted({**bundle.files, **seal}.items())


def _write(bundle: Bundle, file: BinaryIO) -> None:
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, content in _members(bundle):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
