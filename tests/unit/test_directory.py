"""Reading a directory of migrations."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from worker.bundles.directory import local_path, read_directory
from worker.core.bundles import limits
from worker.core.bundles.bundle import build_bundle
from worker.errors import BundleError

FILES = {"1_a.up.sql": b"SELECT 1;\r\n", "1_a.down.sql": b"", "bundle.toml": b'label = "1.4.0"'}


def fill(directory: Path) -> Path:
    for name, content in FILES.items():
        (directory / name).write_bytes(content)
    return directory


@contextmanager
def unprivileged() -> Iterator[None]:
    """Act as a user whom permissions hold; root reads everything."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


def test_a_directory_is_read_with_its_raw_bytes(tmp_path: Path) -> None:
    bundle = read_directory(fill(tmp_path))
    assert bundle == build_bundle(FILES)
    assert bundle.label == "1.4.0"
    assert read_directory(tmp_path, "2").label == "2"


def test_other_files_and_subdirectories_are_not_looked_at(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "README.md").write_bytes(b"\xff")
    (tmp_path / "elsewhere").symlink_to("missing")
    (tmp_path / "2_old.up.d").mkdir()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "2_b.up.sql").write_bytes(b"")
    assert read_directory(tmp_path) == build_bundle(FILES)


def test_a_config_map_is_read_through_its_links(tmp_path: Path) -> None:
    (tmp_path / "..2026_01").mkdir()
    fill(tmp_path / "..2026_01")
    (tmp_path / "..data").symlink_to("..2026_01")
    for name in FILES:
        (tmp_path / name).symlink_to(f"..data/{name}")
    assert read_directory(tmp_path) == build_bundle(FILES)


def test_a_config_map_is_read_from_one_of_its_states(tmp_path: Path) -> None:
    (tmp_path / "..new").mkdir()
    fill(tmp_path / "..new")
    (tmp_path / "..data").symlink_to("..new")
    (tmp_path / "1_a.up.sql").write_bytes(b"of the state before")
    assert read_directory(tmp_path) == build_bundle(FILES)


def test_a_link_to_a_directory_is_followed(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    fill(tmp_path / "v1")
    (tmp_path / "current").symlink_to("v1")
    assert read_directory(tmp_path / "current") == build_bundle(FILES)


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"^the directory '.*/none' does not exist$"):
        read_directory(tmp_path / "none")


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    fill(tmp_path)
    with pytest.raises(BundleError, match=r"^'.*/1_a\.up\.sql' is not a directory$"):
        read_directory(tmp_path / "1_a.up.sql")
    with pytest.raises(BundleError, match=r"is not a directory$"):
        read_directory(tmp_path / "1_a.up.sql" / "below")


def test_an_unreadable_directory_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    with unprivileged(), pytest.raises(BundleError, match=r"^the directory '.*' cannot be read: Permission denied$"):
        read_directory(tmp_path)
    tmp_path.chmod(0o700)


def test_a_directory_that_links_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(BundleError, match=r"^the directory '.*/loop' cannot be read: "):
        read_directory(tmp_path / "loop")


def test_an_empty_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"^the directory '.*' is empty$"):
        read_directory(tmp_path)


def test_a_directory_without_a_migration_says_so(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(b"")
    with pytest.raises(BundleError, match=r"^the directory '.*' holds no migration$"):
        read_directory(tmp_path)


def test_a_link_to_nothing_is_refused_by_its_name(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "2_b.up.sql").symlink_to("gone")
    with pytest.raises(BundleError, match=r"^'2_b\.up\.sql' cannot be read: No such file"):
        read_directory(tmp_path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    fill(tmp_path)
    os.mkfifo(tmp_path / "2_b.up.sql")
    with pytest.raises(BundleError, match=r"^'2_b\.up\.sql' is not a regular file$"):
        read_directory(tmp_path)


def test_a_file_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "2_b.up.sql").symlink_to("/proc/self/mem")
    with pytest.raises(BundleError, match=r"^'2_b\.up\.sql' cannot be read: "):
        read_directory(tmp_path)


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"1_\xff.up.sql")).write_bytes(b"")
    with pytest.raises(BundleError, match=r"is not acceptable$") as caught:
        read_directory(tmp_path)
    assert caught.value.message.isascii()


def test_an_oversized_file_is_refused_without_reading_it_all(tmp_path: Path) -> None:
    fill(tmp_path)
    with (tmp_path / "2_b.up.sql").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(BundleError, match=rf"^'2_b\.up\.sql' has more than {limits.MAX_FILE_BYTES} bytes$"):
        read_directory(tmp_path)


def test_the_total_is_counted_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_TOTAL_BYTES", 10)
    for version in range(1, 4):
        (tmp_path / f"{version}_a.up.sql").write_bytes(b" " * 8)
    (tmp_path / "3_a.up.sql").chmod(0)
    with pytest.raises(BundleError, match=r"^the directory '.*' has more than 10 bytes of files$"):
        read_directory(tmp_path)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("migrations", "migrations"),
        ("/srv/50%25 off", "/srv/50%25 off"),
        ("file:///srv/db", "/srv/db"),
        ("file://migrations/db", "migrations/db"),
        ("file://./db", "db"),
        ("FILE:///srv/a%20b%C3%BC", "/srv/a bü"),
        ("file:///srv/a%zz", "/srv/a%zz"),
    ],
)
def test_a_path_and_a_file_address_name_a_path(text: str, path: str) -> None:
    assert local_path(text) == Path(path)


@pytest.mark.parametrize("text", ["", "file://", "a\0b", "file://a%00b"])
def test_a_text_without_a_path_is_refused(text: str) -> None:
    with pytest.raises(BundleError, match=r" is no path$"):
        local_path(text)


def test_another_scheme_is_refused() -> None:
    with pytest.raises(BundleError, match=r"^the scheme 's3' is not supported$"):
        local_path("s3://user:password@bucket/x")
