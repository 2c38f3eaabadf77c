"""Reading a bundle out of an archive."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from worker.bundles.archive import read_archive, read_source
from worker.bundles.directory import read_directory
from worker.core.bundles.bundle import build_bundle
from worker.errors import BundleError

FILES = {"1_a.up.sql": b"SELECT 1;\r\n", "1_a.down.sql": b"", "bundle.toml": b'label = "1.4.0"'}
BUNDLE = build_bundle(FILES)
MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz"}
ENDINGS = [*MODES, ".zip", ".TAR.GZ"]


def write(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write an ordinary archive in the format of its ending."""
    ending = next(ending for ending in ENDINGS if path.name.endswith(ending)).lower()
    if ending == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    path.write_bytes(tar([(tar_info(name, content), content) for name, content in files.items()], MODES[ending]))
    return path


def tar_info(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.type = kind
    return info


def tar(members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("folder", ["", "./", "migrations/", "./migrations/", "a//"])
def test_files_at_the_top_or_in_one_shared_folder_are_the_bundle(tmp_path: Path, ending: str, folder: str) -> None:
    path = write(tmp_path / f"b{ending}", {folder + name: content for name, content in FILES.items()})
    assert read_archive(path) == BUNDLE
    assert read_archive(path, "2").label == "2"


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_archive_of_a_directory_is_the_directorys_bundle(tmp_path: Path, ending: str) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for name, content in FILES.items():
        (shelf / name).write_bytes(content)
    (shelf / "old").mkdir()
    (shelf / "old" / "7_b.up.sql").touch()
    (shelf / "README.md").touch()
    path = tmp_path / f"b{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for entry in [shelf, *sorted(shelf.rglob("*"))]:
                archive.write(entry, entry.relative_to(tmp_path))
    else:
        with tarfile.open(path, MODES[ending.lower()]) as archive:  # type: ignore[call-overload]
            archive.add(shelf, "shelf")
    assert read_archive(path) == read_directory(shelf) == BUNDLE


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_in_deeper_folders_are_left_out(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"b{ending}", {**FILES, "old/2_b.up.sql": b"", "x/y/3_c.up.sql": b"", "README.md": b"\xff"})
    assert read_archive(path) == BUNDLE


def test_the_folder_that_macos_adds_is_left_out(tmp_path: Path) -> None:
    files = {f"migrations/{name}": content for name, content in FILES.items()}
    path = write(tmp_path / "b.zip", {**files, "__MACOSX/migrations/._1_a.up.sql": b"\x00\x05\x16\x07"})
    assert read_archive(path) == BUNDLE


def test_without_a_shared_folder_only_the_top_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "b.zip", {"one/1_a.up.sql": b"", "two/2_b.up.sql": b""})
    with pytest.raises(BundleError, match=r"^the archive '.*/b\.zip' holds no migration$"):
        read_archive(path)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", ["/1_b.up.sql", "../1_b.up.sql", "a/../../1_b.up.sql", "a\\1_b.up.sql", "../README"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, ending: str, name: str) -> None:
    path = write(tmp_path / f"b{ending}", {**FILES, name: b""})
    with pytest.raises(BundleError, match=r" leads out of the archive$") as caught:
        read_archive(path)
    assert repr(name) in caught.value.message


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE],
)
@pytest.mark.parametrize("name", ["2_b.up.sql", "README"])
def test_a_link_or_device_in_a_tar_is_refused_by_its_name(tmp_path: Path, kind: bytes, name: str) -> None:
    info = tar_info(name, kind=kind)
    info.linkname = "/etc/passwd"
    path = tmp_path / "b.tar"
    path.write_bytes(tar([(tar_info("1_a.up.sql"), b""), (info, b"")]))
    with pytest.raises(BundleError, match=rf"^'{name}' is a link or a special file$"):
        read_archive(path)


@pytest.mark.parametrize("mode", [0o120777, 0o010644, 0o020644])
def test_a_link_or_device_in_a_zip_is_refused_by_its_name(tmp_path: Path, mode: int) -> None:
    info = zipfile.ZipInfo("2_b.up.sql")
    info.external_attr = mode << 16
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(BundleError, match=r"^'2_b\.up\.sql' is a link or a special file$"):
        read_archive(tmp_path / "b.zip")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_duplicate_is_refused_by_its_name(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"b{ending}", {"1_a.up.sql": b"x", "./1_a.up.sql": b"y"})
    with pytest.raises(BundleError, match=r"^the archive '.*' holds '\./1_a\.up\.sql' twice$"):
        read_archive(path)


def test_a_member_under_one_name_twice_is_refused(tmp_path: Path) -> None:
    twice = (tar_info("1_a.up.sql", b"x"), b"x")
    (tmp_path / "b.tar").write_bytes(tar([twice, twice]))
    with pytest.raises(BundleError, match=r" holds '1_a\.up\.sql' twice$"):
        read_archive(tmp_path / "b.tar")


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_makes_no_bundle_is_refused_in_the_words_of_the_bundle(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"b{ending}", {"1_a.up.sql": b"", "01_b.up.sql": b""})
    with pytest.raises(BundleError, match=r"are both the up file of version 1$"):
        read_archive(path)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "b.zip", FILES)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    with pytest.raises(BundleError, match=r"^'1_a\.up\.sql' is encrypted or compressed in a way that is not read$"):
        read_archive(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_with_an_unbounded_compression_is_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "b.zip", "w", method) as archive:
        archive.writestr("1_a.up.sql", "SELECT 1;")
    with pytest.raises(BundleError, match=r"compressed in a way that is not read$"):
        read_archive(tmp_path / "b.zip")


def test_an_unknown_ending_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"^the archive '.*/b\.rar' is of an unknown format$") as caught:
        read_archive(tmp_path / "b.rar")
    assert ".tar.gz" in caught.value.hint


def test_a_missing_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"^the archive '.*/b\.zip' cannot be read: No such file or directory$"):
        read_archive(tmp_path / "b.zip")
    (tmp_path / "d.zip").mkdir()
    with pytest.raises(BundleError, match=r"^the archive '.*/d\.zip' cannot be read: Is a directory$"):
        read_archive(tmp_path / "d.zip")


def test_a_source_is_a_directory_or_an_archive(tmp_path: Path) -> None:
    (tmp_path / "shelf").mkdir()
    for name, content in FILES.items():
        (tmp_path / "shelf" / name).write_bytes(content)
    assert read_source(tmp_path / "shelf") == BUNDLE
    assert read_source(write(tmp_path / "b.zip", FILES), "x").label == "x"
    with pytest.raises(BundleError, match=r"/b\.rar' does not exist$"):
        read_source(tmp_path / "b.rar")
