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
        if not _in_main_thread():
            return self
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # A shell has what it starts in the background ignore Ctrl-C. SIGTERM goes the way of SIGINT, which needs a
            # handler for it; a Ctrl-C is held back meanwhile.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, self._heed)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        if _in_main_thread():
            give_back()

    def _heed(self, _number: int, _frame: FrameType | None) -> None:
        self._ended_by = signal.SIGTERM
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.raise_signal(signal.SIGINT)


def give_back() -> None:
    """Leave the signals as they were found, for what comes in the place of the command."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _in_main_thread() -> bool:
    """Whether this thread may set handlers."""
    return threading.current_thread() is threading.main_thread()
