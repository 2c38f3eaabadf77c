"""Packing a bundle."""

import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.bundles.archive import pack, read_archive
from worker.core.bundles.bundle import build_bundle
from worker.errors import BundleError

FILES = {"2_b.up.sql": b"SELECT 2;", "1_a.up.sql": b"SELECT 1;\r\n", "bundle.toml": b'label = "1.4.0"'}
BUNDLE = build_bundle(FILES)

names = st.builds(
    "{}_{}.up.sql".format, st.integers(0, 2**63 - 1), st.text(alphabet="ab é漢", max_size=60) | st.just("n" * 220)
)
contents = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).map(
    lambda text: f"SELECT 1;{text}".encode()
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(names, contents, min_size=1, max_size=5))
def test_a_packed_bundle_reads_back_as_it_was(tmp_path: Path, files: dict[str, bytes]) -> None:
    files = {f"{version}{name.lstrip('0123456789')}": content for version, (name, content) in enumerate(files.items())}
    bundle = build_bundle(files)
    pack(bundle, tmp_path / "b.tar.gz")
    assert read_archive(tmp_path / "b.tar.gz") == bundle


def test_the_same_bundle_gives_the_same_bytes_under_any_name(tmp_path: Path) -> None:
    pack(BUNDLE, tmp_path / "one.tar.gz")
    pack(build_bundle(dict(reversed(FILES.items())), "other"), tmp_path / "two.tgz")
    raw = (tmp_path / "one.tar.gz").read_bytes()
    assert raw == (tmp_path / "two.tgz").read_bytes()
    assert raw[4:8] == bytes(4)
    assert b"one" not in raw[:20]


def test_the_archive_tells_nothing_of_who_packed_it(tmp_path: Path) -> None:
    pack(BUNDLE, tmp_path / "b.tar.gz")
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == ["1_a.up.sql", "2_b.up.sql", "bundle.toml"]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}


def test_an_existing_archive_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    (tmp_path / "b.tgz").write_bytes(b"old")
    pack(BUNDLE, tmp_path / "b.tgz")
    assert read_archive(tmp_path / "b.tgz") == BUNDLE
    assert os.listdir(tmp_path) == ["b.tgz"]  # noqa: PTH208 - names, not paths


def test_a_failed_pack_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "b.tgz").mkdir()
    with pytest.raises(BundleError, match=r"^'.*/b\.tgz' cannot be written: "):
        pack(BUNDLE, tmp_path / "b.tgz")
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.tgz"]


@pytest.mark.parametrize("out", ["none/b.tar.gz", "file/b.tar.gz"])
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match=rf"^'.*/{out}' cannot be written: "):
        pack(BUNDLE, tmp_path / out)


@pytest.mark.parametrize("name", ["b", "b.tar", "b.zip", "b.gz"])
def test_another_ending_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match=r"is no name for a packed bundle$"):
        pack(BUNDLE, tmp_path / name)
    assert not (tmp_path / name).exists()
