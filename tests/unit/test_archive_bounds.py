"""Archives that are cut short, malformed, or made to exhaust whoever reads them."""

import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.bundles import archive, members
from worker.bundles.archive import pack, read_archive
from worker.core.bundles import limits
from worker.core.bundles.bundle import build_bundle
from worker.errors import BundleError

BUNDLE = build_bundle({"1_a.up.sql": b"SELECT 1;" * 200, "2_b.up.sql": b"SELECT 2;" * 200})
MEBIBYTE = 1024 * 1024
END = bytes(1024)


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def outcome(path: Path) -> str:
    try:
        return read_archive(path).digest
    except BundleError as error:
        return error.message


@contextmanager
def memory_below(most: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A gigabyte of zeros, in a megabyte."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as stream:
        for _ in range(16):
            stream.write(bytes(64 * MEBIBYTE))
    return out.getvalue()


@pytest.mark.parametrize("name", ["1_a.up.sql", "README.md"])
def test_a_tar_bomb_is_refused_by_what_it_declares(tmp_path: Path, bomb: bytes, name: str) -> None:
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(header(name, 2**30)) + bomb)
    with memory_below(8 * MEBIBYTE), pytest.raises(BundleError, match=r"(has|expands to) more than \d+ bytes$"):
        read_archive(tmp_path / "b.tar.gz")


def test_a_bomb_behind_the_end_of_a_tar_is_not_expanded(tmp_path: Path, bomb: bytes) -> None:
    pack(BUNDLE, tmp_path / "b.tar.gz")
    (tmp_path / "b.tar.gz").write_bytes((tmp_path / "b.tar.gz").read_bytes() + bomb)
    with memory_below(8 * MEBIBYTE), pytest.raises(BundleError, match=r"^the archive expands to more than \d+ bytes$"):
        read_archive(tmp_path / "b.tar.gz")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_bomb_in_a_header_of_a_tar_is_not_expanded(tmp_path: Path, bomb: bytes, kind: bytes) -> None:
    (tmp_path / "b.tgz").write_bytes(gzip.compress(header("x", 2**30, kind)) + bomb)
    with memory_below(8 * MEBIBYTE), pytest.raises(BundleError, match=r"a header claims 1073741824 bytes$"):
        read_archive(tmp_path / "b.tgz")


@pytest.mark.parametrize("declared", [2**28, 1_000])
def test_a_zip_bomb_is_refused_whatever_it_declares(tmp_path: Path, declared: int) -> None:
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
        zipped.writestr("1_a.up.sql", bytes(2**28))
    raw = bytearray(path.read_bytes())
    struct.pack_into("<I", raw, raw.index(b"PK\x01\x02") + 24, declared)
    path.write_bytes(raw)
    with memory_below(16 * MEBIBYTE), pytest.raises(BundleError, match=r"more than|malformed"):
        read_archive(path)


def test_the_total_of_overlapping_zip_members_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_TOTAL_BYTES", 5_000)
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for version in range(1, 8):
            zipped.writestr(f"{version}_a.up.sql", b" " * 1_000)
    with pytest.raises(BundleError, match=r"^the archive '.*' has more than 5000 bytes of files$"):
        read_archive(tmp_path / "b.zip")


@pytest.mark.parametrize("ending", [".tar.gz", ".zip"])
def test_more_members_than_allowed_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr(limits, "MAX_FILES", 3)
    path = tmp_path / f"b{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for number in range(4):
                zipped.mkdir(f"{number}")
    else:
        path.write_bytes(gzip.compress(b"".join(header(f"{n}/", 0, tarfile.DIRTYPE) for n in range(4)) + END))
    with pytest.raises(BundleError, match=r"^the archive '.*' holds more than 3 files$"):
        read_archive(path)


