"""A process that is measured: made ready, begun, waited for; its memory is its own, whatever the benchmark uses."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.bench.results import Turn

_SPAWNER = (sys.executable, "-I", "-S", str(Path(__file__).with_name("spawner.py")))
_KIB = 1024


class Child:
    """A program that begins when it is told to; it has its standard error with its standard output."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path | None, output: IO[bytes],
        *, given: int | IO[bytes] = subprocess.DEVNULL,
    ) -> None:  # fmt: skip
        go, self._go = os.pipe()
        self._told, told = os.pipe()
        # It is in a session of its own, so that it ends with all that it started.
        self._spawner = subprocess.Popen(
            [*_SPAWNER, str(go), str(told), _added(environment), *command], env=environment, cwd=folder, stdin=given,
            stdout=output, stderr=output, pass_fds=(go, told), start_new_session=True,
        )  # fmt: skip
        os.close(go)
        os.close(told)
        os.read(self._told, 1)

    def begin(self) -> None:
        """Begin; the time starts now."""
        os.write(self._go, b".")

    def end(self) -> None:
        """Kill it, if it has not ended: what is in a session of its own hears of an interruption from here alone."""
        if self._spawner.poll() is None:
            os.killpg(self._spawner.pid, signal.SIGKILL)
            self._spawner.wait()

    def wait_for(self, limit: float) -> tuple[int, Turn]:
        """Its exit code and what it used; it is killed after so many seconds."""
        timer = threading.Timer(limit, os.killpg, (self._spawner.pid, signal.SIGKILL))
        timer.daemon = True
        timer.start()
        try:
            said = os.read(self._told, 256).split()
        except BaseException:
            self.end()
            raise
        finally:
            timer.cancel()
        code = self._spawner.wait()
        os.close(self._go)
        os.close(self._told)
        if not said:
            return code or 1, Turn(0.0)
        return int(said[0]), Turn(float(said[1]), float(said[2]), int(said[3]) / _KIB)


def _added(environment: Mapping[str, str]) -> str:
    """The variable that a Python sets for itself where no other one says which characters there are, or nothing."""
    return "" if "LC_CTYPE" in environment else "LC_CTYPE"


def least_memory() -> float:
    """The MiB that any process is said to have used: those of the one that starts it."""
    with open(os.devnull, "wb") as output:  # noqa: PTH123  a device
        child = Child(["true"], os.environ, None, output)
        child.begin()
        return child.wait_for(10)[1].memory
