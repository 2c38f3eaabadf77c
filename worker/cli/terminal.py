"""What a terminal can show, and what must not reach one."""

import os
from typing import TextIO

from worker.core.pattern import pattern

# C0 and C1 controls: what a file or a server says must not move the cursor of a terminal.
_CONTROL = pattern(r"[\x00-\x1f\x7f-\x9f]")


def is_drawable(stream: TextIO) -> bool:
    """Whether a person looks at a stream, on a terminal that can do more than print lines."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def visible(text: str) -> str:
    r"""The text with its control characters as `\x1b`, but for line ends."""
    return _CONTROL.sub(lambda found: found[0] if found[0] == "\n" else f"\\x{ord(found[0]):02x}", text)