def test_an_oversized_archive_is_not_opened(tmp_path: Path) -> None:
    with (tmp_path / "b.tar").open("wb") as file:
        file.truncate(members.MAX_ARCHIVE_BYTES + 1)
    with pytest.raises(BundleError, match=rf"^the archive '.*' has more than {archive.MAX_ARCHIVE_BYTES} bytes$"):
        read_archive(tmp_path / "b.tar")


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_negative_size_does_not_lead_in_a_circle(tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "b.tar").write_bytes(header("1_a.up.sql", -512, kind) + END)
    with pytest.raises(BundleError, match=r"is cut short or malformed"):
        read_archive(tmp_path / "b.tar")


def test_a_negative_size_in_an_extended_header_is_refused(tmp_path: Path) -> None:
    record = b"14 size=-1024\n"
    extended = header("x", len(record), tarfile.XHDTYPE) + record.ljust(512, b"\0")
    (tmp_path / "b.tar").write_bytes(extended + header("1_a.up.sql") + END)
    with pytest.raises(BundleError, match=r"a member has a negative size$"):
        read_archive(tmp_path / "b.tar")


def test_a_chain_of_long_name_headers_is_refused(tmp_path: Path) -> None:
    link = header("x", 2, tarfile.GNUTYPE_LONGNAME) + b"y\0".ljust(512, b"\0")
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(link * 5_000 + header("1_a.up.sql") + END))
    with pytest.raises(BundleError, match=r"a member has too many headers$"):
        read_archive(tmp_path / "b.tar.gz")


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".zip"])
@pytest.mark.parametrize("content", [b"", b"\0" * 10, b"SELECT 1;\n" * 100])
def test_what_is_no_archive_is_refused(tmp_path: Path, ending: str, content: bytes) -> None:
    (tmp_path / f"b{ending}").write_bytes(content)
    with pytest.raises(BundleError, match=r"^the archive '.*' is cut short or malformed: "):
        read_archive(tmp_path / f"b{ending}")


def packed(directory: Path, ending: str) -> bytes:
    pack(BUNDLE, directory / "whole.tar.gz")
    compressed = (directory / "whole.tar.gz").read_bytes()
    if ending == ".tar.gz":
        return compressed
    if ending == ".tar":
        return gzip.decompress(compressed)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in BUNDLE.files.items():
            zipped.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".zip"])
def test_an_archive_that_is_cut_anywhere_is_refused_or_whole(tmp_path: Path, ending: str) -> None:
    whole, path = packed(tmp_path, ending), tmp_path / f"b{ending}"
    for cut in range(0, len(whole), 1 if ending != ".tar" else 64):
        path.write_bytes(whole[:cut])
        result = outcome(path)
        assert result == BUNDLE.digest or "is cut short or malformed" in result
        assert result != BUNDLE.digest or not whole[cut:].strip(b"\0")


@pytest.mark.parametrize("ending", [".tar.gz", ".zip"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_byte_that_changed_on_the_way_never_changes_the_content(
    tmp_path: Path, ending: str, place: int, flip: int
) -> None:
    raw, path = bytearray(packed(tmp_path, ending)), tmp_path / f"b{ending}"
    raw[place % len(raw)] ^= flip
    path.write_bytes(raw)
    result = outcome(path)
    assert result == BUNDLE.digest or " " in result


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".zip"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_malformed_archive_is_an_error_of_the_user_and_nothing_else(
    tmp_path: Path, ending: str, places: list[tuple[int, int]]
) -> None:
    raw, path = bytearray(packed(tmp_path, ending)), tmp_path / f"b{ending}"
    for place, value in places:
        raw[place % len(raw)] = value
    path.write_bytes(raw)
    assert outcome(path)


def test_a_broken_header_in_the_middle_is_not_taken_for_the_end(tmp_path: Path) -> None:
    raw = bytearray(packed(tmp_path, ".tar"))
    raw[raw.index(b"2_b.up.sql")] = ord("x")
    (tmp_path / "b.tar").write_bytes(raw)
    with pytest.raises(BundleError, match=r"the end marker is missing$"):
        read_archive(tmp_path / "b.tar")


def test_something_behind_the_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(packed(tmp_path, ".tar") + packed(tmp_path, ".tar"))
    with pytest.raises(BundleError, match=r"there is something behind the end marker$"):
        read_archive(tmp_path / "b.tar")
