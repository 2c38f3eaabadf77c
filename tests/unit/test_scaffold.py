"""Creating the files of a new migration."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from worker.bundles.directory import read_directory
from worker.bundles.scaffold import create
from worker.core.bundles.migration import MAX_VERSION
from worker.errors import BundleError


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def test_the_first_migration_has_six_digits(tmp_path: Path) -> None:
    up, down = create(tmp_path, "create_users")
    assert (up.name, down.name) == ("000001_create_users.up.sql", "000001_create_users.down.sql")
    assert up.read_bytes() == down.read_bytes() == b""


def test_a_missing_directory_is_created(tmp_path: Path) -> None:
    up, _ = create(tmp_path / "db" / "migrations", "a")
    assert up.is_file()


@pytest.mark.parametrize(
    ("there", "created"),
    [
        ("001_a.up.sql", "002_b"),
        ("9_a.up.sql", "10_b"),
        ("0099_a.down.sql", "0100_b"),
        ("999_a.up.sql", "1000_b"),
        ("0_a.up.sql", "1_b"),
        ("a.sql", "000001_b"),
    ],
)
def test_the_next_version_is_as_wide_as_the_highest_one(tmp_path: Path, there: str, created: str) -> None:
    (tmp_path / there).touch()
    assert create(tmp_path, "b")[0].name == f"{created}.up.sql"


def test_the_highest_version_counts_and_not_the_last_name(tmp_path: Path) -> None:
    for name in ("9_a.up.sql", "10_b.up.sql"):
        (tmp_path / name).touch()
    assert create(tmp_path, "c")[0].name == "11_c.up.sql"


def test_a_timestamp_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "000001_a.up.sql").touch()
    assert create(tmp_path, "b", 20260131120000)[0].name == "20260131120000_b.up.sql"


@pytest.mark.parametrize("version", [1, 5])
def test_a_version_that_is_not_above_the_highest_is_refused(tmp_path: Path, version: int) -> None:
    (tmp_path / "5_a.up.sql").touch()
    with pytest.raises(BundleError, match=rf"^version {version} is not above 5, the highest one there$"):
        create(tmp_path, "b", version)
    assert names(tmp_path) == ["5_a.up.sql"]


def test_the_last_version_has_no_next(tmp_path: Path) -> None:
    (tmp_path / f"{MAX_VERSION}_a.up.sql").touch()
    with pytest.raises(BundleError, match=rf"is not from 0 to {MAX_VERSION}$"):
        create(tmp_path, "b")


@pytest.mark.parametrize("name", ["", "a b", "a.up", "../a", "a/b", "ä", "a\n", "x" * 101])
def test_a_name_of_other_characters_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match=r"^the name .* is not acceptable$"):
        create(tmp_path / "new", name)
    assert names(tmp_path) == []


def test_what_is_created_is_a_bundle(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        create(tmp_path, name)
    assert read_directory(tmp_path).versions == (1, 2, 3)


def test_of_several_at_once_none_overwrites_another(tmp_path: Path) -> None:
    starting = threading.Barrier(6, timeout=10)

    def attempt(_: int) -> tuple[Path, Path] | str:
        starting.wait()
        try:
            return create(tmp_path, "a")
        except BundleError as error:
            return error.message

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(attempt, range(6)))
    created = [path for result in results if isinstance(result, tuple) for path in result]
    assert names(tmp_path) == sorted(path.name for path in created)
    assert all(result.endswith("File exists") for result in results if isinstance(result, str))


def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match=r"^cannot create a migration in '.*/file': "):
        create(tmp_path / "file", "a")
