"""A tool's process that has to end well, the environment that it runs in, and what processes used of the processor."""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

from tests.bench.child import Child
from tests.bench.results import Turn

_TICKS = os.sysconf("SC_CLK_TCK")
# Of what follows the name in /proc/<pid>/stat: utime, stime, and the same of the children that were waited for.
_USER, _KERNEL, _CHILDREN_USER, _CHILDREN_KERNEL = range(11, 15)


class TroubleError(Exception):
    """A tool did not do what was asked of it."""


class Process:
    """A tool's process."""

    def __init__(
        self, command: list[str], environment: Mapping[str, str], home: Path | None, limit_seconds: float
    ) -> None:
        self._limit = limit_seconds
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed when the process has been waited for
        self._child = Child(command, environment, home, self._output)

    def begin(self) -> Self:
        """Begin."""
        self._child.begin()
        return self

    def end(self) -> None:
        """End it, if it has not ended."""
        self._child.end()

    def wait_for(self) -> Turn:
        """Wait for its end.

        Raises:
            TroubleError: It failed, and its last line; also where it did not end within the limit.
        """
        with self._output:
            code, turn = self._child.wait_for(self._limit)
            if code != 0:
                self._output.seek(0)
                lines = self._output.read().decode(errors="replace").strip().splitlines() or ["without a word"]
                raise TroubleError(f"exit {code}: {lines[-1][:160]}")
        return turn


def clean() -> dict[str, str]:
    """The environment without settings of any of the tools, and with bytecode, as an installation has it."""
    ours = ("DB_", "PG", "TIDEGATE_", "DATABASE_URL", "PYTHON", "GOOSE_", "DBMATE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def beside(server: int, take: Callable[[], Turn]) -> Turn:
    """A turn, with what the server, of which this is the process, took of the processor meanwhile."""
    user, kernel = family_seconds(server)
    turn = take()
    after_user, after_kernel = family_seconds(server)
    return replace(turn, server=after_user + after_kernel - user - kernel, kernel=after_kernel - kernel)


def family_seconds(pid: int) -> tuple[float, float]:
    """The seconds that a process and its children, those that have ended too, ran themselves and in the kernel."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    own, others = _ticks(str(pid)), [_ticks(child) for child in children]
    user = own[_USER] + own[_CHILDREN_USER] + sum(each[_USER] for each in others)
    kernel = own[_KERNEL] + own[_CHILDREN_KERNEL] + sum(each[_KERNEL] for each in others)
    return user / _TICKS, kernel / _TICKS


def _ticks(pid: str) -> list[int]:
    """What the kernel counted of a process; nothing where it has just ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return [0] * (_CHILDREN_KERNEL + 1)
    # The name is in parentheses, and may hold anything; the state behind it is no number.
    return [0, *map(int, stat.rpartition(")")[2].split()[1:])]
