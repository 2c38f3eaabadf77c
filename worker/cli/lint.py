"""Runs the linter squawk on the migrations of a plan: as a program of its own, in bounded time, without any secret."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from worker.core.bundles.migration import Side
from worker.core.checks.lint import Remark, read_remarks
from worker.core.sql.script import Mode
from worker.core.sql.source import read_source
from worker.errors import TimedOutError, UsageError
from worker.jobs.foresee import Foreseen

_SECONDS = 60.0
_AT_ONCE = 500
_NOTHING_FOUND, _FOUND = 0, 1


def required_linter() -> str:
    """The path of squawk: beside the interpreter, where the extra puts it, or on the PATH.

    Raises:
        UsageError: It is not installed.
    """
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    found = shutil.which("squawk", path=places)
    if found is None:
        raise UsageError("--lint needs the linter squawk, which is not installed", hint="pip install 'tidegate[lint]'")
    return found


async def lint(program: str, server_version: str, steps: Sequence[Foreseen]) -> tuple[Remark, ...]:
    """What squawk finds in the files that would be run, in their order; the user's `.squawk.toml` is heeded.

    Raises:
        TimedOutError: It took too long.
        UsageError: It could not be run, or its own settings are wrong.
    """
    remarks: list[Remark] = []
    for mode, options in ((Mode.TRANSACTIONAL, ["--assume-in-transaction"]), (Mode.JOURNALLED, [])):
        sides = [step.side for step in steps if step.side is not None and step.script.mode is mode]
        for at in range(0, len(sides), _AT_ONCE):
            command = [program, "--reporter", "json", "--pg-version", server_version, *options]
            remarks += await _lint_files(command, sides[at : at + _AT_ONCE])
    order = {step.side.file: place for place, step in enumerate(steps) if step.side is not None}
    return tuple(sorted(remarks, key=lambda remark: (order[remark.file], remark.line, remark.column)))


async def _lint_files(command: list[str], sides: Sequence[Side]) -> tuple[Remark, ...]:
    files = [(side.file, read_source(side.sql).text) for side in sides]
    with _written(files) as paths:
        answer = await _answer([*command, *paths])
    try:
        return read_remarks(answer, files)
    except ValueError as error:
        raise UsageError(
            f"the linter's answer was not understood: {error}", hint="install a newer tidegate[lint]"
        ) from error


@contextmanager
def _written(files: Sequence[tuple[str, str]]) -> Iterator[list[str]]:
    """The texts as files by number: a migration's own name could be read as an option or as a pattern."""
    with TemporaryDirectory(prefix="tidegate-lint-") as folder:
        paths = [Path(folder, f"{number}.sql") for number in range(len(files))]
        for path, (_, text) in zip(paths, files, strict=True):
            path.write_text(text, encoding="utf-8", newline="")
        yield [str(path) for path in paths]


async def _answer(command: list[str]) -> str:
    try:
        with anyio.fail_after(_SECONDS):
            # Nothing of our environment: it can hold passwords.
            ended = await anyio.run_process(command, check=False, env={"PATH": os.defpath})
    except TimeoutError:
        raise TimedOutError(f"the linter took longer than {_SECONDS:g} s", hint="leave --lint out") from None
    except OSError as error:
        raise UsageError(f"{command[0]}: {error.strerror}", hint="pip install 'tidegate[lint]'") from error
    if ended.returncode not in {_NOTHING_FOUND, _FOUND} or not ended.stdout.strip():
        said = ended.stderr.decode(errors="replace").strip().splitlines()
        why = said[0] if said else f"exit code {ended.returncode}"
        raise UsageError(f"the linter squawk failed: {why:.200}", hint="look at .squawk.toml, or leave --lint out")
    return ended.stdout.decode()
