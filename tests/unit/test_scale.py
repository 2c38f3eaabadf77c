"""Input of any size: each reader ends in a time that grows with the length alone, within a bounded memory.

Each case runs in a process of its own, which the system stops at a limit of memory and of processor time.
"""

import resource
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

MEMORY = 1_500_000_000
SECONDS = 40
MIB = 1024 * 1024

# A shape is a text's head, what is repeated, and its tail.
SHAPES = {
    "statements": ("", "SELECT 1;\n", ""),
    "empty statements": ("", ";", ""),
    "parentheses": ("SELECT ", "(", ""),
    "parentheses that close": ("", ")", ";"),
    "open quotes": ("", "'", "'"),
    "escapes": ("E'", "\\'", ""),
    "joined strings": ("SELECT 'a'", "\n'a'", ";"),
    "dollars": ("", "$", "a"),
    "dollar quotes of many tags": ("$x$", "$a$b", ""),
    "comments that nest": ("", "/*", ""),
    "comments that do not end": ("", "/* ", "*/"),
    "stars": ("/*", "*/ /*", ""),
    "line comments": ("", "--\n", ""),
    "directives": ("", "-- tidegate\n", "SELECT 1;"),
    "psql commands": ("", "\\", "\n"),
    "routine bodies": ("CREATE FUNCTION f() ", "BEGIN ATOMIC ", ""),
    "routine words and comments": ("CREATE FUNCTION f() ", "BEGIN/**/ ", ""),
    "cases": ("CREATE FUNCTION f() BEGIN ATOMIC ", "CASE ", ""),
    "blocks": ("", "BEGIN;COMMIT;", ""),
    "sets": ("", "SET a = 1;", ""),
    "savepoints": ("", "SAVEPOINT a;", ""),
    "options": ("REINDEX (", "VERBOSE,", ") TABLE t;"),
    "alters": ("ALTER TABLE t ", "ADD a int,", ";"),
    "a with": ("WITH ", "a AS (SELECT 1),", "SELECT 1;"),
    "identifiers": ("", 'U&"', ""),
    "line ends": ("SELECT ", "\r", ";"),
    "white space": ("SELECT", " ", ";"),
    "one word": ("", "x", ""),
    "numbers": ("SELECT ", "1.", ""),
    "operators": ("SELECT ", "<@-", ""),
    "plain statements": ("", "INSERT INTO t VALUES (1, 'a');\n", ""),
    "plain and other statements": ("", "INSERT INTO t VALUES (1, 'a');SELECT 1;", ""),
    "plain statements that are not": ("", "INSERT (1, 'a', E'a');", ""),
    "rows": ("INSERT INTO t VALUES (1)", ",(1, (2, 'a'))", ";"),
    "open parentheses of rows": ("INSERT INTO t VALUES ", "(1, (2, ('a'", ""),
    "comments of rows": ("INSERT INTO t VALUES (1)", " -- a\n - 1", ""),
}
_READ = """
import sys, time
from worker.core.bundles.migration import parse_side
from worker.core.sql.script import read_script
from worker.errors import TidegateError
head, unit, tail, size = sys.argv[1:]
def seconds(length):
    text = head + unit * (length // len(unit)) + tail
    begun = time.process_time()
    try:
        side = parse_side("1_a.up.sql", text.encode())
        read_script(side.sql, side.directives)
    except TidegateError:
        pass
    return time.process_time() - begun
small, large = (min(seconds(int(size) * times) for _ in range(2)) for times in (1, 8))
assert large < 8 * 3 * small + 0.3, (small, large)
"""
_BUNDLE = """
import sys
from pathlib import Path
from worker.bundles.archive import read_source
from worker.errors import TidegateError
try:
    read_source(Path(sys.argv[1]))
except TidegateError as error:
    print(error.message)
"""
_MANIFEST = """
import sys
from worker.core.bundles.bundle import parse_manifest
from worker.errors import TidegateError
head, unit, tail = sys.argv[1:]
try:
    parse_manifest((head + unit * ((65536 - len(head) - len(tail)) // len(unit)) + tail).encode())
except TidegateError as error:
    print(error.message[:200])
"""
_DSN = """
import sys, time
from worker.core.connecting.dsn import parse_dsn
from worker.core.connecting.passfile import find_password
from worker.errors import TidegateError
head, unit, tail = sys.argv[1:]
def seconds(length):
    begun = time.process_time()
    try:
        parse_dsn(head + unit * (length // len(unit)) + tail)
    except TidegateError:
        pass
    return time.process_time() - begun
small, large = (min(seconds(20_000 * times) for _ in range(3)) for times in (1, 8))
assert large < 8 * 3 * small + 0.2, (small, large)
"""


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def run(program: str, *arguments: str | Path) -> str:
    """What the program printed; it ended well, within the limits."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, preexec_fn=_bounded)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_script_of_any_shape_takes_a_time_that_grows_with_its_length_alone(shape: str) -> None:
    run(_READ, *SHAPES[shape], str(8_000))


def test_fifty_megabytes_of_a_hundred_thousand_statements_are_read_as_fast_as_an_eighth_of_them() -> None:
    run(_READ, "", f"INSERT INTO t VALUES (1, '{'x' * 470}');\n", "", "6250000")


def test_a_file_of_a_hundred_megabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "1_a.up.sql").open("wb") as file:
        file.truncate(100 * MIB)
    assert run(_BUNDLE, tmp_path) == "'1_a.up.sql' has more than 67108864 bytes"


@pytest.mark.slow
def test_the_largest_file_that_is_taken_is_read_within_the_limits(tmp_path: Path) -> None:
    (tmp_path / "1_a.up.sql").write_bytes(b"INSERT INTO t VALUES (1, 'some words');\n" * (60 * MIB // 40))
    assert run(_BUNDLE, tmp_path) == ""


def tar_of(path: Path, names: int) -> None:
    mode: Literal["w:gz", "w:"] = "w:gz" if path.name.endswith(".gz") else "w:"
    with tarfile.open(path, mode) as archive:
        for number in range(names):
            archive.addfile(tarfile.TarInfo(f"{number}_a.up.sql"))


def zip_of(path: Path, names: int) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(names):
            archive.writestr(zipfile.ZipInfo(f"{number}_a.up.sql"), b"")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("make", "ending", "names"), [(tar_of, ".tar", 150_000), (tar_of, ".tar.gz", 150_000), (zip_of, ".zip", 10**6)]
)
def test_an_archive_of_far_too_many_names_is_refused_within_the_limits(
    tmp_path: Path, make: Callable[[Path, int], None], ending: str, names: int
) -> None:
    path = tmp_path / f"b{ending}"
    make(path, names)
    said = run(_BUNDLE, path)
    assert "holds more than 100000 files" in said or "a header claims" in said


MANIFESTS = {
    "a million names": ("", "a=1\n", ""),
    "names that differ": ("", "ab.cd.", "e=1"),
    "dotted": ("", "a.", "a=1"),
    "tables": ("", "[[a]]\n", ""),
    "nested arrays": ("a=", "[", ""),
    "nested tables": ("a=", "{a=", ""),
    "a number": ("serves=", "9", ""),
    "a fraction": ("serves=1.", "9", ""),
    "a string": ('label="', "a", '"'),
    "escapes": ('label="', "\\u0061", '"'),
    "open quotes": ("label=", "'", ""),
    "quotes that nest": ('label="""', '""', ""),
    "comments": ("", "#\n", ""),
}


@pytest.mark.parametrize("shape", MANIFESTS)
def test_a_manifest_of_any_shape_is_refused_within_the_limits(shape: str) -> None:
    assert "bundle.toml" in run(_MANIFEST, *MANIFESTS[shape]) or shape == "comments"


ADDRESSES = {
    "hosts": ("postgres://", "h,", "h/d"),
    "colons": ("postgres://", ":", "/d"),
    "at signs": ("postgres://", "@", "/d"),
    "brackets": ("postgres://", "[::1],", "/d"),
    "escapes": ("postgres://u:", "%41", "@h/d"),
    "broken escapes": ("postgres://u:", "%4", "@h/d"),
    "parameters": ("postgres://h/d?", "a=b&", "c=d"),
    "keywords": ("", "host=h ", "dbname=d"),
    "quotes": ("password='", "\\'", "'"),
    "blanks": ("host", " ", "=h"),
    "options": ("postgres://h/d?options=", "-c%20a=b%20", ""),
    "slashes": ("", "/", ""),
}


@pytest.mark.parametrize("shape", ADDRESSES)
def test_a_connection_string_of_any_shape_takes_a_time_that_grows_with_its_length_alone(shape: str) -> None:
    run(_DSN, *ADDRESSES[shape])
