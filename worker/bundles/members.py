"""The members of a tar or zip archive, one by one, from a stream that cannot run away.

An archive is not trusted: the lengths in it are its own claims, so every read and the whole are bounded here.
What is wrong with its form is raised as one of `CORRUPT`.
"""

import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator
from enum import Enum
from functools import partial
from typing import IO, Final, Self, cast

from worker.core.bundles.limits import MAX_TOTAL_BYTES
from worker.core.value import dataclass
from worker.errors import BundleError

MAX_ARCHIVE_BYTES: Final = MAX_TOTAL_BYTES + MAX_TOTAL_BYTES // 2
"""What is read of an archive, for tar after decompression: the files, and room for the headers of `MAX_FILES`."""

MAX_READ_BYTES: Final = 32 * 1024 * 1024
"""One read, such as a header or a zip's directory, whose length is the archive's claim."""

CORRUPT: Final = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What the standard library raises on archives that are cut short or malformed."""

_CHUNK = 1024 * 1024
_MAX_HEADERS = 16
_END_OF_TAR = bytes(512)


class Kind(Enum):
    """What a member is; other is a link, a device, a pipe or a sparse file."""

    FILE = "file"
    DIRECTORY = "directory"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Member:
    """A member as the archive declares it; `open` is to be called before the next member is asked for."""

    name: str
    kind: Kind
    size: int
    open: Callable[[], IO[bytes]]


class _Bounded(io.BufferedReader):
    """A stream that ends with an error where an archive asks for too much.

    `last` is what was read last, `depth` how many headers of a tar wait for the one that they extend.
    """

    spent = 0
    last = b""
    depth = 0

    def read(self, size: int | None = -1, /) -> bytes:
        # Without a size, zipfile means the tail of the archive, which is below 64 KiB and some.
        asked = _CHUNK if size is None or size < 0 else size
        if asked > MAX_READ_BYTES:
            raise ValueError(f"a header claims {asked} bytes")
        self.last = super().read(asked)
        self.spent += len(self.last)
        _check_spent(self.spent)
        return self.last

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        # In a compressed stream, a way forward is decompressed as well.
        _check_spent(offset)
        return super().seek(offset, whence)


def _check_spent(size: int) -> None:
    if size > MAX_ARCHIVE_BYTES:
        raise BundleError(f"the archive expands to more than {MAX_ARCHIVE_BYTES} bytes", hint="split the bundle")


class _Header(tarfile.TarInfo):
    """A member's header; `tarfile` reads those that extend it by recursion, which must not reach Python's limit."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        stream = cast("_Bounded", tarfile.fileobj)
        stream.depth += 1
        if stream.depth > _MAX_HEADERS:
            raise ValueError("a member has too many headers")
        try:
            return super().fromtarfile(tarfile)
        finally:
            stream.depth -= 1


def tar_members(raw: io.RawIOBase | gzip.GzipFile) -> Generator[Member]:
    """Yield the members of a tar stream, up to its end marker."""
    with _Bounded(raw) as stream:
        with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8", tarinfo=_Header) as archive:
            for info in archive:
                if info.size < 0:
                    raise ValueError("a member has a negative size")
                yield Member(info.name, _tar_kind(info), info.size, partial(_open_tar, archive, info))
        _check_end(stream)


def gzip_members(raw: io.RawIOBase) -> Generator[Member]:
    """Yield the members of a tar stream that is compressed with gzip."""
    with gzip.GzipFile(fileobj=raw, mode="rb") as plain:
        yield from tar_members(plain)


def zip_members(raw: io.RawIOBase) -> Generator[Member]:
    """Yield the members of a zip archive, in the order of its directory."""
    with _Bounded(raw) as stream, zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            # A zip's directory has no checksum; a damaged length hides the next entry in this one's comment.
            if info.comment:
                raise ValueError("a member has a comment")
            # `filename` ends at a NUL character; the full name is there for the checks on names to see.
            yield Member(info.orig_filename, _zip_kind(info), info.file_size, partial(_open_zip, archive, info))


def _check_end(stream: _Bounded) -> None:
    """Tell an end from a cut: `tarfile` takes a missing or a broken header for the end, and reads no trailer."""
    if stream.last != _END_OF_TAR:
        raise EOFError("the end marker is missing")
    while chunk := stream.read(_CHUNK):
        if chunk.strip(b"\0"):
            raise ValueError("there is something behind the end marker")


def _tar_kind(info: tarfile.TarInfo) -> Kind:
    if info.isdir():
        return Kind.DIRECTORY
    return Kind.FILE if info.isreg() and not info.issparse() else Kind.OTHER


def _open_tar(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(info)
    if stream is None:
        raise ValueError(f"{info.name!r:.120} has no content")
    return stream


def _zip_kind(info: zipfile.ZipInfo) -> Kind:
    if info.orig_filename.endswith("/"):
        return Kind.DIRECTORY
    # Archives from other systems than Unix leave the file's type at 0.
    return Kind.FILE if stat.S_IFMT(info.external_attr >> 16) in {0, stat.S_IFREG} else Kind.OTHER


def _open_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    # The other methods decompress a whole block at once, however far it expands.
    if info.flag_bits & 1 or info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise BundleError(
            f"{info.filename!r:.120} is encrypted or compressed in a way that is not read",
            hint="use a zip archive without a password and with the usual compression, or a .tar.gz",
        )
    return archive.open(info)
