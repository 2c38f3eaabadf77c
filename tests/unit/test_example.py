"""The example bundle's files, as files."""

import re
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "migrations" / "example"
NEXT = EXAMPLE / "next"


def versions(directory: Path, direction: str) -> list[int]:
    return sorted(int(path.name.split("_")[0]) for path in directory.glob(f"*.{direction}.sql"))


def test_the_versions_have_no_gap_and_each_has_both_sides() -> None:
    assert versions(EXAMPLE, "up") == versions(EXAMPLE, "down") == list(range(1, 13))


def test_the_next_release_adds_one_version_to_it() -> None:
    assert versions(NEXT, "up") == versions(NEXT, "down") == [13]


def test_what_cannot_share_a_transaction_is_alone_in_its_file() -> None:
    for path in EXAMPLE.rglob("*.sql"):
        text = re.sub("^--.*$", "", path.read_text(), flags=re.MULTILINE)
        if "CONCURRENTLY" in text or "ADD VALUE" in text:
            assert text.count(";") == 1, path.name
