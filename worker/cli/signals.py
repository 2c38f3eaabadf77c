"""SIGTERM ends a command as Ctrl-C does: what it began is cancelled, rolled back and recorded."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class Termination:
    """While it is open, SIGTERM has a handler; without one, the first process of a container does not feel it."""

    def __init__(self) -> None:
        self._ended_by = signal.SIGINT

    @property
    def exit_code(self) -> int:
        """What a shell reports for the signal that interrupted."""
        return 128 + self._ended_by

    def __enter__(self) -> Self:
        # Ctrl-C means nothing to what a shell started in the background; SIGTERM's default ends that well enough.
        if _in_main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGTERM, self._heed)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        if _in_main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _heed(self, _number: int, _frame: FrameType | None) -> None:
        self._ended_by = signal.SIGTERM
        signal.raise_signal(signal.SIGINT)


def _in_main_thread() -> bool:
    """Whether this thread may set handlers."""
    return threading.current_thread() is threading.main_thread()
