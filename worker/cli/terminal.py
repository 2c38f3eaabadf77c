"""What a terminal can show, what must not reach one, and what it means that a stream takes nothing."""

import os
import sys
from typing import TextIO

from worker.core.pattern import pattern
from worker.errors import UsageError

# C0 and C1 controls: what a file or a server says must not move the cursor of a terminal.
_CONTROL = pattern(r"[\x00-\x1f\x7f-\x9f]")


def is_drawable(stream: TextIO) -> bool:
    """Whether a person looks at a stream, on a terminal that can do more than print lines."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def visible(text: str) -> str:
    r"""The text with its control characters as `\x1b`, but for line ends."""
    return _CONTROL.sub(lambda found: found[0] if found[0] == "\n" else f"\\x{ord(found[0]):02x}", text)


def write(text: str) -> None:
    """Write on standard output, at once; a terminal is shown control characters, and not sent any.

    Raises:
        UsageError: It takes nothing, for example since a disk is full; what was done before stays done.
    """
    try:
        sys.stdout.write(visible(text) if sys.stdout.isatty() else text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        hint = "give it room, or lead it elsewhere; what was done before this was to be written stays done"
        raise UsageError(f"standard output cannot be written: {error.strerror}", hint=hint) from error
